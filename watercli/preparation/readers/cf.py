"""What CF metadata say of a gridded variable: its axes, coordinate reference system, calendar, and days."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import cf_xarray  # noqa: F401  (registers the accessor)
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from watercli.errors import DataError
from watercli.preparation.readers.request import Request

DAY = dt.timedelta(days=1)
Gridded = TypeVar("Gridded", xr.DataArray, xr.Dataset)
COORDINATES = {"T": "time", "Y": "latitude", "X": "longitude"}


def field(dataset: xr.Dataset, variable: str, where: str, request: Request) -> xr.DataArray:
    """Return a variable with dims ``(time, y, x)``, y and x ascending, longitudes from -180 to 180.

    Attributes: the file's, ``crs_wkt``, and ``day``. Times are those of the file. Where latitude and longitude are all
    that places the cells, and have two dims, they are coordinates ``(y, x)``, and y and x are numbers of cells.

    Raises
    ------
    DataError
        If the file's metadata do not tell the axes, contradict each other, or there are more than three.
    """
    dataset = _dated(dataset)
    data = dataset[variable]
    # Without its values: the accessor and its dataset refer to each other, and would keep the file open.
    about = data.copy(data=np.broadcast_to(np.float32(0), data.shape)).compute()
    # Of the dataset, not of the variable: the accessor would print all values to say that it finds none, for each key.
    about.attrs, about.encoding = (
        {key: value for key, value in of.items() if key != "grid_mapping"} for of in (about.attrs, about.encoding)
    )
    axes = _axes(about, where, request)
    crs = CRS("EPSG:4326") if axes.is_curved else _crs(dataset, data, axes.is_latitude, where, request)
    dims = {"T": axes.time, "Y": axes.y, "X": axes.x}
    day = _day(dataset, data, axes.time)
    bounds = bounds_of(dataset, axes.time)
    data = _of_three_dims(data, dims, where, request)
    data = data.drop_vars([name for name in data.coords if name not in dims.values()])
    data = data.rename({axes.time: "time", axes.y: "y", axes.x: "x"})
    if axes.is_curved:
        data = data.assign_coords({axis: np.arange(data.sizes[axis], dtype=np.float64) for axis in ("y", "x")})
        data = data.assign_coords({name: (("y", "x"), values) for name, values in axes.plane.items()})
    elif crs.is_geographic:
        data = data.assign_coords(x=without_gap(data["x"]))
    if axes.plane and not axes.is_curved and "plane" not in request.said:
        request.said.add("plane")  # once: hundreds of monthly files are alike
        _check_plane(about, axes, crs, where)
    if bounds is not None:
        data = data.assign_coords(begins=("time", bounds[:, 0]), ends=("time", bounds[:, 1]))
    descending = [axis for axis in ("y", "x") if not data.indexes[axis].is_monotonic_increasing]
    return (data.sortby(descending) if descending else data).assign_attrs(crs_wkt=crs.to_wkt(), day=day)


@dataclass(frozen=True)
class Axes:
    """What places the values of a variable in time and space."""

    time: str
    y: str
    x: str
    is_latitude: bool
    """Whether y is a latitude."""
    plane: Mapping[str, NDArray[np.float64]]
    """``latitude`` and ``longitude`` of the cells ``[Y, X]``, where the file has them; otherwise empty."""
    is_curved: bool
    """Whether nothing but the plane places the cells."""


def without_gap(x: xr.DataArray) -> xr.DataArray:
    """Return longitudes from -180 to 180, or to 360 where a grid that lies across 180 degrees would be torn apart."""
    west = (x + 180) % 360 - 180 if float(x.max()) > 180 or float(x.min()) < -180 else x
    east = x % 360
    torn, whole = (float(np.diff(np.sort(side.values)).max(initial=0.0)) for side in (west, east))
    return east if torn > 180 and whole < torn / 2 else west


def _dated(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose dims of time have their times as coordinates; WRF keeps them elsewhere."""
    if "Times" in dataset and dataset["Times"].ndim == 1 and dataset["Times"].dims[0] not in dataset.coords:
        text = dataset["Times"].values.astype(str)
        times = pd.to_datetime(text, format="%Y-%m-%d_%H:%M:%S", errors="coerce")
        if not times.isna().any():
            return dataset.assign_coords({dataset["Times"].dims[0]: times})
    for name, values in dataset.coords.items():
        if values.dtype.kind == "M" and values.ndim == 1 and values.dims[0] not in dataset.coords:
            return dataset.assign_coords({values.dims[0]: (values.dims, values.values, values.attrs)}).drop_vars(
                str(name)
            )
    return dataset


def _of_three_dims(data: xr.DataArray, dims: Mapping[str, str], where: str, request: Request) -> xr.DataArray:
    """Return ``(time, y, x)``; further dims must be of length 1, or be ERA5's versions, final and preliminary."""
    if data.sizes.get("expver", 1) > 1:
        request.say("expver", f"{where} holds final and preliminary data (expver): the final ones where there are any")
        versions = [data.isel(expver=number, drop=True) for number in np.argsort(data["expver"].astype(str).values)]
        data = reduce(lambda first, second: first.fillna(second), versions).assign_attrs(data.attrs)
    others = [dim for dim in data.dims if dim not in dims.values()]
    if any(data.sizes[dim] != 1 for dim in others):
        several = next(str(dim) for dim in others if data.sizes[dim] != 1)
        raise DataError(
            f"{where} has the dims ({', '.join(map(str, data.dims))}); a grid has time, y and x only: keep one of "
            f"'{several}', as by 'ncks -d {several},0', or each in a file of its own"
        )
    data = data.squeeze(others, drop=True)
    # A file of one day may hold its time as a scalar.
    return data.expand_dims([name for name in dims.values() if name not in data.dims]).transpose(*dims.values())


def _axes(data: xr.DataArray, where: str, request: Request) -> Axes:
    """Return the axes of time, y and x, by CF metadata or else by their names."""
    marked, plane = _marked(data), _plane(data)
    if plane is None and not (marked["Y"] and marked["X"]):
        plane = _plane(data.cf.guess_coord_axis())
    marked["T"] = marked["T"] or [str(dim) for dim in data.dims if dim in data.coords and data[dim].dtype.kind in "MO"]
    is_curved = plane is not None and not (marked["Y"] and marked["X"])
    if plane is not None and is_curved:
        marked |= {"Y": [plane[0][0]], "X": [plane[0][1]]}
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
    time, y, x = (marked[axis][0] for axis in COORDINATES)
    return Axes(time, y, x, y in marked["latitude"], _values(data, plane, (y, x)), is_curved)


def _plane(data: xr.DataArray) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Return the dims y and x of latitude and longitude with two dims, and their names; None without such."""
    coordinates = data.cf.coordinates
    names = [
        next((str(name) for name in coordinates.get(kind, ()) if data[name].ndim >= 2), None)
        for kind in ("latitude", "longitude")
    ]
    if names[0] is None or names[1] is None:
        return None
    y, x = map(str, data[names[0]].dims[-2:])
    return (y, x), (names[0], names[1])


def _values(
    data: xr.DataArray, plane: tuple[tuple[str, str], tuple[str, str]] | None, dims: tuple[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Return latitude and longitude ``[Y, X]``; those of the first time, where they repeat in time as WRF's do."""
    if plane is None or set(plane[0]) != set(dims):
        return {}
    parts = [data[name] for name in plane[1]]
    parts = [part.isel({dim: 0 for dim in part.dims if dim not in dims}, drop=True) for part in parts]
    latitude, longitude = (part.transpose(*dims).values.astype(np.float64) for part in parts)
    return {"latitude": latitude, "longitude": longitude}


def _check_plane(data: xr.DataArray, axes: Axes, crs: CRS, where: str) -> None:
    """Refuse y and x that place the cells elsewhere than the file's latitude and longitude do."""
    rows, columns = (np.unique(np.linspace(0, data.sizes[dim] - 1, 5).astype(int)) for dim in (axes.y, axes.x))
    y, x = np.meshgrid(data[axes.y].values[rows], data[axes.x].values[columns], indexing="ij")
    longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    own = {name: values[np.ix_(rows, columns)] for name, values in axes.plane.items()}
    east = (longitude - own["longitude"] + 180) % 360 - 180
    apart = np.hypot(latitude - own["latitude"], east * np.cos(np.deg2rad(latitude)))
    if not np.isfinite(apart).any() or min(data.sizes[axes.y], data.sizes[axes.x]) < 2:
        return
    cell = max(float(np.nanmax(np.abs(np.diff(axes.plane["latitude"], axis=axis)))) for axis in (0, 1))
    if np.nanmax(apart) > cell:
        raise DataError(
            f"{where} places its cells by '{axes.y}' and '{axes.x}' up to {np.nanmax(apart):.3g} degrees from its "
            "latitude and longitude; mend one of the two, the grid mapping, or take the wrong coordinates out"
        )


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


def bounds_of(dataset: xr.Dataset, time: str) -> NDArray[Any] | None:
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


def _plain_dates(index: pd.Index) -> pd.DatetimeIndex | None:
    """Return times that are text, or numbers such as 20010131.25, as CDO writes them; None for others."""
    if isinstance(index, xr.CFTimeIndex):
        return None
    if index.dtype.kind in "iuf":
        days = pd.to_datetime(np.floor(index).astype(np.int64).astype(str), format="%Y%m%d", errors="coerce")
        times = days + pd.to_timedelta(index.to_numpy(np.float64) % 1, unit="D")
    else:
        times = pd.DatetimeIndex(pd.to_datetime(index.astype(str), format="ISO8601", errors="coerce", utc=True))
        times = times.tz_localize(None)
    plain = pd.DatetimeIndex(times).round("s").as_unit("ns")
    return None if plain.hasnans or plain.year.min() < 1500 else plain


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
    if (dates := _plain_dates(index)) is not None:
        request.say("dates", f"{where} has its dates as they are written, such as {index[0]}")
        return data.assign_coords(time=dates)
    if not isinstance(index, xr.CFTimeIndex):
        raise DataError(f"The times of {where} are no dates; mend the units of the file's time")
    if "begins" in data.coords:
        data = data.assign_coords(time=_dates_within(data["begins"].values, data["ends"].values, data["time"].values))
    return _by_date(data.drop_vars(["begins", "ends"], errors="ignore"), "time", where, request)


def in_standard_calendar(dataset: xr.Dataset, where: str, request: Request) -> xr.Dataset:
    """Return a dataset whose dims of other calendars have dates of the standard one, as `standard_calendar` does."""
    for time in [str(name) for name, index in dataset.indexes.items() if isinstance(index, xr.CFTimeIndex)]:
        bounds = bounds_of(dataset, time)
        if bounds is not None:
            dates = _dates_within(bounds[:, 0], bounds[:, 1], dataset[time].values)
            dataset = dataset.assign_coords({time: (time, dates)})
        dataset = _by_date(dataset, time, where, request)
    return dataset


def _dates_within(begins: NDArray[Any], ends: NDArray[Any], stamps: NDArray[Any]) -> NDArray[Any]:
    """Return the middles of days, as `daily` takes them: a day may be stamped at its end; other stamps as they are."""
    are_days = (abs(ends - begins - DAY) < DAY / 2).all()
    return np.asarray(begins + (ends - begins) / 2) if are_days else stamps


def _by_date(data: Gridded, time: str, where: str, request: Request) -> Gridded:
    """Return data with the dates of the standard calendar along ``time``; what is left out or missing is said."""
    index = data.indexes[time]
    assert isinstance(index, xr.CFTimeIndex)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = data.convert_calendar("standard", dim=time, align_on="date", use_cftime=False)
    days = pd.DatetimeIndex(converted[time].values).normalize().unique()
    lacking = len(pd.date_range(days[0], days[-1])) - len(days)
    left_out = len(index) - converted.sizes[time]
    request.say(
        "calendar",
        f"{where} has the calendar {index.calendar}: dates are kept, {left_out:,} times that the standard calendar "
        f"lacks are left out, {lacking:,} days that this calendar lacks are missing",
    )
    return converted
