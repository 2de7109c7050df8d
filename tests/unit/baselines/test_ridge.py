"""Probes: what they learn, what they must never see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from watercli.baselines.ridge import Task, fit_all_gauges, fit_each_gauge
from watercli.transforms import TRANSFORMS, TransformName

TRAIN, VALIDATION, TEST = slice(0, 80), slice(80, 110), slice(110, 150)


@pytest.fixture
def features() -> np.ndarray:
    """Three catchments, 150 dates, five features."""
    return np.random.default_rng(0).normal(size=(3, 150, 5)).astype(np.float32)


@pytest.fixture
def task(features: np.ndarray) -> Task:
    """A target that is linear in the features, in its own way in each catchment."""
    target = np.einsum("cnf,cf->cn", features, np.random.default_rng(1).normal(size=(3, 5)))
    whole = np.ones(target.shape, dtype=bool)
    spaces = {"identity": TRANSFORMS["identity"]}
    return Task(target, whole, TRAIN, VALIDATION, TEST, whole[:, 0], spaces, -np.inf, (1e-3, 1.0, 1e4))


def test_a_gauged_probe_learns_each_catchment(features: np.ndarray, task: Task) -> None:
    found = fit_each_gauge(features, task)
    assert found.alpha == 1e-3
    assert found.validation_nse == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(found.simulated, task.physical[:, TEST], atol=0.02)


@pytest.mark.parametrize("space", ["log", "sqrt", "identity"])
def test_the_validation_dates_choose_the_space(features: np.ndarray, task: Task, space: TransformName) -> None:
    """Flow whose root, or logarithm, is linear in the features."""
    linear = 0.2 * task.physical + {"log": 0.0, "sqrt": 4.0, "identity": 4.0}[space]
    flow = TRANSFORMS[space].inverse(linear)
    spaces = {name: TRANSFORMS[name] for name in ("log", "sqrt", "identity")}
    positive = replace(task, physical=flow, spaces=spaces, floor=0.0)
    for found in (fit_each_gauge(features, positive), fit_all_gauges(features[:1], np.zeros((1, 1)), _first(positive))):
        assert found.space == space
        assert found.validation_nse == pytest.approx(1, abs=1e-3)
        assert np.nanmin(found.simulated) >= 0


@pytest.mark.parametrize("space", ["log", "sqrt", "identity"])
def test_predictions_stay_near_the_flow_that_was_fitted(features: np.ndarray, task: Task, space: TransformName) -> None:
    """Days unlike all others: the logarithm of flow would become 1e20 mm/day and more."""
    flow = TRANSFORMS[space].inverse(0.2 * task.physical + {"log": 0.0, "sqrt": 4.0, "identity": 4.0}[space])
    positive = replace(task, physical=flow, spaces={space: TRANSFORMS[space]}, floor=0.0)
    strange = features.copy()
    strange[:, TEST.start] += 100 * np.sign(np.einsum("cnf,cn->cf", features, task.physical))
    strange[:, TEST.start + 1] -= 100 * np.sign(np.einsum("cnf,cn->cf", features, task.physical))
    simulated = fit_each_gauge(strange, positive).simulated
    low, high = flow[:, TRAIN].min(1), flow[:, TRAIN].max(1)
    np.testing.assert_allclose(simulated[:, 0], 2 * high - low, rtol=1e-4)
    np.testing.assert_allclose(simulated[:, 1], np.maximum(2 * low - high, 0), rtol=1e-4, atol=1e-6)
    shared = fit_all_gauges(strange, np.zeros((3, 1)), positive).simulated
    assert shared.max() <= (2 * high.max() - low.min()) * 1.0001


def _first(task: Task) -> Task:
    """Return the task of the first catchment alone."""
    return replace(task, physical=task.physical[:1], complete=task.complete[:1], chosen=task.chosen[:1])


def test_a_shared_probe_learns_what_is_common(features: np.ndarray, task: Task) -> None:
    static = np.array([[0.0], [1.0], [2.0]], dtype=np.float32)
    target = features[..., 0] * 2 + static
    found = fit_all_gauges(features, static, replace(task, physical=target))
    np.testing.assert_allclose(found.simulated, target[:, TEST], atol=0.02)


def test_the_test_period_changes_nothing(features: np.ndarray, task: Task) -> None:
    altered = task.physical.copy()
    altered[:, TEST] = 1e3
    other = replace(task, physical=altered)
    for fit in (lambda t: fit_each_gauge(features, t), lambda t: fit_all_gauges(features, np.zeros((3, 1)), t)):
        np.testing.assert_array_equal(fit(task).simulated, fit(other).simulated)


def test_incomplete_rows_are_neither_fitted_nor_predicted(features: np.ndarray, task: Task) -> None:
    holes = features.copy()
    holes[0, [3, 90, 120]] = np.nan
    complete = np.isfinite(holes).all(-1)
    target = task.physical.copy()
    target[0, 3] = 1e6
    found = fit_each_gauge(holes, replace(task, complete=complete, physical=target))
    assert np.isnan(found.simulated[0]).tolist() == [day == 10 for day in range(40)]
    np.testing.assert_allclose(found.simulated[1:], task.physical[1:, TEST], atol=0.02)


def test_catchments_not_chosen_are_left_out(features: np.ndarray, task: Task) -> None:
    found = fit_each_gauge(features, replace(task, chosen=np.array([True, False, True])))
    assert np.isnan(found.simulated[1]).all()
    assert np.isfinite(found.simulated[[0, 2]]).all()
