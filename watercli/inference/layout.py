"""What an export holds: its dates, its labels, and the arrays that are written block by block.

A block is a number of dates of every catchment: one shard of each array, written once, by one process.
Shapes: C catchments, N dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from watercli.data.windows import Indices

CHUNK_BYTES = 4 * 2**20
"""What is read at least, before compression: some catchments of a block."""


@dataclass(frozen=True)
class Array:
    """An array that is written block by block along its second dimension, ``time``."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: dict[str, Any]

    @property
    def bytes_of_date(self) -> int:
        """Bytes of one date, before compression."""
        return int(np.prod(self.shape[:1] + self.shape[2:])) * np.dtype(self.dtype).itemsize

    def chunks(self, dates: int) -> tuple[int, ...]:
        """Return the shape of a chunk, which holds some catchments (or patches) and all the dates of a block."""
        each = self.bytes_of_date * dates // self.shape[0]
        return (int(np.clip(CHUNK_BYTES // each, 1, self.shape[0])), dates, *self.shape[2:])

    def shards(self, dates: int) -> tuple[int, ...]:
        """Return the shape of a shard: whole chunks that hold all catchments."""
        chunk = self.chunks(dates)
        return (-(-self.shape[0] // chunk[0]) * chunk[0], *chunk[1:])


@dataclass(frozen=True)
class Layout:
    """An export: its dates, its labels, and its arrays."""

    dates: Indices
    """``[N]`` day indices in the store."""
    block_dates: int
    labels: xr.Dataset
    """Everything but the arrays: coordinates, small variables, root attributes."""
    arrays: dict[str, Array]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-len(self.dates) // self.block_dates)

    def block(self, number: int) -> slice:
        """Return the positions of a block along the dates."""
        return slice(number * self.block_dates, min((number + 1) * self.block_dates, len(self.dates)))

    def dates_of(self, number: int) -> int:
        """Return how many dates a block has; the last may have fewer."""
        return len(self.dates[self.block(number)])

    @property
    def bytes(self) -> int:
        """Size of the arrays before compression."""
        return sum(array.bytes_of_date for array in self.arrays.values()) * len(self.dates)
