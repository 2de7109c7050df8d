"""Values of any time step become days whose beginning the recipe states."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from watercli.config import Daily
from watercli.errors import DataError
from watercli.preparation.readers.request import Request

DAY = pd.Timedelta(days=1)
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
    days = times.normalize().as_unit("ns")
    if days.has_duplicates:
        raise DataError(f"{where} has {days[days.duplicated()][0]:%Y-%m-%d} twice, at two hours; keep one")
    return data.drop_vars("begins", errors="ignore").assign_coords(time=days)


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
    if settings.accumulation == "since_midnight":
        data = _increments(data, times, step)
    begins = _begins(data, times, step, settings, where, request)
    days = (begins - pd.Timedelta(hours=settings.day_start_hour)).floor("D")
    complete = pd.Series(days).groupby(days).transform("size").to_numpy() == count
    short = len(days.unique()) - len(days[complete].unique())
    if short:
        request.warn(f"{where} has {short:,} days that lack some of their {count} values; they are missing")
    if not complete.any():
        raise DataError(f"{where} has no whole day of {count} values; give whole days")
    parts = (
        data.isel(time=np.flatnonzero(complete)).drop_vars(["time", "begins"], errors="ignore").chunk({"time": chunk})
    )
    steps = parts.coarsen(time=int(count)).construct(time=("time", "step"))
    daily: xr.DataArray = getattr(steps, settings.aggregation)("step", skipna=False)
    methods = "time: sum" if settings.aggregation == "sum" else f"time: {settings.aggregation}"
    hour = f"{settings.day_start_hour:02d}:00"
    day = f"{hour} to {hour} UTC 1 day later, {settings.aggregation} of {count} values"
    index = days[complete].unique().as_unit("ns")
    return daily.assign_coords(time=index).assign_attrs(data.attrs, cell_methods=methods, day=day)


def _increments(data: xr.DataArray, times: pd.DatetimeIndex, step: pd.Timedelta) -> xr.DataArray:
    """Return what was added in each step to sums since midnight; missing where the step before is."""
    before = data.shift(time=1)
    follows = np.r_[False, np.diff(times) == step]
    starts = times - step
    first = starts == starts.normalize()  # what is stamped 00:00 ends a day, so the next sum begins anew
    added = (data - before).where(xr.DataArray(follows, dims="time"))
    return data.where(xr.DataArray(first, dims="time"), added).assign_attrs(data.attrs)


def _begins(
    data: xr.DataArray, times: pd.DatetimeIndex, step: pd.Timedelta, settings: Daily, where: str, request: Request
) -> pd.DatetimeIndex:
    """Return when the interval of each value begins."""
    if settings.accumulation == "since_midnight" or settings.label == "end":
        return times - step
    if settings.label is None and "begins" in data.coords:
        return pd.DatetimeIndex(data["begins"].values).round("s")
    if settings.label is None and settings.aggregation == "sum":
        raise DataError(
            f"{where} does not say whether a time stamps the beginning or the end of its step; set "
            f"modalities.{request.modality_name}.source.daily.stamp to start or end"
        )
    if settings.label is None:
        request.say("stamp", f"{where} has no bounds of time: a value is taken to belong to the step that it begins")
    return times


def _hours(step: pd.Timedelta) -> str:
    return f"{step / pd.Timedelta(hours=1):g} hours"
