"""Forecasts by `watercli simulate`: which weather they have, what they must not see, and archives of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

from watercli.config import ForecastProduct, Simulate
from watercli.data.evidence import Network
from watercli.errors import ConfigError
from watercli.inference.append_simulation import append_simulation
from watercli.inference.dry_run import dry_run_simulation
from watercli.inference.forecast import latest_forecast
from watercli.inference.simulate import export_simulation, simulated_dataset
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.store import FORECAST_DIMS, SERIES_DIMS, Store

DAY, ISSUED = "2002-01-20", 750
"""A day of issue, and its position in the store."""
LEADS = 6
GIVEN = {"init_time": DAY, "lead_time": 4, "catchments": ("01001", "03003")}


@pytest.fixture(scope="module")
def informed(informed_run: Path) -> Checkpoint:
    return open_run(informed_run)


@pytest.fixture(scope="module")
def weather(tiny_store: Store) -> list[str]:
    """Return the series of weather."""
    return [name for name in tiny_store.config.of_kind("series") if name != "riverflow"]


@pytest.fixture(scope="module")
def with_product(tiny_store: Store, weather: list[str]) -> Store:
    """Return the store with perfect forecasts of its series, issued on every day of five weeks, but on one."""
    issues = np.setdiff1d(np.arange(ISSUED - 14, ISSUED + 21), [ISSUED - 4])
    days = issues[:, None] + np.arange(1, LEADS + 1)
    coords = {"init_time": tiny_store.times[issues], "lead_time": np.arange(1, LEADS + 1)}
    forecasts = {
        f"{name}_forecast": xr.DataArray(tiny_store.dataset[name].values[:, days], coords, FORECAST_DIMS)
        for name in weather
    }
    return _described(replace(tiny_store, dataset=tiny_store.dataset.assign(forecasts)), weather)


def _described(store: Store, weather: list[str]) -> Store:
    product = ForecastProduct(variable="rain", files=("*.nc",))
    modalities = {
        name: modality.model_copy(update={"forecast": product} if name in weather else {})
        for name, modality in store.config.modalities.items()
    }
    return replace(store, config=store.config.model_copy(update={"modalities": modalities}))


def changed(store: Store, values: Mapping[str, np.ndarray]) -> Store:
    return replace(
        store, dataset=store.dataset.assign({name: (store.dataset[name].dims, data) for name, data in values.items()})
    )


def simulated(checkpoint: Checkpoint, store: Store, **given: object) -> xr.Dataset:
    return simulated_dataset(checkpoint, store, Simulate.model_validate(given))


def test_the_latest_forecast_is_read_at_its_own_lead_times() -> None:
    issues = pd.to_datetime(["2001-01-01", "2001-01-03", "2001-01-04"])
    values = np.arange(3.0)[:, None] * 10 + np.arange(1, 4)
    values[2] = np.nan  # issued on that day, of another variable alone
    coords = {"init_time": issues, "lead_time": [1, 2, 3]}
    forecast = xr.DataArray(values[None], coords, FORECAST_DIMS)

    def on(day: str) -> list[float]:
        return np.nan_to_num(latest_forecast(forecast, pd.Timestamp(day), 3)[0], nan=-1).tolist()

    assert on("2001-01-01") == [1, 2, 3]
    assert on("2001-01-02") == [2, 3, -1]
    assert on("2001-01-04") == [12, 13, -1]
    assert on("2000-12-31") == on("2001-02-01") == [-1, -1, -1]


def test_no_later_weather_or_forecast_is_seen(informed: Checkpoint, with_product: Store, weather: list[str]) -> None:
    forecast = simulated(informed, with_product, **GIVEN)
    assert forecast.attrs["forecast_weather"] == "product"
    assert np.isfinite(forecast["riverflow"]).all()
    later, later_issues, this_issue = {}, {}, {}
    issued = with_product.forecasts[weather[0]].indexes["init_time"].searchsorted(DAY)
    for name in weather:
        observed = with_product.dataset[name].values.copy()
        observed[:, ISSUED + 1 :] = 30.0
        later[name] = observed
        for values, which in ((later_issues, slice(issued + 1, None)), (this_issue, slice(issued, issued + 1))):
            product = with_product.forecasts[name].values.copy()
            product[:, which] = 30.0
            values[f"{name}_forecast"] = product
    later["riverflow"] = with_product.dataset["riverflow"].values.copy()
    later["riverflow"][:, ISSUED + 1 :] = 30.0
    unseen = simulated(informed, changed(with_product, later | later_issues), **GIVEN)
    for name in ("riverflow", "riverflow_quantile"):
        np.testing.assert_array_equal(unseen[name].values, forecast[name].values)
    seen = simulated(informed, changed(with_product, this_issue), **GIVEN)
    assert not np.allclose(seen["riverflow"], forecast["riverflow"])


def test_what_a_product_lacks_is_missing_and_counted(
    informed: Checkpoint, with_product: Store, weather: list[str]
) -> None:
    forecast = simulated(informed, with_product, **GIVEN | {"init_time": "2002-01-16", "lead_time": 7})
    available = forecast["input_available"].sel(input=weather).values
    assert (available[:, :5] == 1).all()  # by the forecast of the day before, whose first day is past
    assert (available[:, 5:] == 0).all()
    grids = [name for name in forecast["input"].values if name not in weather]
    assert (forecast["input_available"].sel(input=grids) == 0).all()
    missing = json.loads(forecast.attrs["forecast_weather_missing"])
    assert missing == dict.fromkeys(weather, 2 * 2) | dict.fromkeys(grids, 2 * 7)
    assert np.isfinite(forecast["riverflow"]).all()


def test_weather_may_be_observed_or_none(informed: Checkpoint, tiny_store: Store, with_product: Store) -> None:
    observed = simulated(informed, with_product, **GIVEN, forecast_weather="observed")
    assert observed.attrs["forecast_weather"] == "observed"
    default = simulated(informed, tiny_store, **GIVEN)
    np.testing.assert_array_equal(observed["riverflow"].values, default["riverflow"].values)
    none = simulated(informed, with_product, **GIVEN, forecast_weather="none")
    assert (none["input_available"] == 0).all()
    assert np.isfinite(none["riverflow"]).all()
    assert not np.allclose(none["riverflow"], observed["riverflow"])
    with pytest.raises(ConfigError, match="holds no forecast product of an input of the model"):
        simulated(informed, tiny_store, **GIVEN, forecast_weather="product")


def test_a_forecast_goes_on_after_the_store_ends(informed: Checkpoint, with_product: Store) -> None:
    last = f"{with_product.times[-1]:%Y-%m-%d}"
    given = GIVEN | {"init_time": last}
    short = replace(with_product, dataset=with_product.dataset.isel(time=slice(ISSUED + 1)))
    forecast = simulated(informed, short, **GIVEN)
    assert len(forecast["time"]) == 4
    np.testing.assert_allclose(
        forecast["riverflow"], simulated(informed, with_product, **GIVEN)["riverflow"], rtol=1e-5
    )
    with pytest.raises(ConfigError, match=r"holds no weather after simulate\.init_time"):
        simulated(informed, with_product, **given, forecast_weather="observed")


@pytest.mark.parametrize("weather_from", ["product", "observed"])
def test_an_archive_holds_the_forecasts_of_each_day(
    informed: Checkpoint, with_product: Store, weather_from: str
) -> None:
    given = GIVEN | {"forecast_weather": weather_from}
    archive = simulated(informed, with_product, **given | {"init_time": "2002-01-14..2002-01-21", "stride": 6})
    assert archive["riverflow"].dims == FORECAST_DIMS
    assert archive["riverflow_quantile"].dims == (*FORECAST_DIMS, "quantile")
    for day in ("2002-01-14", DAY):
        single = simulated(informed, with_product, **given | {"init_time": day})
        of_day = archive.sel(init_time=day)
        assert (of_day["valid_time"].values == single["time"].values).all()
        for name in ("riverflow", "riverflow_quantile", "own_days_used", "input_available"):
            np.testing.assert_allclose(of_day[name].values, single[name].values, rtol=2e-4, atol=1e-5)


def test_an_archive_reads_the_donors_that_are_known_on_each_day(
    informed: Checkpoint, with_product: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only donor is another one on the second day of issue, as flow of the nearest gauge begins between them."""
    monkeypatch.setattr("watercli.data.evidence.CANDIDATES", 1)
    gauge = with_product.gauge_ids.index("01001")
    nearest = int(np.argsort(Network.of(with_product).km[gauge])[1])
    flow = with_product.dataset["riverflow"].values.copy()
    flow[nearest, : ISSUED - 3] = np.nan
    store = replace(with_product, dataset=with_product.dataset.assign(riverflow=(SERIES_DIMS, flow)))
    given = GIVEN | {"catchments": ("01001",)}
    archive = simulated(informed, store, **given | {"init_time": "2002-01-14..2002-01-21", "stride": 6})
    for day in ("2002-01-14", DAY):
        single = simulated(informed, store, **given | {"init_time": day})
        assert (single["neighbours_used"] == 1).any()
        np.testing.assert_allclose(archive["riverflow"].sel(init_time=day), single["riverflow"], rtol=2e-4)


def test_an_archive_is_written_and_scored(informed: Checkpoint, with_product: Store, tmp_path: Path) -> None:
    settings = Simulate.model_validate(GIVEN | {"init_time": "2002-01-12..2002-01-21", "weather_only": True})
    out = export_simulation(informed, with_product, tmp_path / "archive.nc", settings)
    with xr.open_dataset(out) as archive:
        assert dict(archive["riverflow"].sizes) == {"catchment": 2, "init_time": 10, "lead_time": 4}
        observed = with_product.dataset["riverflow"].sel(time=archive["valid_time"], catchment=archive["catchment"])
        error = abs(archive["riverflow"] - observed).mean("init_time")
        assert error.dims == ("catchment", "lead_time")
        assert np.isfinite(error).all()
    with pytest.raises(ConfigError, match=r"write \.nc or a Zarr store"):
        export_simulation(informed, with_product, tmp_path / "archive.csv", settings)


def test_an_archive_is_previewed_and_not_extended(informed: Checkpoint, with_product: Store, tmp_path: Path) -> None:
    settings = Simulate.model_validate(GIVEN | {"init_time": "2002-01-14..2002-01-16"})
    console = Console(record=True, width=118)
    dry_run_simulation(informed, with_product, tmp_path / "archive.zarr", settings, console)
    assert "3 dates from 2002-01-14 to 2002-01-16" in console.export_text()
    out = export_simulation(informed, with_product, tmp_path / "archive.zarr", settings)
    with pytest.raises(ConfigError, match=r"forecast from 2002-01-14\.\.2002-01-16, which is not extended"):
        append_simulation(informed, with_product, out)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"init_time": "2002-01-20..2002-01-01"}, "first and the last"),
        ({"init_time": "20.1.2002"}, "no date; write it as 2014-10-01"),
        ({"forecast_weather": "none"}, "give init_time too"),
    ],
)
def test_mistakes_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulate.model_validate(given)


def test_dims_of_series_and_forecasts_are_as_documented(with_product: Store, weather: list[str]) -> None:
    assert list(with_product.forecasts) == weather
    assert with_product.dataset[weather[0]].dims == SERIES_DIMS
