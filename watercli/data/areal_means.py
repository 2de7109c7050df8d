"""Areal means of a store's grids over its catchments.

Shapes: C catchments, T days, Y X cells, P land patches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from watercli.data.blocks import to_patches
from watercli.hydrology.areal_mean import areal_mean
from watercli.store import Store

Array = NDArray[np.float32]


def catchment_means(store: Store, values: Array) -> Array:
    """Return the areal means ``[C, T]`` of a field ``[T, Y, X]``: of the land patches, each by its observed cells."""
    patches = to_patches(values, store.patch_size)[:, store.land_patches]
    observed = np.isfinite(patches)
    number = observed.sum(-1)
    means = np.where(observed, patches, 0).sum(-1) / np.maximum(number, 1)
    by_patch = np.where(number > 0, means, np.nan)
    of_catchments: Array = areal_mean(by_patch, store.patch_weight[:, store.land_patches]).astype(np.float32).T
    return of_catchments
