"""NetCDF and its kin: how they are opened, with the one error for all that are damaged."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import DataError
from watercli.preparation.readers.sources import unreadable

GRIB = (".grib", ".grib2", ".grb", ".grb2")


ENDINGS = (".nc", ".nc4", ".cdf")
"""Endings of NetCDF files that hold tables."""


def as_text(data: xr.DataArray) -> list[str]:
    """Return the values of a variable as text, those of characters decoded."""
    return [
        value.decode(errors="replace").strip() if isinstance(value, bytes) else str(value).strip()
        for value in np.atleast_1d(data.to_numpy()).tolist()
    ]


def reading(address: str) -> tuple[str, dict[str, Any]]:
    """Return the kind of a gridded file by its ending, and how xarray opens it."""
    ending = Path(address).suffix.lower()
    if ending in GRIB:
        # No index file beside the data, and nothing left out of a damaged file.
        options = {"indexpath": "", "time_dims": ["valid_time"], "errors": "raise"}
        return "GRIB", {"engine": "cfgrib", "backend_kwargs": options}
    return ("Zarr", {"engine": "zarr"}) if ending == ".zarr" else ("NetCDF", {"engine": "netcdf4"})


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


@contextmanager
def peeked(path: Path, name: str) -> Iterator[xr.Dataset]:
    """Yield a file's dataset, of which what is used is read, and nothing else.

    Raises
    ------
    DataError
        If what is used cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with xr.open_dataset(path, engine="netcdf4", decode_timedelta=False) as dataset:
                yield dataset
    except (OSError, RuntimeError, ValueError) as error:
        raise unreadable(name, "NetCDF") from error


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
