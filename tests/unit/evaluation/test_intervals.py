"""Predictive intervals: calibrated by validation dates alone, honest where days are exchangeable."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from watercli.evaluation.intervals import LEAST_DAYS, LEVELS, MEMBERS, across_folds, calibrate, judge, quantiles

CATCHMENTS, VALIDATION, TEST = 5, 730, 730


def flows(seed: int, days: int, *, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Return simulated and observed flow ``[C, days]``: errors grow with flow, and are skewed."""
    rng = np.random.default_rng(seed)
    simulated = rng.gamma(1.0, np.arange(1, CATCHMENTS + 1)[:, None], (CATCHMENTS, days))
    return simulated, simulated * rng.lognormal(0.1, spread, simulated.shape)


def observed(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("catchment", "time"), coords={"catchment": np.arange(len(values)),
                        "time": np.arange(values.shape[1])}, attrs={"units": "mm/day"})  # fmt: skip


ALL = np.ones(CATCHMENTS, dtype=bool)


def test_coverage_is_what_was_asked_for_where_days_are_exchangeable() -> None:
    validated, validation = flows(0, VALIDATION)
    simulated, truth = flows(1, TEST)
    found = judge(calibrate(validated, validation, simulated, ALL, never_negative=True), simulated, observed(truth))
    for level in LEVELS:
        # A binomial of 3,650 days, and an end that errs on the wide side.
        assert float(found["coverage"].sel(level=level).mean()) == pytest.approx(level, abs=0.035)
    assert (found["width"].diff("level") > 0).all()
    assert not found["pooled"].any()
    assert (found["crps"] < found["absolute_error"]).all()


def test_intervals_are_wider_where_more_flows() -> None:
    validated, validation = flows(0, VALIDATION)
    simulated, _ = flows(1, TEST)
    low, high = calibrate(validated, validation, simulated, ALL, never_negative=True).interval(0.9)
    order = np.argsort(simulated[0])
    width = (high - low)[0][order]
    assert width[-100:].mean() > 5 * width[:100].mean()
    assert (low >= 0).all()


def test_quantiles_are_those_of_split_conformal_prediction() -> None:
    errors = np.arange(1.0, 20.0)[::-1]  # 19 errors: 20 gaps of equal probability
    np.testing.assert_array_equal(quantiles(errors, np.array([0.05, 0.25, 0.75, 0.95])), [1, 5, 15, 19])
    # Too few errors for the level: the largest of them.
    np.testing.assert_array_equal(quantiles(np.arange(5.0), np.array([0.01, 0.99])), [0, 4])


def test_a_hidden_gauge_is_calibrated_by_others_and_its_flow_is_not_looked_at() -> None:
    validated, validation = flows(0, VALIDATION)
    simulated, _ = flows(1, TEST)
    usable = ALL.copy()
    usable[2] = False
    found = calibrate(validated, validation, simulated, usable, never_negative=True)
    altered = validation.copy()
    altered[2] = 1e6
    again = calibrate(validated, altered, simulated, usable, never_negative=True)
    np.testing.assert_array_equal(found.members, again.members)
    assert found.pooled.tolist() == [False, False, True, False, False]
    assert np.isfinite(found.members[2]).all()


def test_a_short_record_is_pooled() -> None:
    validated, validation = flows(0, VALIDATION)
    validation[1, LEAST_DAYS * 2 :] = np.nan
    simulated, _ = flows(1, TEST)
    found = calibrate(validated, validation, simulated, ALL, never_negative=True)
    assert found.pooled.tolist() == [False, True, False, False, False]


def test_test_flow_decides_nothing_and_missing_days_are_not_scored() -> None:
    validated, validation = flows(0, VALIDATION)
    simulated, truth = flows(1, TEST)
    simulated[0, :5] = np.nan
    truth[1] = np.nan
    members = calibrate(validated, validation, simulated, ALL, never_negative=True)
    assert np.isnan(members.members[0, :5]).all()
    found = judge(members, simulated, observed(truth))
    assert np.isnan(found["coverage"].values[:, 1]).all()
    assert np.isnan(found["crps"].values[1])
    assert np.isfinite(found["coverage"].values[:, 0]).all()


def test_a_target_of_either_sign() -> None:
    rng = np.random.default_rng(3)
    validated, simulated = rng.normal(0, 5, (CATCHMENTS, VALIDATION)), rng.normal(0, 5, (CATCHMENTS, TEST))
    validation, truth = (one + rng.normal(0, 1, one.shape) for one in (validated, simulated))
    members = calibrate(validated, validation, simulated, ALL, never_negative=False)
    found = judge(members, simulated, observed(truth))
    assert float(found["coverage"].sel(level=0.9).mean()) == pytest.approx(0.9, abs=0.03)
    assert float(found["width"].sel(level=0.9).mean()) == pytest.approx(2 * 1.645, rel=0.1)
    # Of a Gaussian error of deviation 1: 1 / sqrt(pi), Gneiting and Raftery (2007).
    assert float(found["crps"].mean()) == pytest.approx(1 / np.sqrt(np.pi), rel=0.05)
    assert members.members.shape[-1] == len(MEMBERS)


def folds(changed: float = 1.0) -> list[xr.Dataset]:
    """Return five folds of five gauges; every gauge is wrong by a factor of its own. ``changed`` multiplies the
    observed validation flow of the first fold."""
    found = []
    for number in range(5):
        own = np.random.default_rng(number).lognormal(0, 0.4, (CATCHMENTS, 1))
        (validated, validation), (simulated, truth) = flows(10 + number, VALIDATION), flows(20 + number, TEST)
        days, names = ("catchment", "validation_time"), number * CATCHMENTS + np.arange(CATCHMENTS)
        found.append(
            xr.Dataset(
                {
                    "validated": (days, validated),
                    "validation": (days, validation * own * (changed if number == 0 else 1)),
                    "simulated": (("catchment", "time"), simulated),
                    "observed": (("catchment", "time"), truth * own, {"units": "mm/day"}),
                },
                coords={"catchment": names, "validation_time": np.arange(VALIDATION), "time": np.arange(TEST)},
            )
        )
    return found


def test_folds_are_calibrated_by_each_other() -> None:
    found = across_folds(folds())
    assert list(found["catchment"].values) == list(range(5 * CATCHMENTS))
    assert found["pooled"].all()
    # Wrong by a factor of their own at each, gauges are right together; 25 gauges tell the share within a tenth or so.
    for level in (0.5, 0.9):
        assert float(found["coverage"].sel(level=level).mean()) == pytest.approx(level, abs=0.1)
    # A fold's own validation flow has no say in its intervals, and has in those of the others.
    other = across_folds(folds(changed=3.0))
    first = found["catchment"].values < CATCHMENTS
    np.testing.assert_array_equal(found["upper"].values[:, first], other["upper"].values[:, first])
    assert (found["width"].sel(level=0.9).values[~first] < other["width"].sel(level=0.9).values[~first]).all()
