"""The store as a whole: contract, statistics, weights, atomic writing, errors of usage."""

from __future__ import annotations

import json
import re
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyproj import CRS

from tests import factory
from watercli.errors import ConfigError, DataError
from watercli.inspection.verify import verify
from watercli.output import zarr_files
from watercli.output.manifest import check_manifest
from watercli.preparation.prepare import prepare
from watercli.store import ROOT_ATTRIBUTES, STATISTICS, Store
from watercli.transforms import TRANSFORMS

Build = Callable[..., Store]


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(("data", "store.zarr")))


def test_plain_xarray_opens_it_without_a_warning(build: Build) -> None:
    path = build().path
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(path).load()
    assert all(name in dataset.attrs for name in ROOT_ATTRIBUTES)
    assert dataset["precip"].dims == ("time", "y", "x")
    assert dataset["precip"].dtype == np.float32
    assert dataset["riverflow"].dims == ("catchment", "time")
    assert dataset["time"].encoding["calendar"] == "standard"
    assert dataset["precip"].encoding["chunks"] == (10, 12, 12)
    assert dataset["precip"].encoding["shards"] == (360, 12, 12)
    assert CRS.from_cf(dataset["crs"].attrs) == CRS("EPSG:27700")
    assert dataset["precip"].attrs["grid_mapping"] == "crs"
    assert dataset["y"].attrs == {"axis": "Y", "standard_name": "projection_y_coordinate", "units": "m"}
    coordinates = "gauge_name latitude longitude area gauge_y gauge_x patch_y patch_x patch_land attribute_units"
    assert set(coordinates.split()) <= set(dataset.coords)
    assert dataset["statistics"].dims == ("variable", "transform", "statistic")
    assert list(dataset["variable"].values) == ["precip", "evap", "riverflow"]
    assert list(dataset["transform"].values) == list(TRANSFORMS)
    assert list(dataset["statistic"].values) == list(STATISTICS)


def test_padding_land_and_coverage(build: Build) -> None:
    data = build().dataset
    assert data.attrs["padding"] == [0, 3]
    np.testing.assert_allclose(np.diff(data["x"].values), 10_000)
    assert np.isnan(data["precip"].values[..., 9:]).all()
    assert data["land_fraction"].values.sum() == 12 * 7
    np.testing.assert_array_equal(data["coverage"].sel(grid="precip").values > 0, data["land_fraction"].values > 0)
    # Columns of patches: all land; 3 of 4 cells; padding and sea only.
    np.testing.assert_array_equal(data["patch_land"].values.reshape(3, 3), [[True, True, False]] * 3)
    strict = build(recipe__grid__land_threshold=0.8).dataset["patch_land"].values
    np.testing.assert_array_equal(strict.reshape(3, 3), [[True, False, False]] * 3)


def test_no_land_patch(build: Build) -> None:
    with pytest.raises(DataError, match=r"No patch of 12 x 12 cells is land by recipe.grid.land_threshold = 0.9"):
        build(recipe__grid__land_threshold=0.9, recipe__grid__patch_size=[12, 12])


def test_statistics_are_those_of_the_training_days(data: Path, build: Build) -> None:
    store = build()
    train = store.dataset.isel(time=store.period("train"))
    table = store.dataset["statistics"].load()
    for name in ("precip", "riverflow"):
        values = train[name].values.astype(np.float64)
        values = values[:, store.dataset["land_fraction"].values > 0] if name == "precip" else values
        for transform, functions in TRANSFORMS.items():
            seen = functions.forward(values[~np.isnan(values)])
            expected = [seen.mean(), seen.std(), seen.min(), seen.max(), seen.size, np.isnan(values).mean()]
            np.testing.assert_allclose(table.sel(variable=name, transform=transform), expected, rtol=1e-9, atol=1e-12)
    static = store.dataset["static_statistics"].sel(attribute="area").values
    logarithm = np.log(np.array([150.0, 300, 450, 600]) + 0.01)
    np.testing.assert_allclose(static[:4], [logarithm.mean(), logarithm.std(), logarithm.min(), logarithm.max()])

    for seed, gauge in enumerate(factory.GAUGES):
        frame = factory.flows(factory.days(), seed)
        frame.iloc[factory.TRAINING_DAYS :] += 50.0
        factory.write_gauge(data, gauge, frame)
    values = factory.field(factory.days())
    values[factory.TRAINING_DAYS :] *= 3
    factory.write_grid(data / "rainfall" / "rainfall.nc", factory.days(), values, packed=True)
    again = build()
    xr.testing.assert_identical(again.dataset["statistics"].load(), table)
    assert again.fingerprint != store.fingerprint
    assert float(again.dataset["riverflow"].max()) > 50


def test_constant_or_empty_modalities(data: Path, build: Build) -> None:
    for seed, gauge in enumerate(factory.GAUGES):
        frame = factory.flows(factory.days(), seed)
        frame.iloc[: factory.TRAINING_DAYS, frame.columns.get_loc("pet")] = 2.0
        factory.write_gauge(data, gauge, frame)
    with pytest.raises(DataError, match=r"'evap' is constant in the training period .*always 2"):
        build()
    for seed, gauge in enumerate(factory.GAUGES):
        frame = factory.flows(factory.days(), seed)
        frame.iloc[: factory.TRAINING_DAYS, frame.columns.get_loc("pet")] = np.nan
        factory.write_gauge(data, gauge, frame)
    with pytest.raises(DataError, match="'evap' has no value in the training period"):
        build()


def test_much_missing_is_counted_and_said(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    frame = factory.flows(factory.days(), 1)
    frame.iloc[:100, frame.columns.get_loc("pet")] = np.nan
    factory.write_gauge(data, "02002", frame)
    build()
    expected = "evap: 1 of 4 catchments lack more than 20 % of the 181 training days (02002: 100 days)"
    assert expected in logged.text


def test_patch_weights(build: Build) -> None:
    store = build()
    weights = store.patch_weight
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert (weights[:, ~store.dataset["patch_land"].values] == 0).all()
    assert weights[0].max() == pytest.approx(1)  # a disc of 7 km in the middle of a patch of 40 km


def test_a_gauge_off_land_and_one_off_the_grid(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    table = data / "attributes" / "topographic.csv"
    text = table.read_text().splitlines()
    _, name, lat, _, area = text[1].split(",")
    text[1] = ",".join(["01001", name, lat, "-0.75", area])  # two patches out at sea
    table.write_text("\n".join(text))
    store = build()
    assert "1 catchment (01001) meets no land patch; the nearest one is taken" in logged.text
    np.testing.assert_allclose(store.patch_weight.sum(axis=1), 1, rtol=1e-6)
    text[1] = ",".join(["01001", name, "40.0", "8.0", area])
    table.write_text("\n".join(text))
    with pytest.raises(DataError, match=r"1 gauge \(01001\) lies outside the grid's land"):
        build()


def test_series_alone_and_grids_alone(build: Build) -> None:
    series = factory.config().model_dump(mode="json")["modalities"]
    grid = {"precip": series.pop("precip")}
    alone = build(modalities=series)
    assert alone.grid_shape is None
    assert not {"y", "patch_weight", "land_fraction", "coverage"} & set(alone.dataset.variables)
    assert len(alone.land_patches) == 0
    bare = build(modalities=grid, recipe__catchments=None)
    assert bare.gauge_ids == []
    assert not {"catchment", "static", "patch_weight"} & set(bare.dataset.variables)
    both = build(modalities=grid)
    assert both.gauge_ids == list(factory.GAUGES)
    with pytest.raises(ConfigError, match=r"'evap' is a series, which needs recipe.catchments"):
        build(recipe__catchments=None)


def test_provenance_and_fingerprint(data: Path, build: Build) -> None:
    store = build()
    sources = json.loads(store.dataset.attrs["sources"])
    assert [record["name"] for record in sources][:3] == [
        "attributes/caravan.csv",
        "attributes/topographic.csv",
        "rainfall/rainfall.nc",
    ]
    assert len(sources) == 7
    assert all(len(record["sha256"]) == 64 and record["bytes"] > 0 for record in sources)
    assert str(data) not in json.dumps(store.dataset.attrs)
    assert build().fingerprint == store.fingerprint
    assert build(seed=3, train__steps=5).fingerprint == store.fingerprint
    assert build(recipe__grid__land_threshold=0.4).fingerprint != store.fingerprint
    factory.edit(data / "attributes" / "caravan.csv", "10.0", "10.1")
    assert build().fingerprint != store.fingerprint


def test_a_failed_overwrite_keeps_the_old_store(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build().fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(zarr_files, "finish", lambda store: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(recipe__grid__land_threshold=0.4)
    assert Store.open(tmp_path / "store.zarr").fingerprint == before
    assert build(recipe__grid__land_threshold=0.4).fingerprint != before
    assert left_over(tmp_path) == []


def test_what_exists_is_refused(data: Path, build: Build, tmp_path: Path) -> None:
    store = build()
    with pytest.raises(ConfigError, match=r"store.zarr exists; give another --out, or --overwrite"):
        prepare(factory.config(), store.path, data=data)
    document = tmp_path / "thesis"
    document.mkdir()
    (document / "chapter.txt").write_text("years of work")
    note = tmp_path / "note.txt"
    note.write_text("a file")
    for precious in (document, note):
        with pytest.raises(ConfigError, match="holds no store of watercli, and --overwrite replaces nothing else"):
            prepare(factory.config(), precious, data=data, overwrite=True)
    assert (document / "chapter.txt").exists()
    assert note.read_text() == "a file"


@pytest.mark.parametrize("lost", ["riverflow/c", "precip/c/0", "catchment/c", "riverflow", "time/zarr.json"])
def test_a_store_that_lost_files_is_not_opened(build: Build, lost: str) -> None:
    """Zarr reads what is absent as missing values, with which a model would train and score to NaN."""
    path = build().path
    (shutil.rmtree if (path / lost).is_dir() else Path.unlink)(path / lost)
    with pytest.raises(DataError, match=rf"{lost}.* of '{lost.partition('/')[0]}' is missing: .*copy the whole folder"):
        Store.open(path)


def test_metadata_and_the_manifest_are_protected(build: Build, logged: pytest.LogCaptureFixture) -> None:
    path = build().path
    for file in ("zarr.json", "riverflow/zarr.json", "manifest.json"):
        content = (path / file).read_bytes()
        for place in range(7, len(content), len(content) // 40):
            (path / file).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(DataError, match=re.escape(str(path / file))):
                Store.open(path)
        (path / file).write_bytes(content)
    Store.open(path)
    (path / "manifest.json").unlink()
    logged.clear()
    Store.open(path)
    assert "has no manifest.json" in logged.text


@pytest.mark.parametrize("array", ["precip", "riverflow", "gauge_name", "area"])
def test_a_flipped_bit_is_an_error_that_names_array_and_file(build: Build, array: str) -> None:
    path = build().path
    assert "all as they were written" in verify(path)
    file = min(file for file in (path / array / "c").rglob("*") if file.is_file())
    content = file.read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(DataError, match=re.escape(f"{file} of array '{array}'")):
            xr.open_zarr(path)[array].load()
    with pytest.raises(DataError, match=re.escape(f"{file} of array '{array}'")):
        verify(path)


def test_comparing_with_the_manifest_is_quick(build: Build) -> None:
    path = build().path
    started = time.perf_counter()
    check_manifest(path)
    assert time.perf_counter() - started < 0.05


def test_usage(data: Path, build: Build, tmp_path: Path) -> None:
    out = tmp_path / "other.zarr"
    with pytest.raises(ConfigError, match=r"modalities.precip.source.files needs files; .* --data DIR or set WATERCLI"):
        prepare(factory.config(), out, data=None)
    with pytest.raises(ConfigError, match=r"No data folder .*nowhere"):
        prepare(factory.config(), out, data=tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"No file matches 'rain/\*.nc' \(modalities.precip.source.files\) in the data fol"
    ):
        build(modalities__precip__source__files="rain/*.nc")
    with pytest.raises(ConfigError, match=r"No reader 'hadukgird' .*; did you mean 'hadukgrid'"):
        build(modalities__precip__source__reader="hadukgird")
    with pytest.raises(ConfigError, match=r"Reader 'camels_gb' .* yields no grid; use one of grid, hadukgrid, demo"):
        build(modalities__precip__source__reader="camels_gb")
    with pytest.raises(ConfigError, match=r"modalities.evap.source is missing"):
        build(modalities__evap__source=None)
    with pytest.raises(ConfigError, match=r"must be a pattern relative to the data folder"):
        build(modalities__precip__source__files="/somewhere/*.nc")
    with pytest.raises(ConfigError, match=r"has no recipe"):
        build(recipe=None)
    with pytest.raises(ConfigError, match=r"recipe.catchments.tables is empty"):
        build(recipe__catchments__tables=[])
    assert not out.exists()
    assert left_over(tmp_path) == []
