"""Scores: by definition, against hand-computed values, and never of what was not observed."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from watercli.hydrology.scores import METRICS, UNDECIDED, Sums, catchment_scores, compare, summarise

OBSERVED = np.array([1.0, 2.0, 4.0, 3.0])


def score(simulated: np.ndarray, observed: np.ndarray = OBSERVED) -> dict[str, float]:
    """Score one method in one catchment."""
    found = catchment_scores(
        xr.DataArray(simulated[None, None], dims=("method", "catchment", "time")),
        xr.DataArray(observed[None], dims=("catchment", "time")),
    )
    return {name: float(found.sel(metric=name).squeeze()) for name in METRICS}


def test_perfect_simulation() -> None:
    found = score(OBSERVED.copy())
    assert found["nse"] == pytest.approx(1)
    assert found["kge"] == pytest.approx(1)
    assert found["rmse"] == found["bias"] == 0


def test_observed_mean_has_nse_zero_and_no_correlation() -> None:
    found = score(np.full(4, OBSERVED.mean()))
    assert found["nse"] == pytest.approx(0)
    assert np.isnan(found["r"])
    assert np.isnan(found["kge"])


def test_hand_computed() -> None:
    """Observed 1 2 4 3 (mean 2.5, sum of squares 5), simulated 2 2 3 5 (mean 3, sum of squares 6)."""
    found = score(np.array([2.0, 2.0, 3.0, 5.0]))
    # Errors 1 0 -1 2; products of deviations: 1.5 + 0.5 + 0 + 1 = 3.
    r, alpha, beta = 3 / np.sqrt(5 * 6), np.sqrt(6 / 5), 3 / 2.5
    assert found["nse"] == pytest.approx(1 - 6 / 5)
    assert found["r"] == pytest.approx(r)
    assert found["alpha"] == pytest.approx(alpha)
    assert found["beta"] == pytest.approx(beta)
    assert found["kge"] == pytest.approx(1 - np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2 + (beta - 1) ** 2))
    assert found["rmse"] == pytest.approx(np.sqrt(6 / 4))
    assert found["bias"] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, -1e6, 1e6, np.nan])
def test_days_without_observation_are_never_scored(value: float) -> None:
    observed = np.array([1.0, 2.0, np.nan, 4.0, 3.0])
    simulated = np.array([2.0, 2.0, value, 3.0, 5.0])
    found, expected = score(simulated, observed), score(np.delete(simulated, 2), np.delete(observed, 2))
    # Peaks know that a day is missing between its neighbours.
    for name in set(METRICS) - {"peak_timing", "missed_peaks"}:
        assert found[name] == pytest.approx(expected[name], nan_ok=True), name


def test_methods_on_different_days_are_refused() -> None:
    observed = xr.DataArray(OBSERVED[None], dims=("catchment", "time"))
    simulated = xr.DataArray(np.stack([OBSERVED, OBSERVED])[:, None].copy(), dims=("method", "catchment", "time"))
    simulated[1, 0, 2] = np.nan
    with pytest.raises(AssertionError, match="different days"):
        catchment_scores(simulated, observed)


def test_sums_merge_exactly() -> None:
    rng = np.random.default_rng(0)
    # Multiples of 1/8, so that no order of adding rounds.
    predicted, observed = rng.integers(-80, 80, size=(2, 100)) / 8
    scored = rng.random(100) < 0.7
    parts = [Sums.of(predicted[some], observed[some], scored[some]) for some in (slice(0, 31), slice(31, 100))]
    whole = Sums.of(predicted, observed, scored)
    assert parts[0] + parts[1] == whole
    error = (predicted - observed)[scored]
    assert whole.count == scored.sum()
    assert whole.rmse == pytest.approx(np.sqrt((error**2).mean()))
    assert whole.mae == pytest.approx(np.abs(error).mean())
    assert whole.bias == pytest.approx(error.mean())


def test_sums_do_not_look_at_what_is_not_scored() -> None:
    values, scored = np.array([1.0, np.nan, 3.0]), np.array([True, False, True])
    assert Sums.of(values, np.zeros(3), scored) == Sums.of(values[[0, 2]], np.zeros(2), np.ones(2, dtype=bool))


def test_skill() -> None:
    reference = Sums(2, 0, 4, 8.0)
    assert reference.skill(reference) == 0
    assert Sums(2, 0, 0, 0.0).skill(reference) == 1
    assert Sums(2, 0, 2, 2.0).skill(reference) == 0.75


def test_summary_leaves_out_and_counts() -> None:
    found = summarise(np.array([0.1, 0.5, np.nan, 0.9]), seed=0)
    assert (found.median, found.count) == (0.5, 3)
    assert found.p25 == pytest.approx(0.3)
    assert found.low <= found.median <= found.high
    assert found == summarise(np.array([0.1, 0.5, np.nan, 0.9]), seed=0)
    assert summarise(np.array([np.nan]), seed=0).count == 0


@pytest.mark.parametrize(("shift", "verdict"), [(0.2, "beats"), (-0.2, "loses to"), (0.0, UNDECIDED)])
def test_comparison_is_paired(shift: float, verdict: str) -> None:
    rng = np.random.default_rng(1)
    other = rng.normal(size=40)
    jitter = np.concatenate([np.full(20, 0.01), np.full(20, -0.01)])
    found = compare(other + shift + jitter, other, seed=0)
    assert found.verdict == verdict
    assert found.count == 40


def test_signed_rank_test_by_hand() -> None:
    """Four positive differences of unequal size: 2 of the 2^4 equally likely assignments of signs are as one-sided."""
    assert compare(np.array([1.1, 1.2, 1.3, 1.4]), np.ones(4), seed=0).p_value == pytest.approx(2 / 16)
    assert compare(np.ones(4), np.ones(4), seed=0).p_value == 1
    nothing = compare(np.array([np.nan]), np.ones(1), seed=0)
    assert np.isnan(nothing.p_value)
    assert nothing.count == 0


@pytest.mark.filterwarnings("error")
def test_a_flow_that_never_changes_has_no_efficiency() -> None:
    """Single precision varies by itself: 0.3 is not the mean of many 0.3."""
    rng = np.random.default_rng(1)
    observed = np.stack([rng.gamma(1.0, 1.0, 400), np.full(400, np.float32(0.3)), np.zeros(400)])
    observed[1, ::2] *= 1 + 1e-7
    simulated = (observed + rng.normal(0, 0.1, observed.shape))[None]
    dims = ("method", "catchment", "time")
    scores = catchment_scores(xr.DataArray(simulated, dims=dims), xr.DataArray(observed, dims=dims[1:]))
    for metric in ("nse", "kge", "r", "alpha", "kge_2012"):
        found = scores.sel(metric=metric).values[0]
        assert np.isfinite(found[0])
        assert np.isnan(found[1:]).all(), metric
    assert np.isfinite(scores.sel(metric="rmse").values).all()


@pytest.mark.parametrize("number", [1, 2])
def test_too_few_catchments_have_no_interval_and_no_verdict(number: int) -> None:
    first, second = np.array([0.9, 0.8])[:number], np.array([0.1, np.nan, 0.2])[[0, 2]][:number]
    found = compare(first, second, 0)
    assert found.better == found.count == number
    assert found.verdict == "cannot be compared with"
    assert np.isnan([found.difference.low, found.difference.high, found.p_value]).all()
    assert np.isfinite(found.difference.median)
    assert summarise(np.array([0.5, 0.6, np.nan]), 0).count == 2
    assert np.isfinite(summarise(np.array([0.5, 0.6, 0.7]), 0).low)
