"""GeoTIFFs of one day each, as CHIRPS and national products are published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import factory
from tests.unit.preparation.test_grid import LAT as SOUTH_FIRST
from tests.unit.preparation.test_grid import LATLON, LON, of, read
from watercli.errors import DataError
from watercli.preparation.readers.geotiff import date_of
from watercli.store import Store

rasterio = pytest.importorskip("rasterio")
Build = Callable[..., Store]
DAYS = factory.days("2001-01-01", "2001-01-12")
SHORT = {
    "recipe__period": {"start": "2001-01-01", "end": "2001-01-12"},
    "recipe__splits": {
        "train": {"start": "2001-01-01", "end": "2001-01-08"},
        "validation": {"start": "2001-01-09", "end": "2001-01-10"},
        "test": {"start": "2001-01-11", "end": "2001-01-12"},
    },
    "recipe__catchments": None,
    "window_days": 2,
}
"""Twelve days, and no catchments."""


def write(folder: Path, y: np.ndarray, x: np.ndarray, values: np.ndarray, name: str, **profile: Any) -> None:
    """Write fields ``[day, y, x]``, one file for each day, rows from the north."""
    step_y, step_x = y[1] - y[0], x[1] - x[0]
    transform = rasterio.transform.from_origin(x[0] - step_x / 2, y[-1] + step_y / 2, step_x, step_y)
    options = {"count": 1, "dtype": "float32", "nodata": -9999.0, "crs": "EPSG:4326"} | profile
    for day, field in zip(DAYS, values, strict=True):
        path = folder / name.format(day=day)
        with rasterio.open(path, "w", "GTiff", len(x), len(y), transform=transform, **options) as file:
            rows = np.where(np.isfinite(field), field, options["nodata"])[::-1].astype(options["dtype"])
            file.write(np.repeat(rows[None], options["count"], axis=0))


def stated(modalities: dict[str, Any]) -> dict[str, Any]:
    """Return modalities whose source has its units stated, which no GeoTIFF does."""
    modalities["precip"]["source"]["units"] = "mm/day"
    return modalities


def test_chirps(data: Path, build: Build) -> None:
    values = factory.field(DAYS)
    write(data, SOUTH_FIRST, LON, values, "chirps-v2.0.{day:%Y.%m.%d}.tif")
    store = build(modalities=stated(of("precip", "chirps-*.tif")), **SHORT | LATLON)
    np.testing.assert_allclose(read(store), values, rtol=1e-6)


def test_a_projected_grid_of_scaled_integers(data: Path, build: Build) -> None:
    tenths = np.round(10 * factory.field(DAYS))
    write(data, factory.Y, factory.X, tenths, "rain_{day:%Y%m%d}.tiff", crs="EPSG:27700", dtype="int16", nodata=-1)
    for path in data.glob("rain_*.tiff"):
        with rasterio.open(path, "r+") as file:
            file.scales = (0.1,)
    store = build(modalities=stated(of("precip", "rain_*.tiff")), **SHORT)
    np.testing.assert_allclose(read(store), tenths / 10, rtol=1e-5)


@pytest.mark.parametrize(
    ("profile", "name", "message"),
    [
        ({}, "rain_{day.dayofyear}.tif", "rain_1.tif has no date in its name; name each file by its day"),
        ({"count": 2}, "rain_{day:%Y%m%d}.tif", "rain_20010101.tif has 2 bands; give files of one band"),
        ({"crs": None}, "rain_{day:%Y%m%d}.tif", "rain_20010101.tif states no coordinate reference system"),
    ],
)
def test_what_a_file_must_tell(data: Path, build: Build, profile: dict[str, Any], name: str, message: str) -> None:
    write(data, SOUTH_FIRST, LON, factory.field(DAYS), name, **profile)
    with pytest.raises(DataError, match=message):
        build(modalities=of("precip", "rain_1.tif" if "dayofyear" in name else "rain_*.tif"), **SHORT | LATLON)


def test_a_torn_file(data: Path, build: Build) -> None:
    (data / "rain_20010101.tif").write_bytes(b"II*\0 torn")
    with pytest.raises(DataError, match=r"rain_20010101.tif cannot be read as GeoTIFF: it is damaged"):
        build(modalities=of("precip", "rain_*.tif"), **SHORT | LATLON)


def test_dates_in_names() -> None:
    for name in (
        "a/20010131.tif",
        "prism_ppt_2001-01-31_v1.tif",
        "rain.2001.01.31.tif",
        "p_2001_01_31_20010131.tif",
    ):
        assert f"{date_of(name):%Y-%m-%d}" == "2001-01-31"
    for name in ("rain_20011301.tif", "rain_120010131.tif", "20010131_20010201.tif"):
        with pytest.raises(DataError, match=r"dates? in its name"):
            date_of(name)
