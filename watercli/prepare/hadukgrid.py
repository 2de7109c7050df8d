"""HadUK-Grid daily NetCDF: one file, or the monthly files as published.

Met Office; Hollis et al. (2019), HadUK-Grid: a new UK dataset of gridded climate observations, Geoscience Data
Journal 6, 151-159, doi:10.1002/gdj3.78. Dims, CRS, units and days come from the files' CF metadata.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import cf_xarray  # noqa: F401  (registers the accessor)
import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

from watercli.errors import DataError, nearest
from watercli.log import progress
from watercli.prepare import units
from watercli.prepare.reader import Request
from watercli.prepare.sources import unreadable

CHUNK_DAYS = 360
"""Days read at once; a whole shard of the store, so that writing reads each source value once."""
MEAN_OF = {"tas": ("tasmax", "tasmin")}
"""No daily mean temperature is published, only maximum and minimum; their mean stands for it."""


def read(request: Request) -> xr.DataArray:
    """Return ``(time, y, x)`` lazily, y and x ascending, with the attributes ``units``, ``crs_wkt`` and ``day``.

    Raises
    ------
    DataError
        If a file cannot be read, lacks the variable, or repeats a date of another.
    """
    wanted = request.source.variable
    parts: dict[str, list[tuple[Path, xr.DataArray]]] = {}
    with progress() as display:
        for path in display.track(request.paths, description=f"Opening {request.modality_name}"):
            dataset = _open(path, request)
            found = next((name for name in (wanted, *MEAN_OF.get(wanted, ())) if name in dataset), None)
            if found is None:
                known = [str(name) for name, data in dataset.data_vars.items() if data.ndim >= 3]
                raise DataError(f"{request.name(path)} has no variable '{wanted}'{nearest(wanted, known)}")
            parts.setdefault(found, []).append((path, _field(dataset, found, path, request)))
    fields = {name: _concatenate(files, request) for name, files in parts.items()}
    if wanted in fields:
        return fields[wanted]
    return _mean(wanted, fields, request)


def _open(path: Path, request: Request) -> xr.Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other calendars are refused below, by name
            return xr.open_dataset(path, engine="netcdf4", chunks={}, decode_timedelta=False)
    except Exception as error:
        raise unreadable(request.name(path), "NetCDF") from error


def _field(dataset: xr.Dataset, variable: str, path: Path, request: Request) -> xr.DataArray:
    """Return a variable of one file with dims ``(time, y, x)``, ascending, in the modality's units."""
    where = f"'{variable}' in {request.name(path)}"
    data = dataset[variable]
    axes = {name: _axis(data, name, where) for name in ("T", "Y", "X")}
    crs = _crs(dataset, data, where, request)
    day = _day(dataset, data, axes["T"])
    others = [dim for dim in data.dims if dim not in axes.values()]
    if any(data.sizes[dim] != 1 for dim in others):
        raise DataError(f"{where} has the dims {data.dims}; a daily grid has time, y and x only")
    data = data.squeeze(others, drop=True).transpose(*axes.values())
    data = data.drop_vars([name for name in data.coords if name not in axes.values()])
    data = data.rename({axes["T"]: "time", axes["Y"]: "y", axes["X"]: "x"})
    data = data.assign_coords(time=_dates(data, where)).sortby(["y", "x"])
    data = units.convert(data.astype(np.float32), data.attrs.get("units"), request.modality.units, where, request.say)
    return data.assign_attrs(crs_wkt=crs.to_wkt(), day=day)


def _axis(data: xr.DataArray, axis: str, where: str) -> str:
    """Return the dim that CF metadata mark as an axis; time may be known by its decoded dates alone."""
    named = [name for name in data.cf.axes.get(axis, ()) if name in data.dims]
    if axis == "T" and not named:
        named = [str(dim) for dim in data.dims if dim in data.coords and data[dim].dtype.kind in "MO"]
    if len(named) != 1:
        raise DataError(f"{where} has no {axis} axis by its CF metadata (axis or standard_name); add it to the file")
    return str(named[0])


def _dates(data: xr.DataArray, where: str) -> pd.DatetimeIndex:
    """Return the days that the times fall on."""
    index = data.indexes["time"]
    if not isinstance(index, pd.DatetimeIndex):
        raise DataError(f"The times of {where} are no dates of the standard calendar; convert the file's calendar")
    return index.normalize().as_unit("ns")


def _day(dataset: xr.Dataset, data: xr.DataArray, time: str) -> str:
    """Say from when to when a day runs: bounds and comment of the file, where it has them."""
    said = []
    bounds = dataset[time].attrs.get("bounds", dataset[time].encoding.get("bounds"))
    if bounds in dataset:
        first = pd.DatetimeIndex(dataset[bounds].isel({time: 0}).values.ravel())
        later = (first[1].normalize() - first[0].normalize()).days
        said.append(f"{first[0]:%H:%M} to {first[1]:%H:%M}" + (f" {later} day later" if later else ""))
    methods = str(data.attrs.get("cell_methods", ""))
    if "(comment:" in methods:
        said.append(methods.split("(comment:", 1)[1].rstrip(") ").strip())
    return "; ".join(said) or "as stamped by the source"


def _crs(dataset: xr.Dataset, data: xr.DataArray, where: str, request: Request) -> CRS:
    mapping = data.attrs.get("grid_mapping", data.encoding.get("grid_mapping"))
    if mapping not in dataset:
        request.say("no grid mapping", f"{where} names no grid mapping: taken to be in {request.grid.crs}")
        return CRS(request.grid.crs)
    try:
        return CRS.from_cf(dataset[mapping].attrs)
    except (CRSError, KeyError, ValueError) as error:
        raise DataError(f"The grid mapping '{mapping}' of {where} describes no CRS; mend its attributes") from error


def _concatenate(files: Sequence[tuple[Path, xr.DataArray]], request: Request) -> xr.DataArray:
    """Join the files of a variable in time; each date may come from one file only."""
    first_path, first = files[0]
    for path, data in files[1:]:
        if not all(np.array_equal(data[axis], first[axis]) for axis in ("y", "x")):
            raise DataError(f"{request.name(path)} is on another grid than {request.name(first_path)}; choose one")
    owner = pd.concat([pd.Series(request.name(path), index=data.indexes["time"]) for path, data in files])
    doubled = owner.index[owner.index.duplicated()]
    if len(doubled):
        names = ", ".join(dict.fromkeys(owner[owner.index == doubled[0]]))
        raise DataError(
            f"{len(doubled)} dates of '{first.name}' come twice, first {doubled[0]:%Y-%m-%d} in {names}; "
            "give each date in one file"
        )
    joined = xr.concat([data for _, data in files], dim="time", combine_attrs="override")
    return joined.sortby("time").chunk({"time": CHUNK_DAYS, "y": -1, "x": -1})


def _mean(wanted: str, fields: dict[str, xr.DataArray], request: Request) -> xr.DataArray:
    """Return the mean of two variables on the days that have both; missing where either is."""
    missing = [name for name in MEAN_OF[wanted] if name not in fields]
    if missing:
        raise DataError(
            f"'{wanted}' is the mean of {' and '.join(MEAN_OF[wanted])}, but no file of modality "
            f"'{request.modality_name}' holds '{missing[0]}'; add its files"
        )
    one, other = xr.align(*(fields[name] for name in MEAN_OF[wanted]), join="outer")
    if one.shape[1:] != fields[MEAN_OF[wanted][0]].shape[1:]:
        raise DataError(f"{' and '.join(MEAN_OF[wanted])} are on different grids; give both on one")
    day = "; ".join(f"{name}: {fields[name].attrs['day']}" for name in MEAN_OF[wanted])
    return ((one + other) / 2).assign_attrs(one.attrs, day=day)
