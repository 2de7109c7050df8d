"""Grids without even rows and columns, in files as WRF, RASM, Gaussian archives and the old Data Store write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import Transformer

from tests import factory
from tests.unit.preparation.test_grid import LATLON, TARGET, of, read, write_latlon
from watercli.errors import DataError
from watercli.store import Store

Build = Callable[..., Store]
DAYS = factory.days()
ONTO = {**TARGET, "recipe__catchments": None, "recipe__grid__cell": 10_000.0}
GRID = Transformer.from_crs("EPSG:4326", "EPSG:27700", always_xy=True)
LAMBERT = Transformer.from_crs(
    "+proj=lcc +lat_1=40 +lat_2=60 +lat_0=50 +lon_0=10 +R=6370000", "EPSG:4326", always_xy=True
)
"""WRF's sphere, and a cone whose axis is far enough from Britain for rows to cross parallels."""


def plane(cells: int = 40, step: float = 12_000.0) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude and longitude of a Lambert grid around the middle of the target."""
    x0, y0 = LAMBERT.transform(*GRID.transform(435_000, 355_000, direction="INVERSE"), direction="INVERSE")
    line = step * (np.arange(cells) - cells / 2)
    longitude, latitude = LAMBERT.transform(*np.meshgrid(x0 + line, y0 + line))
    return latitude, longitude


def northing(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Return a field that is linear in the target, and differs from day to day."""
    field: np.ndarray = GRID.transform(longitude, latitude)[1] / 1e5 + np.arange(365)[:, None, None] / 365
    return field


EXPECTED = (295_000 + 10_000 * (np.arange(12) + 0.5))[:, None] / 1e5 + np.arange(365)[:, None, None] / 365


def check(store: Store, atol: float = 0.01) -> None:
    found = store.dataset["precip"].values[:, :12, :8]
    np.testing.assert_allclose(found, EXPECTED + np.zeros((1, 12, 8)), atol=atol)
    assert store.dataset["precip"].attrs["regridding"].startswith("area-weighted from cells of ")


def write_wrf(path: Path) -> None:
    """Write as wrfout files are: no coordinate of time, XLAT and XLONG of each time, no CF."""
    latitude, longitude = plane()
    dims = ("Time", "south_north", "west_east")
    repeated = {name: np.broadcast_to(values.astype("f4"), (365, *values.shape)) for name, values in
                (("XLAT", latitude), ("XLONG", longitude))}  # fmt: skip
    attributes = {"FieldType": 104, "MemoryOrder": "XY ", "stagger": "", "coordinates": "XLONG XLAT"}
    data = xr.Dataset(
        {
            "Times": ("Time", np.array([f"{day:%Y-%m-%d_12:00:00}" for day in DAYS], dtype="S19")),
            "XLAT": (dims, repeated["XLAT"], {"description": "LATITUDE, SOUTH IS NEGATIVE", "units": "degree_north"}),
            "XLONG": (dims, repeated["XLONG"], {"description": "LONGITUDE, WEST IS NEGATIVE", "units": "degree_east"}),
            "T2": (dims, northing(latitude, longitude).astype("f4"), {"units": "K", **attributes}),
        }
    )
    data.to_netcdf(path, encoding={"Times": {"char_dim_name": "DateStrLen"}})


def test_wrf(data: Path, build: Build) -> None:
    write_wrf(data / "wrfout_d01.nc")
    check(build(modalities=of("T2", "wrfout*.nc", "K"), **ONTO))
    with pytest.raises(DataError, match=r"'precip' have latitude and longitude of two dims.* recipe.grid.bounds and"):
        build(modalities=of("T2", "wrfout*.nc", "K"), **LATLON)


def test_wrf_with_xtime(data: Path, build: Build) -> None:
    write_wrf(data / "wrfout_d01.nc")
    with xr.open_dataset(data / "wrfout_d01.nc") as dataset:
        loaded = dataset.load().drop_vars("Times")
    minutes = np.arange(365) * 1440.0 + 720
    loaded["XTIME"] = ("Time", minutes, {"units": "minutes since 2001-01-01 00:00:00", "description": "minutes since"})
    loaded["T2"].encoding["coordinates"] = "XLONG XLAT XTIME"
    loaded.to_netcdf(data / "a.nc")
    check(build(modalities=of("T2", "a.nc", "K"), **ONTO))


def test_rasm(data: Path, build: Build) -> None:
    """The file of xarray's tutorial: xc to 360 degrees, a calendar without leap days, missing over the sea."""
    latitude, longitude = plane()
    values = northing(latitude, longitude)
    values[:, :, -1] = np.nan
    times = xr.date_range("2001-01-01 12:00", "2001-12-31 12:00", calendar="noleap", use_cftime=True)
    xr.Dataset(
        {"Tair": (("time", "y", "x"), values, {"units": "C", "long_name": "Surface air temperature"})},
        coords={
            "time": ("time", times, {"long_name": "time"}),
            "xc": (
                ("y", "x"),
                longitude % 360,
                {"long_name": "longitude of grid cell center", "units": "degrees_east"},
            ),
            "yc": (("y", "x"), latitude, {"long_name": "latitude of grid cell center", "units": "degrees_north"}),
        },
    ).to_netcdf(data / "rasm.nc")
    check(build(modalities=of("Tair", "rasm.nc", "degC"), **ONTO))


def test_numbers_of_cells_are_no_places(data: Path, build: Build) -> None:
    """As CORDEX files of some centres have it: x and y count cells, and say nothing of where they are."""
    latitude, longitude = plane()
    dataset = xr.Dataset(
        {"tas": (("time", "y", "x"), northing(latitude, longitude), {"units": "K", "coordinates": "lat lon"})},
        coords={
            "time": DAYS,
            "y": np.arange(40.0),
            "x": np.arange(40.0),
            "lat": (("y", "x"), latitude, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": (("y", "x"), longitude, {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )
    del dataset["tas"].attrs["coordinates"]
    dataset.to_netcdf(data / "a.nc")
    check(build(modalities=of("tas", "a.nc", "K"), **ONTO))


def test_coordinates_that_contradict_each_other(data: Path, build: Build) -> None:
    """Marked axes and a grid mapping say one place, the latitudes and longitudes another."""
    east, north = np.meshgrid(factory.X, factory.Y)
    longitude, latitude = GRID.transform(east, north, direction="INVERSE")

    def write(shift: float) -> None:
        with xr.open_dataset(data / "rainfall" / "rainfall.nc") as dataset:
            loaded = dataset.load()
        dims = loaded["rainfall"].dims[1:]
        loaded = loaded.assign_coords(
            latitude=(dims, latitude + shift, {"standard_name": "latitude", "units": "degrees_north"}),
            longitude=(dims, longitude, {"standard_name": "longitude", "units": "degrees_east"}),
        )
        loaded.to_netcdf(data / "a.nc")

    source = {"modalities": of("rainfall", "a.nc"), "recipe__catchments": None}
    write(0.0)
    assert np.isfinite(read(build(**source))).any()
    write(0.5)
    with pytest.raises(DataError, match=r"'rainfall' in a.nc places its cells by .* up to 0.5 degrees from its"):
        build(**source)


def test_a_gaussian_grid(data: Path, build: Build) -> None:
    """Latitudes of N160 near Britain, as ECMWF's archives and CMIP models have them."""
    every = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(320)[0]))
    latitude = every[(every > 51) & (every < 56)]
    longitude = np.arange(-4.5, 1.5, 360 / 640)
    field = northing(*np.meshgrid(latitude, longitude, indexing="ij"))
    data_array = xr.DataArray(field, dims=("time", "lat", "lon"), coords={"time": DAYS}, attrs={"units": "K"}, name="t")
    data_array = data_array.assign_coords(
        lat=("lat", latitude, {"units": "degrees_north"}), lon=("lon", longitude, {"units": "degrees_east"})
    )
    data_array[:, ::-1].to_netcdf(data / "a.nc")
    store = build(modalities=of("t", "a.nc", "K"), **ONTO)
    check(store, atol=0.33)  # cells of 62 km are steps on those of 10 km
    assert float((store.dataset["precip"].values[:, :12, :8] - EXPECTED).mean()) == pytest.approx(0, abs=0.03)
    widened = data_array.assign_coords(
        lat=("lat", latitude + 0.01 * np.arange(len(latitude)) % 0.03, data_array.lat.attrs)
    )
    widened.to_netcdf(data / "b.nc")
    with pytest.raises(DataError, match=r"'precip' is not evenly spaced along y \(steps of .* recipe.grid.bounds and"):
        build(modalities=of("t", "b.nc", "K"), **LATLON)


def test_uneven_rows_keep_the_mass(data: Path, build: Build) -> None:
    uneven = 52.0 + np.cumsum([0, 0.1, 0.3, 0.2, 0.1, 0.4, 0.2, 0.3, 0.1, 0.2, 0.2, 0.1])
    values = 10 * np.random.default_rng(1).random((365, 12, 9))
    path = write_latlon(data / "a.nc", DAYS, values, "pr", "mm/day", time="time")
    with xr.open_dataset(path) as dataset:
        attributes = dataset["latitude"].attrs
        dataset.load().assign_coords(latitude=("latitude", uneven[::-1], attributes)).to_netcdf(data / "b.nc")
    target: dict[str, Any] = {"crs": "EPSG:4326", "bounds": [-2.05, 51.95, -1.15, 54.25], "cell": 0.1}
    store = build(modalities=of("pr", "b.nc"), recipe__catchments=None, recipe__grid=target | {"patch_size": [2, 2]})
    edges = np.r_[51.95, (uneven[1:] + uneven[:-1]) / 2, 54.25]
    places = np.searchsorted(edges, 51.95 + 0.1 * (np.arange(23) + 0.5)) - 1
    whole = np.isclose((edges[1:] - edges[:-1]) % 0.1, 0, atol=1e-6)  # rows whose edges are those of target cells
    found = read(store)
    assert whole.any()
    for row in np.flatnonzero(whole[places] & np.isclose(edges[places] % 0.1, 0.05, atol=1e-6)):
        np.testing.assert_allclose(found[:, row], values[:, places[row]], rtol=1e-4)
    assert "(+0.000 %)" in store.dataset["precip"].attrs["regridding"].replace("(-0.000", "(+0.000")


def test_a_single_row_is_told_apart(data: Path, build: Build) -> None:
    values = factory.field(DAYS)
    path = write_latlon(data / "a.nc", DAYS, values, "pr", "mm/day", time="time")
    with xr.open_dataset(path) as dataset:
        dataset.isel(latitude=[3]).load().to_netcdf(data / "b.nc")
    with pytest.raises(DataError, match=r"'precip' has one cell only along y .*; give at least two rows and"):
        build(modalities=of("pr", "b.nc"), **LATLON)


def test_the_old_climate_data_store(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """``expver`` 1 holds the final data, 5 the preliminary ones: each day is in one of the two."""
    values = factory.field(DAYS)
    path = write_latlon(data / "a.nc", DAYS, values, "tp", "mm/day", time="time")
    with xr.open_dataset(path) as dataset:
        loaded = dataset.load()
    is_final = loaded["time"].dt.month < 10
    final, preliminary = loaded["tp"].where(is_final), loaded["tp"].where(~is_final)
    both = xr.concat([preliminary, final], dim=pd.Index(np.array([5, 1], dtype="i4"), name="expver"))
    both.transpose("time", "expver", ...).to_dataset(name="tp").to_netcdf(data / "b.nc")
    np.testing.assert_allclose(read(build(modalities=of("tp", "b.nc"), **LATLON)), values, rtol=1e-6)
    assert "holds final and preliminary data (expver)" in logged.text


@pytest.mark.parametrize(
    ("begins", "message"),
    [
        (b"II*\x00", "is a GeoTIFF; give its name the ending .tif"),
        (b"PK\x03\x04", "is a zip archive, as the Climate Data Store sends them; unpack it"),
        (b"\x1f\x8b\x08", "is compressed by gzip; unpack it"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"\x0e\x03\x13\x01", "is HDF4"),
        (b"GRIB", "is GRIB; give its name the ending .grib"),
        (b"\x89HDF", "cannot be read as NetCDF: it is damaged or of another kind"),
    ],
)
def test_files_of_another_kind_are_not_called_damaged(data: Path, build: Build, begins: bytes, message: str) -> None:
    (data / "a.nc").write_bytes(begins + bytes(100))
    with pytest.raises(DataError, match=f"^a.nc {message}"):
        build(modalities=of("pr", "a.nc"), **LATLON)
