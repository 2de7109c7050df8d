"""The observed British data, where they are; skipped, and said, where not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from watercli.config import load
from watercli.errors import DataError
from watercli.preparation.prepare import prepare
from watercli.store import Store


@pytest.fixture(scope="module")
def log_text() -> list[str]:
    return []


@pytest.fixture(scope="module")
def gb12(real_data: Path, tmp_path_factory: pytest.TempPathFactory, log_text: list[str]) -> Store:
    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log_text.append(record.getMessage())

    handler = Keep()
    logging.getLogger("watercli").addHandler(handler)
    store = prepare(load("gb12"), tmp_path_factory.mktemp("gb12") / "gb12.zarr", data=real_data)
    logging.getLogger("watercli").removeHandler(handler)
    return store


def test_gb12(gb12: Store, log_text: list[str]) -> None:
    assert len(gb12.gauge_ids) == 64
    assert gb12.gauge_ids[:2] == ["4003", "5003"]
    assert gb12.grid_shape == (112, 84)
    assert len(gb12.attribute_names) == 26
    first = gb12.dataset["precip"].isel(time=slice(0, 3379))
    assert first.isnull().all()  # noqa: PD003
    assert any("25029: 2,283 days" in line for line in log_text)
    np.testing.assert_allclose(gb12.patch_weight.sum(axis=1), 1, rtol=1e-6)


def test_grid_and_gauges_agree_on_place_and_day(gb12: Store, real_data: Path) -> None:
    """The rain of a catchment's patches is that of its own record: on the same day, not the day before or after."""
    data = gb12.dataset
    height, width = gb12.patch_size
    patches = data["precip"].sel(time=slice("2010", None)).coarsen(y=height, x=width).mean()
    patches = patches.values.reshape(len(patches), -1)
    correlations = {-1: [], 0: [], 1: []}  # type: dict[int, list[float]]
    for row, gauge in enumerate(gb12.gauge_ids):
        path = next((real_data / "camels_gb" / "timeseries").glob(f"*_{gauge}_*.csv"))
        record = pd.read_csv(path, index_col="date", parse_dates=True)["precipitation"]
        drained = gb12.patch_weight[row] > 0
        rain = patches[:, drained] @ gb12.patch_weight[row, drained]
        for lag, found in correlations.items():
            own = record.reindex(gb12.times[-len(rain) :] + pd.Timedelta(days=lag)).to_numpy()
            both = ~np.isnan(own + rain)
            found.append(float(np.corrcoef(own[both], rain[both])[0, 1]))
    assert np.median(correlations[0]) > 0.9
    assert min(correlations[0]) > 0.8
    assert max(correlations[-1] + correlations[1]) < 0.5


def test_published_monthly_files(real_data: Path, tmp_path: Path) -> None:
    """The monthly files as published hold what the merged, packed file holds."""
    period = ["recipe.period={start: 2014-10-01, end: 2015-09-30}"]
    splits = [
        "recipe.splits.train={start: 2014-10-01, end: 2015-05-31}",
        "recipe.splits.validation={start: 2015-06-01, end: 2015-07-31}",
        "recipe.splits.test={start: 2015-08-01, end: 2015-09-30}",
    ]
    source = "{reader: hadukgrid, variable: rainfall, files: FILES}"
    only = [
        "train.tasks={}",
        "recipe.catchments=null",
        "modalities={precip: {kind: grid, units: mm/day, source: " + source + "}}",
    ]
    found = []
    for name in ("12km/*.nc", "12km_monthly/rainfall*.nc"):
        chosen = [text.replace("FILES", f"'haduk_grid/{name}'") for text in only]
        store = prepare(load("gb12", period + splits + chosen), tmp_path / "month.zarr", data=real_data, overwrite=True)
        found.append(store.dataset["precip"].load())
    np.testing.assert_allclose(found[0], found[1], atol=0.0051)
    assert found[1].attrs["day"] == "09:00 to 09:00 1 day later"


@pytest.mark.slow
def test_dates_of_the_5_km_grid_do_not_meet_the_gauges(real_data: Path, tmp_path: Path) -> None:
    config = load("gb12", ["modalities.precip.source.files=haduk_grid/5km/*.nc"])
    with pytest.raises(DataError, match=r"'precip' \(2021-01-01 to 2022-12-31\) do not meet recipe.period"):
        prepare(config, tmp_path / "never.zarr", data=real_data)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_rivers(real_data: Path, tmp_path: Path) -> None:
    """Catchments of two countries: climate as CAMELS has it, HydroATLAS where Caravan knows the catchment."""
    gauges = ["2002", "39001", "01013500", "01022500"]
    text = [f"recipe.catchments.gauges={gauges}"]
    store = prepare(load("gb-us", text), tmp_path / "gb-us.zarr", data=real_data)
    assert sorted(store.gauge_ids) == sorted(gauges)
    static = store.dataset["static"].to_pandas()
    tables = [
        pd.read_csv(real_data / name, dtype={"gauge_id": str}).set_index("gauge_id")
        for name in ("camels_gb_long/CAMELS_GB_attributes.csv", "camels_us/camels_attributes.csv")
    ]
    columns = {"mean_precipitation": "p_mean", "low_precipitation_frequency": "low_prec_freq", "area": "area"}
    camels = pd.concat([tables[0], tables[1].rename(columns={"area_gages2": "area"})])
    for attribute, column in columns.items():
        np.testing.assert_allclose(static[attribute][gauges], camels[column][gauges].astype(float), rtol=0.05)
    np.testing.assert_allclose(static["snow"][gauges], camels["frac_snow"][gauges], atol=0.08)
    assert static["snow"]["01013500"] > 0.2 > static["snow"]["39001"]
    assert np.isfinite(static["forest"]["01022500"])
    assert np.isnan(static["forest"]["01013500"])
    observed = store.dataset[["srad", "pet", "riverflow"]].count("time").to_pandas()
    assert observed["srad"]["2002"] == 0 < observed["srad"]["01013500"]
    assert observed["pet"].min() > 8_000
    decade = store.dataset["riverflow"].sel(time=slice("1989-10-01", "1999-09-30"))
    assert decade.count("time").to_pandas()[gauges].gt(0).tolist() == [True, True, False, False]
