"""Scores of the hydrograph and flow signatures: against NeuralHydrology's values, and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.unit.evaluation.rivers import River, river
from watercli.hydrology import hydrograph
from watercli.hydrology.scores import METRICS, catchment_scores
from watercli.hydrology.signatures import SIGNATURES, baseflow_index, signatures

# NeuralHydrology 1.13.0 on the series of `river`: neuralhydrology.evaluation.metrics and .signatures.
SCORES = {
    "nse": 0.3806450718115777,
    "kge": 0.5988663975733874,
    "r": 0.6450628941890362,
    "alpha": 0.8224508883006226,
    "beta": 1.058344929934403,
    "rmse": 1.388236920096626,
    "fhv": -17.158227998762175,
    "fms": -20.798584879970093,
    "flv": 8.831814836560122,
    "peak_timing": 1.0,
    "missed_peaks": 0.7,
}
OF_OBSERVED = {
    "mean_flow": 1.9108448471121176,
    "q5": 0.515,
    "q95": 5.695499999999999,
    "slope_fdc": 2.0131672259159017,
    "runoff_ratio": 0.866530560080278,
    "baseflow_index": 0.4281354682268121,
    "high_flow_duration": 2.0,
    "low_flow_duration": 2.8,
    "half_flow_date": 193.5,
}
OF_SIMULATED = {
    "mean_flow": 2.0223329558323897,
    "q5": 0.6890999999999999,
    "q95": 4.935599999999999,
    "slope_fdc": 1.6333227191266013,
    "runoff_ratio": 0.9170882248941807,
    "baseflow_index": 0.49078352212742526,
    "high_flow_duration": np.nan,
    "low_flow_duration": 1.75,
    "half_flow_date": 191.0,
}


@pytest.fixture(scope="module")
def made() -> River:
    return river()


def test_scores_are_those_of_neuralhydrology(made: River) -> None:
    found = catchment_scores(
        xr.DataArray(made.simulated[None, None], dims=("method", "catchment", "time")),
        xr.DataArray(made.observed[None], dims=("catchment", "time")),
    ).squeeze()
    assert list(found["metric"].values) == list(METRICS)
    for name, expected in SCORES.items():
        assert float(found.sel(metric=name)) == pytest.approx(expected, rel=2e-6), name


@pytest.mark.parametrize("expected", [OF_OBSERVED, OF_SIMULATED], ids=["observed", "simulated"])
def test_signatures_are_those_of_neuralhydrology(made: River, expected: dict[str, float]) -> None:
    flow = made.observed if expected is OF_OBSERVED else made.simulated_where_observed
    found = signatures(flow, made.times, made.rain)
    assert set(found) == set(SIGNATURES)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-7, nan_ok=True), name


def test_modified_kge_by_definition(made: River) -> None:
    simulated, observed, _ = hydrograph.both(made.simulated, made.observed)
    found = catchment_scores(
        xr.DataArray(made.simulated[None, None], dims=("method", "catchment", "time")),
        xr.DataArray(made.observed[None], dims=("catchment", "time")),
    ).squeeze()
    gamma = (simulated.std() / simulated.mean()) / (observed.std() / observed.mean())
    parts = np.corrcoef(simulated, observed)[0, 1], gamma, simulated.mean() / observed.mean()
    assert float(found.sel(metric="gamma")) == pytest.approx(gamma)
    assert float(found.sel(metric="kge_2012")) == pytest.approx(1 - np.sqrt(sum((one - 1) ** 2 for one in parts)))


def test_log_nse_by_hand() -> None:
    observed = np.array([1.0, 3.0, np.nan, 2.0])
    simulated = np.array([2.0, 0.0, 9.0, 2.0])
    o, s = np.log(np.array([1.0, 3.0, 2.0]) + 0.02), np.log(np.array([2.0, 0.0, 2.0]) + 0.02)
    expected = 1 - ((s - o) ** 2).sum() / ((o - o.mean()) ** 2).sum()
    assert hydrograph.log_nse(simulated, observed) == pytest.approx(expected)
    assert hydrograph.log_nse(observed, observed) == 1


def spikes(*days: int, length: int = 400) -> np.ndarray:
    flow = np.ones(length)
    flow[list(days)] = 10
    return flow


def test_peaks_by_hand() -> None:
    observed = spikes(50, 170, 300)
    # On the day; two days late; a day early.
    simulated = spikes(50, 172, 299)
    assert hydrograph.peak_timing(simulated, observed) == pytest.approx((0 + 2 + 1) / 3)
    assert hydrograph.missed_peaks(simulated, observed) == pytest.approx(1 / 3)
    assert hydrograph.missed_peaks(observed, observed) == 0


def test_peaks_beside_a_gap_are_left_out() -> None:
    observed = spikes(50, 300)
    simulated = spikes(50, 302)
    observed[301] = np.nan
    assert hydrograph.peak_timing(simulated, observed) == 0


def test_nothing_observed_is_no_score() -> None:
    nothing = np.full(50, np.nan)
    for score in hydrograph.SCORES.values():
        assert np.isnan(score(np.ones(50), nothing))
    times = pd.date_range("2000-01-01", periods=50)
    assert all(np.isnan(value) for value in signatures(nothing, times).values())


def test_frequencies_are_days_of_a_year() -> None:
    times = pd.date_range("2001-10-01", "2003-09-30")
    flow = np.ones(len(times))
    flow[[10, 11, 12, 400]] = 20.0
    flow[[100, 101, 500]] = 0.01
    flow[600:610] = np.nan
    found = signatures(flow, times)
    assert found["high_flow_days"] == pytest.approx(365.25 * 4 / 720)
    assert found["high_flow_duration"] == 2
    assert found["low_flow_days"] == pytest.approx(365.25 * 3 / 720)
    assert found["low_flow_duration"] == 1.5
    assert np.isnan(found["runoff_ratio"])


def test_half_flow_date_wants_a_whole_water_year() -> None:
    times = pd.date_range("2001-10-01", "2003-03-31")
    flow = np.ones(len(times))
    # 365 equal days: the 183rd, 182 days after 1 October, takes the sum beyond a half; the half year after is no year.
    assert signatures(flow, times)["half_flow_date"] == 182
    assert np.isnan(signatures(flow[:300], times[:300])["half_flow_date"])


def test_a_steady_river_has_more_base_flow_than_a_flashy_one() -> None:
    # The filter takes the first day for quick flow, which fades in the months after.
    assert baseflow_index(np.full(4000, 3.0)) > 0.95
    assert baseflow_index(spikes(*range(20, 4000, 40), length=4000)) < 0.9
    assert np.isnan(baseflow_index(np.full(30, 3.0)))
