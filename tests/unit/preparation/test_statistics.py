"""Statistics of many values, which are transformed piece by piece."""

from __future__ import annotations

import numpy as np

from watercli.preparation.statistics import PIECE, moments
from watercli.transforms import TRANSFORMS


def test_moments_of_pieces_are_those_of_all_at_once() -> None:
    values = np.random.default_rng(0).gamma(0.3, 8, 3 * PIECE + 5).astype(np.float32)
    values[::7] = np.nan
    present = values[np.isfinite(values)].astype(np.float64)
    for row, transform in zip(moments(values), TRANSFORMS.values(), strict=True):
        seen = transform.forward(present)
        mean = seen.mean()
        assert row.tolist() == [seen.size, mean, np.square(seen - mean).sum(), seen.min(), seen.max()]
