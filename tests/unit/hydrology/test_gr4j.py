from __future__ import annotations

import hydrogr
import numpy as np
import pandas as pd
import pytest

from watercli.hydrology.gr4j import Parameters, gr4j, production

SETS = np.array([[350.0, 0.0, 90.0, 1.7], [120.0, -4.0, 25.0, 1.1], [1200.0, 2.5, 290.0, 2.9], [300.0, 0.5, 60.0, 0.6]])


@pytest.fixture(scope="module")
def weather() -> tuple[np.ndarray, np.ndarray, pd.DatetimeIndex]:
    rng = np.random.default_rng(3)
    times = pd.date_range("2001-01-01", periods=1200, freq="D")
    rain = np.where(rng.random(1200) < 0.5, rng.gamma(0.7, 8.0, 1200), 0.0)
    pet = 1.8 + 1.6 * np.cos(2 * np.pi * (times.dayofyear.to_numpy() - 190) / 365.25)
    return rain, pet, times


def run(weather: tuple[np.ndarray, np.ndarray, pd.DatetimeIndex]) -> tuple[np.ndarray, np.ndarray]:
    rain, pet, _ = weather
    series = [np.repeat(values[:, None], len(SETS), axis=1) for values in (rain, pet)]
    return gr4j(*series, Parameters(*SETS.T))


def test_flow_is_that_of_hydrogr(weather: tuple[np.ndarray, np.ndarray, pd.DatetimeIndex]) -> None:
    flow, level = run(weather)
    rain, pet, times = weather
    inputs = pd.DataFrame({"precipitation": rain, "evapotranspiration": pet}, index=times)
    for column, parameters in enumerate(SETS):
        model = hydrogr.ModelGr4j(dict(zip(("X1", "X2", "X3", "X4"), map(float, parameters), strict=True)))
        expected = model.run(inputs)["flow"].to_numpy()
        np.testing.assert_allclose(flow[:, column], expected, rtol=1e-6, atol=1e-9)
        assert level[-1, column] == pytest.approx(model.get_states()["production_store"], rel=1e-6)


def test_production_store_balances_water(weather: tuple[np.ndarray, np.ndarray, pd.DatetimeIndex]) -> None:
    rain, pet, _ = weather
    capacity = np.array([350.0])
    effective, level = production(rain[:, None], pet[:, None], capacity, fill=0.4)
    stored = (level[-1] - 0.4) * capacity
    evaporated = rain.sum() - effective.sum() - stored
    assert 0 < evaporated < pet.sum()
    assert (effective >= 0).all()
    assert ((level > 0) & (level < 1)).all()


def test_without_evaporation_and_exchange_all_rain_leaves_as_flow() -> None:
    rain = np.zeros((20_000, 1))
    rain[:100] = 10.0
    parameters = Parameters(*(np.array([value]) for value in (100.0, 0.0, 50.0, 2.3)))
    flow, level = gr4j(rain, np.zeros_like(rain), parameters, fill=(0.0, 0.0))
    left = level[-1] * 100.0
    # What remains in the routing store after decades of recession is a few millimetres.
    assert flow.sum() + left == pytest.approx(1000.0, abs=8.0)
    assert flow.sum() + left < 1000.0
