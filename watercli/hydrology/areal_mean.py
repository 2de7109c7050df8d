"""The areal mean over a catchment: one meaning for rain, temperature and every other gridded quantity.

It is the weighted mean over the catchment's cells or patches that are observed; the weights of missing ones are left
out. It is NaN where less than half of the weight is observed.

Shapes: C catchments, N cells or patches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

MIN_OBSERVED = 0.5
"""Share of a catchment's weight that must be observed for it to have a mean."""
ROUNDING = 1e-6
"""Weights are sums of many areas: so much less than the share still is the share."""


def areal_mean(values: Floats, weights: Any) -> Floats:
    """Return the means ``[..., C]`` of values ``[..., N]``, NaN where missing.

    Parameters
    ----------
    values
        Of cells or patches, NaN where missing.
    weights
        Of each cell or patch in each catchment, ``[C, N]``, dense or sparse; they need not sum to 1. A cell that is
        never observed, such as sea, should have none.
    """
    total, observed = areal_sums(values, weights)
    return mean_of_sums(total, observed, np.asarray(weights.sum(axis=1)).ravel())


def areal_sums(values: Floats, weights: Any) -> tuple[Floats, Floats]:
    """Return the weighted sums over what is observed, and the weights that are observed, ``[..., C]`` each."""
    flat = values.reshape(-1, values.shape[-1]).T
    observed = np.isfinite(flat)
    shape = (*values.shape[:-1], weights.shape[0])
    total = weights @ np.where(observed, flat, 0)
    return total.T.reshape(shape), (weights @ observed.astype(weights.dtype)).T.reshape(shape)


def mean_of_sums(total: Floats, observed: Floats, whole: Floats) -> Floats:
    """Return the means of `areal_sums`; ``whole`` is the weight of each catchment ``[C]`` if all is observed."""
    enough = (observed > 0) & (observed >= MIN_OBSERVED * whole - ROUNDING)
    mean: Floats = np.divide(total, observed, out=np.full(total.shape, np.nan, dtype=total.dtype), where=enough)
    return mean
