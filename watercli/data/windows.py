"""The windows and catchments of a step: functions of seed and step alone, whatever the number of processes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from watercli.errors import ConfigError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Windows of ``days`` days that start at day indices ``first`` to ``last``, both included."""

    first: int
    last: int
    days: int

    @classmethod
    def within(cls, period: slice, days: int, name: str) -> Windows:
        """Return all windows within a period.

        Raises
        ------
        ConfigError
            If the period is shorter than a window.
        """
        if period.stop - period.start < days:
            raise ConfigError(
                f"The {name} period has {period.stop - period.start} days, fewer than window_days ({days}); lower "
                "window_days or lengthen the period"
            )
        return cls(period.start, period.stop - days, days)

    def __len__(self) -> int:
        return self.last - self.first + 1

    def showings(self, number: int, sample: int, catchments: int) -> float:
        """Return how often each day is shown on average by ``number`` windows, of each catchment if there are any.

        Every window shows ``sample`` of the ``catchments``.
        """
        share = min(sample / catchments, 1.0) if catchments else 1.0
        return number * share * self.days / (len(self) + self.days - 1)

    def spread(self, number: int) -> Indices:
        """Return the starts of at most ``number`` windows, evenly spread over the period."""
        return np.unique(np.linspace(self.first, self.last, min(number, len(self))).round().astype(np.int64))


def draw_starts(windows: Windows, *, step: int, batch: int, seed: int) -> Indices:
    """Draw a step's windows ``[B]`` (day indices), each once in an epoch."""
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs, within = np.divmod(positions, len(windows))
    starts = [windows.first + _permutation(seed, int(e), len(windows))[w] for e, w in zip(epochs, within, strict=True)]
    return np.array(starts, dtype=np.int64)


def draw_catchments(with_target: NDArray[np.bool_], sample: int, rng: np.random.Generator) -> Indices:
    """Draw ``sample`` of C catchments for each window, ``[B, sample]``, those with a target first.

    ``with_target`` is ``[B, C]``: the catchments that can be scored in the window.
    """
    lot = rng.random(with_target.shape) + ~with_target
    return np.sort(np.argsort(lot, axis=1)[:, :sample], axis=1)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> Indices:
    return np.random.default_rng([seed, 1, epoch]).permutation(length)


def derived_seed(*parts: int) -> int:
    """Return a 63-bit seed that depends on all parts."""
    high, low = np.random.SeedSequence(parts).generate_state(2)
    return (int(high) << 31) ^ int(low)
