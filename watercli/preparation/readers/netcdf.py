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
from watercli.preparation.readers import geotiff, missing
from watercli.preparation.readers.sources import unreadable

OTHER_KINDS = {
    b"II*\0": "is a GeoTIFF; give its name the ending .tif",
    b"MM\0*": "is a GeoTIFF; give its name the ending .tif",
    b"\x0e\x03\x13\x01": "is HDF4, which is not read; write it as NetCDF (ncl_convert2nc, h4tonccf)",
    b"\x1f\x8b": "is compressed by gzip; unpack it",
    b"PK\x03\x04": "is a zip archive, as the Climate Data Store sends them; unpack it",
    b"<!": "is a web page, as that of a failed download or of a login; fetch the file again",
    b"<h": "is a web page, as that of a failed download or of a login; fetch the file again",
    b"GRIB": "is GRIB; give its name the ending .grib",
}
"""What files begin with that are no NetCDF, and what to do about them."""
BEGINNINGS = {"GRIB": (b"GRIB",), "GeoTIFF": (b"II*\0", b"MM\0*")}
"""What files of these kinds begin with."""
GRIB = (".grib", ".grib2", ".grb", ".grb2")


SMALL = 65_536
"""Bytes up to which a variable of a gridded file is read when the file is opened."""
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
    if ending in geotiff.ENDINGS:
        return "GeoTIFF", {}
    return ("Zarr", {"engine": "zarr"}) if ending == ".zarr" else ("NetCDF", {"engine": "netcdf4"})


def lazily(raw: xr.Dataset, address: str) -> xr.Dataset:
    """Return a dataset whose small variables are in memory, and whose others are read in the file's own chunks.

    What is lazy costs a graph for each operation: of thousands of files of a day each, that is most of the time.
    """
    variables = {}
    for name, data in raw.variables.items():
        if data.nbytes <= SMALL:
            variables[name] = data.load()
        else:
            variables[name] = data.chunk(data.encoding.get("preferred_chunks", {}), name=f"{address}-{name}")
    return xr.Dataset(
        {name: variables[name] for name in raw.data_vars}, {name: variables[name] for name in raw.coords}, raw.attrs
    )


def decoded(raw: xr.Dataset) -> xr.Dataset:
    """Return a dataset as CF reads it; what lies outside a valid range is left to `missing.valid`."""
    return xr.decode_cf(missing.declared(raw), decode_timedelta=False)


def refused(path: Path, name: str, kind: str) -> DataError:
    """Return the error for a file that cannot be read as its name says, by what it begins with."""
    try:
        with path.open("rb") as stream:
            begins = stream.read(4)
    except OSError:
        begins = b""
    known = (advice for beginning, advice in OTHER_KINDS.items() if begins.startswith(beginning))
    advice = None if begins in BEGINNINGS.get(kind, ()) else next(known, None)
    return DataError(f"{name} {advice}") if advice else unreadable(name, kind)


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
            with xr.open_dataset(path, engine="netcdf4", decode_cf=False) as raw:
                loaded = decoded(raw).load()
                for variable in loaded.data_vars:
                    loaded[variable] = missing.valid(loaded[variable], f"'{variable}' in {name}", lambda *_: None)
    except Exception as error:  # what HDF5 and its wrappers raise is of many kinds
        raise refused(path, name, "NetCDF") from error
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
            with xr.open_dataset(path, engine="netcdf4", decode_cf=False) as raw:
                yield decoded(raw)
    except (OSError, RuntimeError, ValueError) as error:
        raise refused(path, name, "NetCDF") from error


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
    days = index.round("s").normalize().as_unit("ns")  # a stamp may be a fraction of a second short of midnight
    if days.has_duplicates:
        raise DataError(f"{where} has the date {days[days.duplicated()][0]:%Y-%m-%d} twice; keep one")
    return days
