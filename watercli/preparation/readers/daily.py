"""Values of any time step become days whose beginning the recipe states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from watercli.config import Daily
from watercli.errors import DataError
from watercli.preparation.readers.dates import LATE
from watercli.preparation.readers.request import Request, naming_unreadable

DAY = pd.Timedelta(days=1)
SAMPLE_DAYS, SAMPLE_LEAST, SAMPLE_NOISE = 10, 100, 1e-3
"""Days that are looked at for sums, changes from step to step that must be in them, and share of the greatest value
that is rounding."""
CHUNK_BYTES = 64e6
"""Memory of the sub-daily values that are read at once."""


def to_dates(data: xr.DataArray, where: str, request: Request) -> xr.DataArray:
    """Return ``(time, y, x)`` with one value a day, at midnight of the day on which it begins.

    Raises
    ------
    DataError
        If there are several values a day and the recipe does not say how they become one, or less than one a day.
    """
    times = pd.DatetimeIndex(data.indexes["time"]).round("s")  # hours in floating point are rarely whole
    step = pd.Series(times).diff().median() if len(times) > 1 else DAY
    settings = request.source.daily
    if settings is not None:
        return _aggregated(data, times, step, settings, where, request)
    if step < DAY:
        raise DataError(
            f"{where} has a value every {_hours(step)}; say how they become days in "
            f"modalities.{request.modality_name}.source.daily"
        )
    if step > DAY:
        raise DataError(f"{where} has a value every {step.days} days only; give daily files")
    days = _days(data, times, where, request)
    if days.has_duplicates:
        raise DataError(f"{where} has {days[days.duplicated()][0]:%Y-%m-%d} twice, at two hours; keep one")
    return data.drop_vars(["begins", "ends"], errors="ignore").assign_coords(time=days)


def _days(data: xr.DataArray, times: pd.DatetimeIndex, where: str, request: Request) -> pd.DatetimeIndex:
    """Return the date of each daily value: that of the middle of its bounds, or else that of its stamp.

    The middle is the same whether a day is stamped at its beginning or its end, and whether it begins at midnight, at
    09:00 or at a midnight far from Greenwich.
    """
    stamped = times.normalize().as_unit("ns")
    middles = middles_of(data["begins"].values, data["ends"].values, times) if "begins" in data.coords else None
    if middles is None:
        _tell_of_hours(times, where, request)
        return stamped
    moved = middles != stamped
    if moved.any():
        request.say(
            "bounds",
            f"{where}: the bounds of time decide on the date of {moved.sum():,} days ({times[moved][0]} is of "
            f"{middles[moved][0]:%Y-%m-%d})",
        )
    return middles


def middles_of(first: NDArray[Any], last: NDArray[Any], times: pd.DatetimeIndex) -> pd.DatetimeIndex | None:
    """Return the dates of the middles of bounds of time; None where they are not of a day around each stamp."""
    begins, ends = pd.DatetimeIndex(first), pd.DatetimeIndex(last)
    middles = begins + (ends - begins) / 2
    length, distance = ((first - second) / DAY for first, second in ((ends, begins), (middles, times)))
    around = (np.abs(length - 1) < 0.5) & (np.abs(distance) <= 1)
    return middles.normalize().as_unit("ns") if around.all() else None


def _tell_of_hours(times: pd.DatetimeIndex, where: str, request: Request) -> None:
    """Say that times of day were cut off, and warn where the date may then be that of the day before."""
    hours = times - times.normalize()
    if not hours.any():
        return
    shown = ", ".join(f"{pd.Timestamp(0) + hour:%H:%M}" for hour in hours.unique().sort_values()[:3])
    request.say("hours", f"{where}: times of day ({shown}) are cut off, the date counts")
    late = int(((hours >= LATE[0]) & (hours <= LATE[1])).sum())
    if late:
        request.warn(
            f"{late:,} days of {where} are stamped late ({shown}): if these are local midnights in UTC, their dates "
            "are a day early; give the file bounds of time, or local times"
        )


def _aggregated(
    data: xr.DataArray, times: pd.DatetimeIndex, step: pd.Timedelta, settings: Daily, where: str, request: Request
) -> xr.DataArray:
    """Return days of which every value is there; a day that lacks one is missing, and counted."""
    if step > DAY or DAY % step:
        raise DataError(f"{where} has a value every {_hours(step)}, which make no whole days; leave the files out")
    count = DAY // step
    cells = data.sizes["y"] * data.sizes["x"]
    chunk = count * max(1, int(CHUNK_BYTES / 4 / cells / count))
    data = data.astype(np.float32).chunk({"time": chunk, "y": -1, "x": -1})
    if settings.aggregation == "sum":
        _check_accumulation(data, times, step, settings, where, request)
    if settings.accumulation != "none":
        data = _increments(data, times, step, settings)
    begins = _begins(data, times, step, settings, where, request)
    days = (begins - pd.Timedelta(hours=settings.day_start_hour)).floor("D")
    complete = pd.Series(days).groupby(days).transform("size").to_numpy() == count
    short = len(days.unique()) - len(days[complete].unique())
    if short:
        request.warn(f"{where} has {short:,} days that lack some of their {count} values; they are missing")
    if not complete.any():
        raise DataError(f"{where} has no whole day of {count} values; give whole days")
    parts = (
        data.isel(time=np.flatnonzero(complete))
        .drop_vars(["time", "begins", "ends"], errors="ignore")
        .chunk({"time": chunk})
    )
    steps = parts.coarsen(time=int(count)).construct(time=("time", "step"))
    daily: xr.DataArray = getattr(steps, settings.aggregation)("step", skipna=False)
    methods = "time: sum" if settings.aggregation == "sum" else f"time: {settings.aggregation}"
    hour = f"{settings.day_start_hour:02d}:00"
    day = f"{hour} to {hour} UTC 1 day later, {settings.aggregation} of {count} values"
    index = days[complete].unique().as_unit("ns")
    return daily.assign_coords(time=index).assign_attrs(data.attrs, cell_methods=methods, day=day)


def _increments(data: xr.DataArray, times: pd.DatetimeIndex, step: pd.Timedelta, settings: Daily) -> xr.DataArray:
    """Return what was added in each step to sums since midnight or the start; missing where the step before is."""
    before = data.shift(time=1)
    follows = np.r_[False, np.diff(times) == step]
    starts = times - step
    first = starts == starts.normalize()  # what is stamped 00:00 ends a day, so the next sum begins anew
    added = (data - before).where(xr.DataArray(follows, dims="time"))
    if settings.accumulation == "since_start":
        begins_anew = (data < before / 2) & xr.DataArray(follows, dims="time")  # by more than rounding
        return added.where(~begins_anew, data).assign_attrs(data.attrs)
    return data.where(xr.DataArray(first, dims="time"), added).assign_attrs(data.attrs)


def _check_accumulation(
    data: xr.DataArray, times: pd.DatetimeIndex, step: pd.Timedelta, settings: Daily, where: str, request: Request
) -> None:
    """Look at the first days whether values are sums since midnight or the start, as the recipe says, or are not.

    Amounts of rain never rise from step to step through every day and cell; sums of them never fall. Sums since
    midnight fall at midnight, sums since the start of a simulation do not.
    """
    fitting = int(CHUNK_BYTES / 4 / (data.sizes["y"] * data.sizes["x"]))
    length = min(len(times), int(SAMPLE_DAYS * (DAY // step)), max(fitting, int(DAY // step)))
    with naming_unreadable(request):
        sample = data.isel(time=slice(0, length)).to_numpy()
    starts = times[1:length] - step
    follows = np.asarray(np.diff(times[:length]) == step)
    at_midnight = np.asarray(starts == starts.normalize())
    changes = np.diff(sample, axis=0)[follows & ~at_midnight]
    noise = SAMPLE_NOISE * float(np.nanmax(sample, initial=0.0))
    wet = sample[:-1][follows & at_midnight] > noise
    stays = wet.any() and not (np.diff(sample, axis=0)[follows & at_midnight][wet] < -noise).any()
    rises, falls = int((changes > noise).sum()), int((changes < -noise).sum())
    setting = f"modalities.{request.modality_name}.source.daily.accumulation"
    are_sums = rises > SAMPLE_LEAST and not falls
    if are_sums and stays and settings.accumulation != "since_start":
        raise DataError(
            f"{where} never falls, as sums since the start of a simulation do not; set {setting} to since_start"
        )
    if are_sums and settings.accumulation == "none":
        raise DataError(
            f"{where} never falls within a day, as sums since midnight do not; set {setting} to since_midnight"
        )
    if settings.accumulation == "since_midnight" and falls > max(SAMPLE_LEAST, rises / 4) and (sample > -noise).all():
        request.warn(f"{where} falls within a day, which sums since midnight do not: is {setting} right?")


def _begins(
    data: xr.DataArray, times: pd.DatetimeIndex, step: pd.Timedelta, settings: Daily, where: str, request: Request
) -> pd.DatetimeIndex:
    """Return when the interval of each value begins."""
    if settings.accumulation != "none" or settings.label == "end":
        return times - step
    if settings.label is None and "begins" in data.coords:
        return pd.DatetimeIndex(data["begins"].values).round("s")
    if settings.label is None and settings.aggregation == "sum":
        raise DataError(
            f"{where} does not say whether a time stamps the beginning or the end of its step; set "
            f"modalities.{request.modality_name}.source.daily.label to start or end"
        )
    if settings.label is None:
        request.say("label", f"{where} has no bounds of time: a value is taken to belong to the step that it begins")
    return times


def _hours(step: pd.Timedelta) -> str:
    return f"{step / pd.Timedelta(hours=1):g} hours"
