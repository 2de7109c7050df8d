"""Weather of catchments: boundaries, catchment means of a grid, potential evaporation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import CRS, Transformer
from scipy import sparse

from tests import factory
from watercli.errors import ConfigError, DataError
from watercli.preparation import geometry
from watercli.preparation.readers import derived
from watercli.store import Store

Build = Callable[..., Store]
EAST, NORTH = factory.X[0] - 5000, factory.Y[0] - 5000
"""South-western corner of the synthetic grid of 10 km cells."""


def square(column: float, row: float, cells: float = 1.0) -> shapely.Polygon:
    """Return a square of so many cells whose south-western corner lies so many cells from the grid's."""
    west, south = EAST + 10_000 * column, NORTH + 10_000 * row
    return shapely.box(west, south, west + 10_000 * cells, south + 10_000 * cells)


def write_boundaries(path: Path, gauges: list[Any], polygons: list[shapely.Geometry], crs: str = "EPSG:27700") -> None:
    table = geopandas.GeoDataFrame({"ID": gauges}, geometry=polygons, crs="EPSG:27700")
    table.to_crs(crs).to_file(path)


POLYGONS = [square(1, 1), square(3.5, 0, 1), square(0, 0, 4), square(2, 2, 4)]
BOUNDARIES = {"files": "basins.gpkg", "gauge_id": "ID"}
MEAN = {"kind": "series", "units": "mm/day", "source": {"reader": "grid_mean", "variable": "precip"}}


@pytest.mark.parametrize("name", ["basins.shp", "basins.gpkg", "basins.geojson"])
def test_patch_weights_are_shares_of_the_boundary(data: Path, build: Build, name: str) -> None:
    """The synthetic patches are 4 x 4 cells, whatever the format and CRS of the boundaries."""
    write_boundaries(data / name, list(factory.GAUGES), POLYGONS, "EPSG:4326" if "json" in name else "EPSG:27700")
    store = build(recipe__catchments__boundaries=BOUNDARIES | {"files": name})
    weights = store.patch_weight
    expected = np.zeros_like(weights)
    expected[0, 0], expected[1, :2], expected[2, 0] = 1, 0.5, 1
    expected[3, [0, 1, 3, 4]] = 0.25  # three patches along x
    np.testing.assert_allclose(weights, expected, atol=2e-3)
    assert "its boundary" in store.dataset["patch_weight"].attrs["long_name"]
    assert name in store.dataset.attrs["sources"]


def test_the_mean_over_a_boundary(data: Path, build: Build) -> None:
    write_boundaries(data / "basins.gpkg", list(factory.GAUGES), POLYGONS)
    store = build(recipe__catchments__boundaries=BOUNDARIES, modalities__precip_mean=MEAN)
    rain = store.dataset["precip"].values[:, :12, :9]
    mean = store.dataset["precip_mean"].values
    np.testing.assert_allclose(mean[0], rain[:, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(mean[1], rain[:, 0, 3:5].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(mean[2], rain[:, :4, :4].mean(axis=(1, 2)), rtol=1e-5)
    assert store.dataset["precip_mean"].attrs["derived"] == "mean of 'precip' over boundaries"
    assert store.dataset["precip_mean"].attrs["day"] == store.dataset["precip"].attrs["day"]


def test_the_mean_over_a_disc(build: Build) -> None:
    store = build(modalities__precip_mean=MEAN)
    mean, rain = store.dataset["precip_mean"].values, store.dataset["precip"].values
    gauge = store.dataset[["gauge_y", "gauge_x", "area"]].isel(catchment=2)
    y, x = store.dataset["y"].values, store.dataset["x"].values
    radius = 1000 * np.sqrt(float(gauge["area"]) / np.pi)
    share = geometry.disc(y, x, (float(gauge["gauge_y"]), float(gauge["gauge_x"])), (radius, radius))
    land = np.isfinite(rain[0]) & (share > 0)
    np.testing.assert_allclose(mean[2], (rain[:, land] * share[land]).sum(axis=1) / share[land].sum(), rtol=1e-4)
    with pytest.raises(ConfigError, match=r"precip_mean.source.variable is 'rain', which is no grid .* 'precip'|known"):
        build(modalities__precip_mean=MEAN | {"source": MEAN["source"] | {"variable": "rain"}})


def test_ids_that_are_numbers(data: Path, build: Build) -> None:
    """As the shapefile of CAMELS-US has them: hru_id 1013500 is gauge 01013500; two polygons are one catchment."""
    numbers = [int(gauge) for gauge in factory.GAUGES]
    write_boundaries(data / "basins.gpkg", [*numbers, numbers[0]], [*POLYGONS, square(8, 8)])
    with pytest.raises(DataError, match=r"2 gauges \(01001, 02002\) have no polygon in recipe.catchments.boundaries"):
        build(recipe__catchments__boundaries=BOUNDARIES)
    dropped = build(recipe__catchments__boundaries=BOUNDARIES, recipe__catchments__on_missing="drop")
    assert dropped.gauge_ids == ["10003", "20004"]
    padded = build(recipe__catchments__boundaries=BOUNDARIES | {"gauge_id_digits": 5})
    assert padded.gauge_ids == list(factory.GAUGES)


def test_boundaries_that_do_not_serve(data: Path, build: Build) -> None:
    write_boundaries(data / "basins.gpkg", list(factory.GAUGES), POLYGONS)
    with pytest.raises(DataError, match=r"basins.gpkg has no field 'gauge_id'; known: ID"):
        build(recipe__catchments__boundaries={"files": "basins.gpkg"})
    write_boundaries(data / "points.gpkg", list(factory.GAUGES), [one.centroid for one in POLYGONS])
    with pytest.raises(DataError, match=r"points.gpkg holds Point, not polygons"):
        build(recipe__catchments__boundaries=BOUNDARIES | {"files": "points.gpkg"})
    write_boundaries(data / "basins.shp", list(factory.GAUGES), POLYGONS)
    (data / "basins.prj").unlink()
    with pytest.raises(DataError, match=r"basins.shp does not say in which CRS it is"):
        build(recipe__catchments__boundaries=BOUNDARIES | {"files": "basins.shp"})
    (data / "basins.gpkg").write_bytes(b"SQLite format 3 torn")
    with pytest.raises(DataError, match=r"basins.gpkg cannot be read as boundaries"):
        build(recipe__catchments__boundaries=BOUNDARIES)
    write_boundaries(data / "far.gpkg", list(factory.GAUGES), [square(100 + i, 100) for i in range(4)])
    with pytest.raises(DataError, match=r"4 catchments .* lie outside the grid of 'precip'"):
        build(recipe__catchments__boundaries=BOUNDARIES | {"files": "far.gpkg"}, modalities__precip_mean=MEAN)


def around(gauge: str, data: Path, km: float = 1.0, share: float = 1.0) -> shapely.Polygon:
    """Return a square of ``share`` of the gauge's area around a point ``km`` to the east of it."""
    table = pd.read_csv(data / "attributes" / "topographic.csv", dtype={"gauge_id": str}).set_index("gauge_id")
    to_grid = Transformer.from_crs("EPSG:4326", "EPSG:27700", always_xy=True)
    east, north = to_grid.transform(*table.loc[gauge, ["gauge_lon", "gauge_lat"]])
    half = 500 * np.sqrt(share * table.loc[gauge, "area"])
    east += 1000 * km
    return shapely.box(east - half, north - half, east + half, north + half)


@pytest.mark.parametrize("crs", ["EPSG:27700", "EPSG:4326"])
def test_boundaries_that_contradict_the_table(
    data: Path, build: Build, logged: pytest.LogCaptureFixture, crs: str
) -> None:
    def prepared(**first: float) -> str:
        logged.clear()
        polygons = [around(gauge, data, **(first if gauge == "01001" else {})) for gauge in factory.GAUGES]
        write_boundaries(data / "basins.gpkg", list(factory.GAUGES), polygons, crs)
        build(recipe__catchments__boundaries=BOUNDARIES)
        return logged.text

    assert "contradict" not in prepared()
    assert "for 1 gauge (01001): the boundary of 01001 encloses 4 times the area" in prepared(share=4.0)
    assert "for 1 gauge (01001): the boundary of 01001 encloses 0.1 times the area" in prepared(share=0.1)
    text = prepared(km=60.0)
    assert re.search(r"for 1 gauge \(01001\): 01001 lies 5\d km from its boundary; are ids, latitude", text)
    assert "encloses" not in text


@pytest.mark.parametrize("bare", [None, shapely.Polygon(), shapely.Polygon([(0, 0), (1, 1), (2, 2), (0, 0)])])
def test_a_polygon_without_area_is_named(data: Path, build: Build, bare: shapely.Geometry | None) -> None:
    write_boundaries(data / "basins.gpkg", list(factory.GAUGES), [*POLYGONS[:3], bare])
    for changes in ({}, {"modalities__precip_mean": MEAN}):
        with pytest.raises(DataError, match=r"^1 gauge \(20004\) has an empty polygon, without area, in recipe.catch"):
            build(recipe__catchments__boundaries=BOUNDARIES, **changes)
    dropped = build(recipe__catchments__boundaries=BOUNDARIES, recipe__catchments__on_missing="drop")
    assert dropped.gauge_ids == list(factory.GAUGES[:3])


def test_a_disc_half_outside_the_grid_and_swapped_coordinates(
    data: Path, build: Build, logged: pytest.LogCaptureFixture
) -> None:
    path = data / "attributes" / "topographic.csv"
    table = pd.read_csv(path, dtype={"gauge_id": str}).set_index("gauge_id")
    edge = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True).transform(EAST, NORTH + 50_000)
    places = ["gauge_lon", "gauge_lat"]
    moved = table.copy()
    moved.loc["01001", places] = edge
    moved.to_csv(path)
    build(modalities__precip_mean=MEAN)
    assert "1 catchment (01001) lies partly outside the grid of 'precip' (01001: 51 % inside)" in logged.text
    table.rename(columns=dict(zip(places, places[::-1], strict=True))).to_csv(path)
    with pytest.raises(
        DataError, match=r"4 catchments .* outside the grid of 'precip'; with latitude and longitude swap"
    ):
        build(modalities__precip_mean=MEAN)
    table.assign(gauge_lon=-table["gauge_lon"]).to_csv(path)
    with pytest.raises(DataError, match=r"of 'precip'; with longitudes of the other sign they lie on it: west is neg"):
        build(modalities__precip_mean=MEAN)


def oudin(celsius: np.ndarray, latitude: float, times: pd.DatetimeIndex) -> np.ndarray:
    """Oudin et al. (2005): Re / (lambda rho) (T + 5) / 100, with Re by FAO-56 (Allen et al. 1998), equation 21."""
    day = times.dayofyear.to_numpy()
    declination = 0.409 * np.sin(2 * np.pi * day / 365 - 1.39)
    sunset = np.arccos(-np.tan(np.deg2rad(latitude)) * np.tan(declination))
    rad = np.deg2rad(latitude)
    angle = sunset * np.sin(rad) * np.sin(declination) + np.cos(rad) * np.cos(declination) * np.sin(sunset)
    radiation = 24 * 60 / np.pi * 0.082 * (1 + 0.033 * np.cos(2 * np.pi * day / 365)) * angle  # MJ m-2 day-1
    depth: np.ndarray = np.maximum(radiation / 2.45 * (celsius + 5) / 100, 0)
    return depth


def test_potential_evaporation_by_temperature(build: Build) -> None:
    source = {"reader": "camels_gb", "variable": "temperature", "files": "timeseries/*.csv"}
    temperature = {"kind": "series", "units": "K", "source": source}
    pet = {
        "kind": "series",
        "units": "mm/day",
        "source": {"reader": "pet", "variable": "oudin", "inputs": {"tmean": "t"}},
    }
    store = build(modalities__t=temperature, modalities__pet=pet)
    celsius = store.dataset["t"].sel(catchment="02002").values - 273.15
    latitude = float(store.dataset["latitude"].sel(catchment="02002"))
    found = store.dataset["pet"].sel(catchment="02002").values
    np.testing.assert_allclose(found, oudin(celsius, latitude, store.times), rtol=0.02, atol=0.02)
    assert store.dataset["pet"].attrs["derived"].startswith("potential evaporation by oudin (pyet 1.")
    for changes, message in (
        (
            {"variable": "penman"},
            r"pet.source.variable is 'penman', no method of potential evaporation; known: hamon, harg",
        ),
        ({"inputs": {"tmean": "T"}}, r"pet.source.inputs must name a series modality for 'tmean'"),
        ({"variable": "hargreaves"}, r"for 'tmax', as hargreaves needs tmean, tmax, tmin"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(modalities__t=temperature, modalities__pet=pet | {"source": pet["source"] | changes})


def test_temperature_of_a_grid_becomes_evaporation(data: Path, build: Build) -> None:
    """A grid, its mean over the catchments, and the evaporation of that mean, in one recipe; no other series."""
    times = factory.days()
    for name, shift in (("tasmin", 0.0), ("tasmax", 8.0)):
        factory.write_grid(
            data / "t" / f"{name}.nc", times, factory.field(times, 1) + shift, variable=name, units="degC"
        )
    series: dict[str, Any] = {
        one: {"kind": "series", "units": "degC", "source": {"reader": "grid_mean", "variable": f"g{one}"}}
        for one in ("tmean", "tmin", "tmax")
    }
    grids: dict[str, Any] = {
        f"g{one}": {
            "kind": "grid",
            "units": "degC",
            "source": {"reader": "hadukgrid", "variable": name, "files": "t/*.nc"},
        }
        for one, name in (("tmean", "tas"),)
    }
    for one in ("tmin", "tmax"):
        source = {"reader": "hadukgrid", "variable": f"tas{one[1:]}", "files": f"t/tas{one[1:]}.nc"}
        grids[f"g{one}"] = {"kind": "grid", "units": "degC", "source": source}
    of = {one: one for one in series}
    pet = {"kind": "series", "units": "mm/day", "source": {"reader": "pet", "variable": "hargreaves", "inputs": of}}
    store = build(modalities={"pet": pet, **series, **grids})
    assert store.gauge_ids == list(factory.GAUGES)
    summer = store.dataset["pet"].sel(time="2001-06").mean()
    winter = store.dataset["pet"].sel(time="2001-12").mean()
    assert 1.0 < float(summer) < 6.0
    assert 0.0 <= float(winter) < 0.5 * float(summer)


def test_shares_of_a_geographic_grid() -> None:
    """Shares of a polygon over cells in degrees add up to one where the grid holds all of it."""
    crs = CRS("EPSG:4326")
    y, x = 50 + 0.25 * np.arange(20), -3 + 0.25 * np.arange(20)
    west, south = Transformer.from_crs("EPSG:27700", crs, always_xy=True).transform(500_000, 200_000)
    gauges = pd.DataFrame({"gauge_y": [south], "gauge_x": [west], "area": [900.0]}, index=["1"])
    outlines = {"1": shapely.Point(west, south).buffer(0.4)}
    for shape in (None, outlines):
        weights = geometry.cell_shares(gauges, y, x, crs, shape)
        assert weights.sum() == pytest.approx(1)
        assert weights.nnz > 3


def test_half_of_the_land_of_a_catchment_must_be_observed() -> None:
    """Four cells, of which the last is sea; the sea has half of the second catchment's disc."""
    fields = np.array([[[1.0, 2, 3, np.nan]], [[np.nan, 2, 3, np.nan]], [[np.nan, np.nan, 3, np.nan]]])
    weights = sparse.csr_matrix(np.array([[0.4, 0.3, 0.3, 0], [0.0, 0.25, 0.25, 0.5]]))
    for days in (1, 3):
        means = derived._means(da.from_array(fields, chunks=(days, 1, 4)), weights)
        np.testing.assert_allclose(means[:, 0], [1.9, 2.5, np.nan], rtol=1e-6)
        np.testing.assert_allclose(means[:, 1], [2.5, 2.5, 3.0], rtol=1e-6)
