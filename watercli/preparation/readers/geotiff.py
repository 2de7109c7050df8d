"""GeoTIFFs of one day each, the date in the name, as CHIRPS, PRISM and many national products are published."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import xarray as xr

from watercli.errors import ConfigError, DataError

ENDINGS = (".tif", ".tiff")
DATE = re.compile(r"(?<!\d)(\d{4})([-_.]?)(\d{2})\2(\d{2})(?!\d)")
"""A date in a name: 20010131, 2001-01-31, 2001_01_31 or 2001.01.31."""


def opened(address: str, name: str, variable: str) -> xr.Dataset:
    """Return a file as a dataset ``(time, y, x)`` of one variable, which is called ``variable``, on one day.

    Raises
    ------
    ConfigError
        If rioxarray is missing.
    DataError
        If the name holds no date, or the file several bands or no coordinate reference system.
    """
    try:
        import rioxarray
    except ImportError as error:
        raise ConfigError(f"Reading {name} needs rioxarray; pip install 'watercli[geotiff]'") from error
    date = date_of(name)
    data = rioxarray.open_rasterio(address, chunks={}, mask_and_scale=True)
    assert isinstance(data, xr.DataArray)
    if data.sizes["band"] != 1:
        raise DataError(f"{name} has {data.sizes['band']} bands; give files of one band, which is one day")
    if data.rio.crs is None:
        raise DataError(f"{name} states no coordinate reference system; assign one (gdal_edit.py -a_srs)")
    day = data.rio.write_coordinate_system().isel(band=0, drop=True).expand_dims(time=[np.datetime64(date, "ns")])
    day.attrs["grid_mapping"] = "spatial_ref"
    dataset: xr.Dataset = day.rename(variable).to_dataset()
    return dataset


def date_of(name: str) -> dt.date:
    """Return the date in a file's name.

    Raises
    ------
    DataError
        If there is none, or several.
    """
    found = set()
    for year, _, month, day in DATE.findall(name.rpartition("/")[2]):
        try:
            found.add(dt.date(int(year), int(month), int(day)))
        except ValueError:
            continue
    if len(found) != 1:
        what = "no date" if not found else f"{len(found)} dates"
        raise DataError(f"{name} has {what} in its name; name each file by its day, such as rain_20010131.tif")
    return found.pop()
