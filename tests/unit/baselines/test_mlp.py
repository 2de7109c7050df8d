"""The small regional network."""

from __future__ import annotations

import numpy as np

from watercli.baselines.mlp import KeptFeatures, Regional, fit_network


def test_a_feature_that_hardly_varies_in_training_does_no_harm_where_it_differs() -> None:
    """The share of known days in a long average, in a test period at the beginning of the record."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 400, 3)).astype(np.float32)
    features[..., 2] = 0.98 + 0.003 * rng.standard_normal((2, 400))
    test, train = slice(0, 100), slice(100, 400)
    regional = Regional(np.zeros((2, 1)), np.exp(features[..., 0]), train, noise=0.0, seed=0)
    begins_unknown = features.copy()
    begins_unknown[:, test, 2] = 0
    expected, simulated = (
        fit_network(KeptFeatures(read), regional, 20, test, "network") for read in (features, begins_unknown)
    )
    np.testing.assert_array_equal(simulated, expected)
    assert simulated.std() > 0
