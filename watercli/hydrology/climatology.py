"""Day-of-year climatology: the mean of the days within a week of the same calendar day, of given dates only.

Shapes: T days, N places (cells or catchments).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SLOTS = 366
HALF_WIDTH = 7
"""Days on either side: a circular mean of 15 days."""
PLACES_AT_ONCE = 8192


def calendar_slot(times: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Return the position of each date in a leap year, so that a date has the same one in every year."""
    later = (times.month > 2) & ~times.is_leap_year
    return (times.dayofyear - 1 + later).to_numpy(dtype=np.int64)


@dataclass(frozen=True)
class Climatology:
    """Mean of each calendar day and place."""

    mean: NDArray[np.float32]
    """``[366, N]``; where no day within the window was observed, the mean over all; NaN if there is none at all."""

    @classmethod
    def of(cls, blocks: Iterable[tuple[pd.DatetimeIndex, Floats]], places: int) -> Climatology:
        """Average blocks of consecutive days, ``[T, N]`` with NaN where missing, each shorter than a year.

        Holds 6 bytes for each place and calendar day, whatever the number of years.
        """
        sums = np.zeros((SLOTS, places), dtype=np.float32)
        counts = np.zeros((SLOTS, places), dtype=np.uint16)
        for times, values in blocks:
            slots = calendar_slot(times)
            assert len(np.unique(slots)) == len(slots), "a block is longer than a year"
            sums[slots] += np.nan_to_num(values)
            counts[slots] += np.isfinite(values)
        for first in range(0, places, PLACES_AT_ONCE):
            block = slice(first, first + PLACES_AT_ONCE)
            sums[:, block] = _window_mean(sums[:, block], counts[:, block])
        return cls(sums)

    def at(self, times: pd.DatetimeIndex) -> NDArray[np.float32]:
        """Return ``[T, N]`` for dates of any year."""
        return self.mean[calendar_slot(times)]


def _window_mean(sums: Floats, counts: NDArray[np.uint16]) -> Floats:
    """Return the circular moving mean over the calendar ``[366, n]``."""
    total, number = (_window_sum(values.astype(np.float64)) for values in (sums, counts))
    all_sums, days = sums.sum(0, dtype=np.float64), counts.sum(0, dtype=np.float64)
    overall = np.divide(all_sums, days, out=np.full_like(all_sums, np.nan), where=days > 0)
    means = np.broadcast_to(overall, total.shape).copy()
    mean: Floats = np.divide(total, number, out=means, where=number > 0)
    return mean


def _window_sum(values: Floats) -> Floats:
    """Return the sum over ``HALF_WIDTH`` entries on either side along the circular first axis."""
    width = 2 * HALF_WIDTH + 1
    padded = np.concatenate([values[-HALF_WIDTH:], values, values[:HALF_WIDTH]])
    running = np.concatenate([np.zeros_like(values[:1]), np.cumsum(padded, axis=0)])
    summed: Floats = running[width:] - running[:-width]
    return summed
