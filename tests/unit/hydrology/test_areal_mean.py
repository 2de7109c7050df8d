"""The areal mean over a catchment, by hand and against a loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from watercli.hydrology.areal_mean import MIN_OBSERVED, areal_mean, areal_sums, mean_of_sums


def test_missing_cells_give_their_weight_to_the_others() -> None:
    weights = np.array([[0.5, 0.3, 0.2]])
    values = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0], [np.nan, 2.0, 3.0], [np.nan, np.nan, 3.0]])
    np.testing.assert_allclose(
        areal_mean(values, weights)[:, 0], [1.7, (0.5 + 0.6) / 0.7, (0.6 + 0.6) / 0.5, np.nan], rtol=1e-12
    )


def test_half_of_the_weight_is_enough_whatever_it_sums_to() -> None:
    values = np.array([[4.0, np.nan]])
    for scale in (1.0, 0.4, 30.0):
        half = scale * np.array([[MIN_OBSERVED, 1 - MIN_OBSERVED]])
        assert areal_mean(values, half)[0, 0] == pytest.approx(4)
        less = scale * np.array([[MIN_OBSERVED - 0.01, 1.01 - MIN_OBSERVED]])
        assert np.isnan(areal_mean(values, less)[0, 0])
    assert np.isnan(areal_mean(values, np.zeros((1, 2)))[0, 0])


def test_dense_and_sparse_weights_and_a_loop_agree() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 5, 8))
    values[rng.random(values.shape) < 0.5] = np.nan
    weights = rng.random((4, 8)) * (rng.random((4, 8)) < 0.7)
    means = areal_mean(values, weights)
    assert means.shape == (3, 5, 4)
    np.testing.assert_allclose(areal_mean(values, sparse.csr_matrix(weights)), means)
    for *day, c in np.ndindex(means.shape):
        known = np.isfinite(values[tuple(day)])
        if weights[c, known].sum() < MIN_OBSERVED * weights[c].sum():
            assert np.isnan(means[(*day, c)])
        else:
            expected = weights[c, known] @ values[tuple(day)][known] / weights[c, known].sum()
            assert means[(*day, c)] == pytest.approx(expected)
    assert 0.1 < np.isnan(means).mean() < 0.9


def test_sums_of_land_alone_have_the_mean_of_land() -> None:
    """Of a disc that lies mostly in the sea, the land is the whole."""
    weights, values = np.array([[0.2, 0.8]]), np.array([[5.0, np.nan]])
    assert np.isnan(areal_mean(values, weights)[0, 0])
    assert mean_of_sums(*areal_sums(values, weights), weights @ np.array([1.0, 0.0]))[0, 0] == 5
