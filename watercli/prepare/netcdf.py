"""NetCDF files, opened whole and closed again, with the one error for all that are damaged."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import xarray as xr

from watercli.errors import DataError
from watercli.prepare.sources import unreadable


@contextmanager
def opened(path: Path, name: str) -> Iterator[xr.Dataset]:
    """Yield a small file's dataset in memory.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other calendars are refused, by name
            with xr.open_dataset(path, engine="netcdf4", decode_timedelta=False) as dataset:
                loaded = dataset.load()
    except Exception as error:  # what HDF5 and its wrappers raise is of many kinds
        raise unreadable(name, "NetCDF") from error
    yield loaded


def days_of(data: xr.DataArray, time: str, where: str) -> pd.DatetimeIndex:
    """Return the days along a dimension of times.

    Raises
    ------
    DataError
        If they are no dates of the standard calendar, or one comes twice.
    """
    index = data.indexes.get(time)
    if not isinstance(index, pd.DatetimeIndex):
        raise DataError(f"The times of {where} are no dates of the standard calendar; convert the file's calendar")
    days = index.normalize().as_unit("ns")
    if days.has_duplicates:
        raise DataError(f"{where} has the date {days[days.duplicated()][0]:%Y-%m-%d} twice; keep one")
    return days
