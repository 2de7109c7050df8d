"""The protocol ``forecast`` on a store with a forecast product."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from watercli.baselines.cache import Cache
from watercli.config import ForecastProduct, Simulate, with_overrides
from watercli.data.grid_cache import KNOWN_DAYS
from watercli.evaluation.forecast import MOST_FORECASTS, Forecast, days_of_issue, judge_forecasts
from watercli.evaluation.protocol import make_context
from watercli.evaluation.report.figures import forecast_skill
from watercli.evaluation.report.formatting import DASH
from watercli.evaluation.results import forecast_rows
from watercli.inference.simulate import simulated_dataset
from watercli.run.directory import open_run
from watercli.store import FORECAST, FORECAST_DIMS, Store

LEADS = 4
Judge = Callable[..., tuple[Forecast, list[str]]]


def with_product(store: Store, leads: int = LEADS, **values: np.ndarray) -> Store:
    """Return the store with forecasts of its series of weather, ``[C, D, L]``: perfect ones unless they are given."""
    weather = [name for name in store.config.of_kind("series") if name != "riverflow"]
    issues = np.arange(len(store.times) - leads)
    days = issues[:, None] + np.arange(1, leads + 1)
    coords = {"init_time": store.times[issues], "lead_time": np.arange(1, leads + 1)}
    forecasts = {
        f"{name}{FORECAST}": xr.DataArray(values.get(name, store.dataset[name].values[:, days]), coords, FORECAST_DIMS)
        for name in weather
    }
    product = ForecastProduct(variable="rain", files=("*.nc",))
    modalities = {
        name: modality.model_copy(update={"forecast": product} if name in weather else {})
        for name, modality in store.config.modalities.items()
    }
    config = store.config.model_copy(update={"modalities": modalities})
    return replace(store, dataset=store.dataset.assign(forecasts), config=config)


@pytest.fixture(scope="module")
def issued(tiny_store: Store) -> int:
    """Return the first day of issue: the first day of the test period."""
    return tiny_store.period("test").start


@pytest.fixture(scope="module")
def judge(recurrent_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    def judged(store: Store, stride: int = 80, run: Path = recurrent_run) -> tuple[Forecast, list[str]]:
        checkpoint = open_run(run)
        overrides = [f"evaluate.forecast_stride={stride}", f"evaluate.max_lead_time={LEADS}"]
        config, notes = with_overrides(checkpoint.config, overrides), []
        context = make_context(checkpoint, store, config, Cache(tmp_path_factory.mktemp("cache")))
        forecast = judge_forecasts(context, notes)
        assert forecast is not None
        return forecast, notes

    return judged


def of(forecast: Forecast, method: str) -> np.ndarray:
    """Return the forecasts of a method from the first day of issue, ``[L, C]``."""
    return forecast.data["forecast"].sel({"method": method}).values[..., 0]


@pytest.fixture(scope="module")
def perfect_store(tiny_store: Store, issued: int) -> Store:
    """Return the store with a perfect product of its series; a grid has none, and is known up to the day of issue."""
    grids = {
        name: tiny_store.dataset[name].assign_attrs({KNOWN_DAYS: issued + 1})
        for name in tiny_store.config.of_kind("grid")
    }
    return with_product(replace(tiny_store, dataset=tiny_store.dataset.assign(grids)))


@pytest.fixture(scope="module")
def perfect(judge: Judge, perfect_store: Store) -> Forecast:
    forecast, notes = judge(perfect_store)
    assert not notes
    return forecast


def test_a_perfect_product_forecasts_as_observed_weather_does(perfect: Forecast) -> None:
    np.testing.assert_allclose(of(perfect, "forecast_weather"), of(perfect, "known_weather"), rtol=1e-4, atol=1e-5)
    assert not np.allclose(of(perfect, "forecast_weather"), of(perfect, "unknown_weather"))
    assert list(perfect.medians())[:3] == ["known_weather", "forecast_weather", "unknown_weather"]


def test_forecasts_with_forecast_weather_see_no_later_observation(
    judge: Judge, perfect: Forecast, perfect_store: Store, issued: int
) -> None:
    later = {name: perfect_store.dataset[name].copy(deep=True) for name in perfect_store.config.of_kind("series")}
    for series in later.values():
        series[:, issued + 1 :] = 5.0
    unseen, _ = judge(replace(perfect_store, dataset=perfect_store.dataset.assign(later)))
    np.testing.assert_array_equal(of(unseen, "forecast_weather"), of(perfect, "forecast_weather"))
    assert not np.allclose(of(unseen, "known_weather"), of(perfect, "known_weather"))


def test_the_evidence_head_forecasts_what_simulate_writes_and_sees_no_later_flow(
    judge: Judge, informed_run: Path, tiny_store: Store, issued: int
) -> None:
    forecast, notes = judge(tiny_store, run=informed_run)
    assert not notes
    checkpoint, settings = open_run(informed_run), {"init_time": f"{tiny_store.times[issued]:%Y-%m-%d}"}
    written = simulated_dataset(checkpoint, tiny_store, Simulate.model_validate({**settings, "lead_time": LEADS}))
    gauges = forecast.data["catchment"].values
    np.testing.assert_allclose(
        of(forecast, "forecast_evidence"), written["riverflow"].sel(catchment=gauges).values.T, rtol=1e-4, atol=1e-5
    )
    assert not np.allclose(of(forecast, "forecast_evidence"), of(forecast, "simulation"))
    later = tiny_store.dataset["riverflow"].copy(deep=True)
    later[:, issued + 1 :] = 5.0
    unseen, _ = judge(replace(tiny_store, dataset=tiny_store.dataset.assign(riverflow=later)), run=informed_run)
    np.testing.assert_array_equal(of(unseen, "forecast_evidence"), of(forecast, "forecast_evidence"))


def test_all_are_scored_where_the_product_has_values(judge: Judge, tiny_store: Store, issued: int) -> None:
    """Of two days ahead, and of fewer days of issue than the test period has; beyond two days the others are scored."""
    store = with_product(tiny_store, leads=2)
    dataset = store.dataset.isel(init_time=slice(issued + 19))
    forecast, (note,) = judge(replace(store, dataset=dataset), stride=10)
    scored = forecast.data["scored"]
    assert scored.sel(lead_time=[1, 2]).isel(init_time=slice(2, None)).sum() == 0
    assert scored.sel(lead_time=[1, 2]).isel(init_time=slice(2)).any("catchment").all()
    assert scored.sel(lead_time=3).any("catchment").all()
    assert f"from the 2 of {scored.sizes['init_time']} days of issue" in note
    medians = forecast.medians()
    assert np.isnan(medians["forecast_weather"][2:]).all()
    assert np.isfinite(medians["known_weather"][2:]).all()
    assert re.search(rf"with forecast weather [^ ]+ to {DASH}", forecast_skill(forecast).body)
    assert {row["lead_time"] for row in forecast_rows(forecast) if row["method"] == "forecast_weather"} <= {1, 2}


def test_a_product_of_other_days_adds_no_row(judge: Judge, tiny_store: Store) -> None:
    store = with_product(tiny_store)
    forecast, (note,) = judge(replace(store, dataset=store.dataset.isel(init_time=slice(100))))
    assert "has no test day" in note
    assert "forecast_weather" not in forecast.medians()
    assert forecast.catchments


def test_a_long_period_has_no_more_forecasts_than_a_short_one() -> None:
    assert days_of_issue(10, 20).tolist() == [10, 13, 16, 19]
    assert days_of_issue(10, 20, 6).tolist() == [10, 16]
    for days in (3 * MOST_FORECASTS + 1, 3285, 10_000):
        assert MOST_FORECASTS * 0.75 < len(days_of_issue(365, 365 + days)) <= MOST_FORECASTS
    assert len(days_of_issue(0, 3285, 3)) == 1095
