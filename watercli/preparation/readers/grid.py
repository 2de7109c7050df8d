"""Any grid with CF metadata: NetCDF, Zarr or GRIB, one file or many in time; or GeoTIFFs, one for each day.

Dims, CRS, calendar, units and days come from the files' metadata, not from their names. What those leave open is said
in the log, or is a setting of the modality's source.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import ConfigError, DataError, nearest
from watercli.hydrology.units import stated_in
from watercli.log import track
from watercli.preparation import align, regrid, units
from watercli.preparation.readers import cf, daily, geotiff, missing, netcdf
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request

CHUNK_DAYS = 360
"""Days read at once; a whole shard of the store, so that writing reads each source value once."""
CHUNK_BYTES = 512e6
"""Memory that this may take; of larger grids, fewer days are read at once."""

Part = tuple[Path, xr.DataArray]


def read(request: Request, mean_of: Sequence[str] = ()) -> xr.DataArray:
    """Return ``(time, y, x)`` lazily, y and x ascending, with the attributes ``units``, ``crs_wkt`` and ``day``.

    Where no file has the variable, it is the mean of those that the source, or else ``mean_of``, names.

    Raises
    ------
    ConfigError
        If a package is missing that reads this kind of file.
    DataError
        If a file cannot be read, lacks the variable, or repeats a date of another.
    """
    variable, means = request.source.variable, request.source.mean_of or tuple(mean_of)
    parts: dict[str, list[Part]] = {}
    for path in track(request.paths, f"Opening {request.modality_name}"):
        dataset = _open(path, request)
        names = [name for name in ((variable,) if variable in dataset else means) if name in dataset]
        if not names:
            known = [str(name) for name, data in dataset.data_vars.items() if data.ndim >= 2]
            raise DataError(f"{request.name(path)} has no variable '{variable}'{nearest(variable, known)}")
        for name in names:
            where = f"'{name}' in {request.name(path)}"
            dataset[name] = missing.valid(dataset[name], where, request.say, request.source.missing_values)
            data = cf.field(dataset, name, where, request)
            parts.setdefault(name, []).append((path, cf.standard_calendar(data, where, request)))
    fields = {name: _daily(files, request) for name, files in parts.items()}
    return regrid.onto(request, fields[variable] if variable in fields else _mean(variable, means, fields, request))


def _open(path: Path, request: Request) -> xr.Dataset:
    name, address = request.name(path), request.sources.address(path)
    kind, options = netcdf.reading(address)
    if kind == "GRIB":
        try:
            import cfgrib  # noqa: F401
        except Exception as error:  # it fails in its own ways where ecCodes is not there
            raise ConfigError(f"Reading {name} needs cfgrib; pip install 'watercli[grib]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other calendars are converted, and said, below
            if kind == "GeoTIFF":
                return geotiff.opened(address, name, request.source.variable)
            if kind == "GRIB":
                return xr.open_dataset(address, chunks={}, decode_timedelta=False, **options)
            return netcdf.decoded(netcdf.lazily(xr.open_dataset(address, decode_cf=False, **options), address))
    except (ConfigError, DataError):
        raise
    except ValueError as error:
        if "time units" in str(error):
            raise DataError(
                f"The times of {name} are in units that are no days or hours, such as months since a date; write them "
                "as days, as by 'cdo settunits,days'"
            ) from error
        raise netcdf.refused(path, name, kind) from error
    except Exception as error:
        raise netcdf.refused(path, name, kind) from error


def _daily(files: Sequence[Part], request: Request) -> xr.DataArray:
    """Return the files of a variable as one record of days, in the modality's units."""
    data = _concatenate(files, request)
    where = f"'{data.name}' in {request.name(files[0][0])}"
    data = daily.to_dates(data, where, request)
    given = units.stated(request.source.units, stated_in(data.attrs), where, request.say)
    if request.source.daily is not None:
        units.check_aggregation(given, request.modality.units, request.source.daily.aggregation, where)
    data = units.convert(data.astype(np.float32), given, request.modality.units, where, request.say)
    cells = data.sizes["y"] * data.sizes["x"]
    return data.chunk({"time": min(CHUNK_DAYS, max(1, int(CHUNK_BYTES / 4 / cells))), "y": -1, "x": -1})


def _concatenate(files: Sequence[Part], request: Request) -> xr.DataArray:
    """Join the files of a variable in time; each time may come from one file only."""
    first_path, first = files[0]
    for path, data in files[1:]:
        places = [axis for axis in ("y", "x", "latitude", "longitude") if axis in first.coords]
        if not all(axis in data.coords and align.same_centres(data[axis], first[axis]) for axis in places):
            raise DataError(f"{request.name(path)} is on another grid than {request.name(first_path)}; choose one")
        if stated_in(data.attrs) != stated_in(first.attrs):
            first_units, second_units = (f"'{stated_in(part.attrs)}'" for part in (first, data))
            raise DataError(
                f"{request.name(first_path)} is in {first_units}, {request.name(path)} in {second_units}; mend one, or "
                "give them as two modalities"
            )
    owner = pd.concat([pd.Series(request.name(path), index=data.indexes["time"]) for path, data in files])
    doubled = owner.index[owner.index.duplicated()]
    if len(doubled):
        names = ", ".join(dict.fromkeys(owner[owner.index == doubled[0]]))
        raise DataError(
            f"{len(doubled)} dates of '{first.name}' come twice, first {doubled[0]:%Y-%m-%d} in {names}; "
            "give each date in one file"
        )
    bounded = all("begins" in data.coords for _, data in files)
    parts = [data if bounded else data.drop_vars(["begins", "ends"], errors="ignore") for _, data in files]
    joined = xr.concat(parts, dim="time", join="override", combine_attrs="override")
    return joined.sortby("time")


def _mean(variable: str, names: Sequence[str], fields: dict[str, xr.DataArray], request: Request) -> xr.DataArray:
    """Return the mean of several variables on the days that have all; missing where one is."""
    missing = [name for name in names if name not in fields]
    if missing:
        raise DataError(
            f"'{variable}' is the mean of {' and '.join(names)}, but no file of modality "
            f"'{request.modality_name}' holds '{missing[0]}'; add its files"
        )
    parts = xr.align(*(fields[name] for name in names), join="outer")
    if any(part.shape[1:] != fields[name].shape[1:] for part, name in zip(parts, names, strict=True)):
        raise DataError(f"{' and '.join(names)} are on different grids; give all on one")
    day = "; ".join(f"{name}: {fields[name].attrs['day']}" for name in names)
    total = sum(parts[1:], start=parts[0])
    return (total / len(parts)).assign_attrs(parts[0].attrs, day=day, derived=f"mean of {', '.join(names)}")


READER = Reader(read, ("grid",))
