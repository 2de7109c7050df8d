"""Reads a gridded variable a few weeks at a time, so that no grid needs to fit into memory.

Shapes: T days, Y X cells, N cells that a modality ever observes in a land patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from multimodal_mae.layers import patchify
from numpy.typing import NDArray

from watercli.store import Store

DAYS_AT_ONCE = 60


def grid_blocks(store: Store, name: str, days: slice) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield consecutive day ranges and the values ``[T, Y, X]`` of a grid in physical units."""
    for first in range(days.start, days.stop, DAYS_AT_ONCE):
        block = slice(first, min(first + DAYS_AT_ONCE, days.stop))
        yield block, store.dataset[name][block].values


def series_blocks(store: Store, name: str, days: slice) -> Iterator[tuple[pd.DatetimeIndex, NDArray[np.float32]]]:
    """Yield dates and values ``[T, C]`` of a series in physical units."""
    values = store.dataset[name].values.T
    for first in range(days.start, days.stop, DAYS_AT_ONCE):
        block = slice(first, min(first + DAYS_AT_ONCE, days.stop))
        yield store.times[block], values[block]


def land_cells(store: Store, name: str) -> NDArray[np.bool_]:
    """Return the cells ``[Y, X]`` that a grid ever observes and that lie in a land patch."""
    covered: NDArray[np.bool_] = store.dataset["coverage"].sel(grid=name).values > 0
    (y, x), (height, width) = covered.shape, store.patch_size
    land = np.zeros((y // height) * (x // width), dtype=np.bool_)
    land[store.land_patches] = True
    return covered & land.reshape(y // height, x // width).repeat(height, 0).repeat(width, 1)


def to_patches(fields: NDArray[Any], patch_size: tuple[int, int]) -> NDArray[Any]:
    """Cut ``[T, Y, X]`` into row-major patches ``[T, P, V]``."""
    cut: NDArray[Any] = patchify(torch.from_numpy(np.ascontiguousarray(fields))[None], patch_size)[0].numpy()
    return cut
