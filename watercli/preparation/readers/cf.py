"""What CF metadata say of a gridded variable: its axes, coordinate reference system, calendar, and days."""

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any

import cf_xarray  # noqa: F401  (registers the accessor)
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from watercli.errors import DataError
from watercli.preparation.readers.request import Request

DAY = dt.timedelta(days=1)
COORDINATES = {"T": "time", "Y": "latitude", "X": "longitude"}


def field(dataset: xr.Dataset, variable: str, where: str, request: Request) -> xr.DataArray:
    """Return a variable with dims ``(time, y, x)``, y and x ascending, longitudes from -180 to 180.

    Attributes: the file's, ``crs_wkt``, and ``day``. Times are those of the file.

    Raises
    ------
    DataError
        If the file's metadata do not tell the axes, or there are more than three.
    """
    data = dataset[variable]
    # Without its values: the accessor and its dataset refer to each other, and would keep the file open.
    about = data.copy(data=np.broadcast_to(np.float32(0), data.shape)).compute()
    axes, is_latitude = _axes(about, where, request)
    crs = _crs(dataset, data, is_latitude, where, request)
    day = _day(dataset, data, axes["T"])
    bounds = _bounds(dataset, axes["T"])
    others = [dim for dim in data.dims if dim not in axes.values()]
    if any(data.sizes[dim] != 1 for dim in others):
        raise DataError(f"{where} has the dims {data.dims}; a grid has time, y and x only")
    data = data.squeeze(others, drop=True)
    # A file of one day may hold its time as a scalar.
    data = data.expand_dims([name for name in axes.values() if name not in data.dims]).transpose(*axes.values())
    data = data.drop_vars([name for name in data.coords if name not in axes.values()])
    data = data.rename({axes["T"]: "time", axes["Y"]: "y", axes["X"]: "x"})
    if crs.is_geographic and float(data["x"].max()) > 180:
        data = data.assign_coords(x=(data["x"] + 180) % 360 - 180)
    if bounds is not None:
        data = data.assign_coords(begins=("time", bounds[:, 0]), ends=("time", bounds[:, 1]))
    return data.sortby(["y", "x"]).assign_attrs(crs_wkt=crs.to_wkt(), day=day)


def _axes(data: xr.DataArray, where: str, request: Request) -> tuple[dict[str, str], bool]:
    """Return the dims of time, y and x, by CF metadata or else by their names, and whether y is a latitude."""
    marked = _marked(data)
    marked["T"] = marked["T"] or [str(dim) for dim in data.dims if dim in data.coords and data[dim].dtype.kind in "MO"]
    if not all(marked[axis] for axis in COORDINATES):
        guessed = _marked(data.cf.guess_coord_axis())
        for axis in [axis for axis in COORDINATES if not marked[axis] and guessed[axis]]:
            marked |= {axis: guessed[axis], "latitude": guessed["latitude"]}
            request.say(f"axis {axis}", f"{where} marks no {axis} axis: taken to be '{guessed[axis][0]}' by its name")
    for axis in COORDINATES:
        if len(marked[axis]) != 1:
            raise DataError(
                f"{where} has no {axis} axis of one dimension by its CF metadata (axis, standard_name); add it to the "
                "file"
            )
    return {axis: marked[axis][0] for axis in COORDINATES}, marked["Y"][0] in marked["latitude"]


def _marked(data: xr.DataArray) -> dict[str, list[str]]:
    """Return the dims that metadata mark as axes (time may be a scalar), and the names of latitudes."""
    axes, coordinates = data.cf.axes, data.cf.coordinates
    marked: dict[str, list[str]] = {"latitude": list(map(str, coordinates.get("latitude", ())))}
    for axis, coordinate in COORDINATES.items():
        names = dict.fromkeys((*axes.get(axis, ()), *coordinates.get(coordinate, ())))
        lines = [str(name) for name in names if data[name].ndim < 2]
        marked[axis] = [name for name in lines if name in data.dims] or [name for name in lines if axis == "T"]
    return marked


def _crs(dataset: xr.Dataset, data: xr.DataArray, is_latitude: bool, where: str, request: Request) -> CRS:
    mapping = data.attrs.get("grid_mapping", data.encoding.get("grid_mapping"))
    if mapping in dataset:
        try:
            return CRS.from_cf(dataset[mapping].attrs)
        except (CRSError, KeyError, ValueError) as error:
            raise DataError(f"The grid mapping '{mapping}' of {where} describes no CRS; mend its attributes") from error
    crs = "EPSG:4326" if is_latitude else request.grid.crs
    request.say("no grid mapping", f"{where} names no grid mapping: taken to be in {crs}")
    return CRS(crs)


def _bounds(dataset: xr.Dataset, time: str) -> NDArray[Any] | None:
    """Return when the interval of each time begins and ends ``[T, 2]``, by its bounds; None where there are none."""
    bounds = dataset[time].attrs.get("bounds", dataset[time].encoding.get("bounds"))
    if bounds not in dataset or dataset[bounds].dtype.kind not in "MO":
        return None
    values = np.atleast_2d(dataset[bounds].values)
    return np.sort(values, axis=1) if values.shape[1] == 2 else None


def _day(dataset: xr.Dataset, data: xr.DataArray, time: str) -> str:
    """Say from when to when a day runs: bounds and comment of the file, where it has them."""
    said = []
    bounds = dataset[time].attrs.get("bounds", dataset[time].encoding.get("bounds"))
    if bounds in dataset and dataset[bounds].dtype.kind == "M":
        first = pd.DatetimeIndex(np.atleast_2d(dataset[bounds].values)[0])
        later = (first[1].normalize() - first[0].normalize()).days
        said.append(f"{first[0]:%H:%M} to {first[1]:%H:%M}" + (f" {later} day later" if later else ""))
    methods = str(data.attrs.get("cell_methods", ""))
    if "(comment:" in methods:
        said.append(methods.split("(comment:", 1)[1].rstrip(") ").strip())
    return "; ".join(said) or "as stamped by the source"


def standard_calendar(data: xr.DataArray, where: str, request: Request) -> xr.DataArray:
    """Return data whose times are dates of the standard calendar; no value is moved to another date.

    A date that the standard calendar lacks (30 February of a 360-day year) is left out, one that the source's lacks
    (29 February of a no-leap year, the 31st) is missing; both are counted in the log.

    Raises
    ------
    DataError
        If the times are no dates.
    """
    index = data.indexes["time"]
    if isinstance(index, pd.DatetimeIndex):
        return data
    if not isinstance(index, xr.CFTimeIndex):
        raise DataError(f"The times of {where} are no dates; mend the units of the file's time")
    if "begins" in data.coords:
        begins, ends = data["begins"].values, data["ends"].values
        # The date of the middle, as `daily` takes it: a day may be stamped at its end.
        if (abs(ends - begins - DAY) < DAY / 2).all():
            data = data.assign_coords(time=begins + (ends - begins) / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = data.drop_vars(["begins", "ends"], errors="ignore").convert_calendar(
            "standard", align_on="date", use_cftime=False
        )
    days = pd.DatetimeIndex(converted["time"].values).normalize().unique()
    lacking = len(pd.date_range(days[0], days[-1])) - len(days)
    left_out = len(index) - converted.sizes["time"]
    request.say(
        "calendar",
        f"{where} has the calendar {index.calendar}: dates are kept, {left_out:,} times that the standard calendar "
        f"lacks are left out, {lacking:,} days that this calendar lacks are missing",
    )
    return converted
