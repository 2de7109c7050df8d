"""Which windows and catchments make up a step: functions of seed and step alone, however many processes there are."""

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
        """Return all windows that lie wholly within a period.

        Raises
        ------
        ConfigError
            If the period is shorter than a window.
        """
        if period.stop - period.start < days:
            raise ConfigError(
                f"The {name} period has {period.stop - period.start} days, fewer than window ({days}); shorten window"
            )
        return cls(period.start, period.stop - days, days)

    def __len__(self) -> int:
        return self.last - self.first + 1

    def spread(self, number: int) -> Indices:
        """Return the starts of at most ``number`` windows, evenly spread over the period."""
        return np.unique(np.linspace(self.first, self.last, min(number, len(self))).round().astype(np.int64))


@dataclass(frozen=True)
class Draw:
    """Windows and catchments of one step: starts ``[B]`` (day indices) and catchments ``[B, C]`` (positions)."""

    starts: Indices
    catchments: Indices


def draw(windows: Windows, catchments: int, *, step: int, batch: int, sample: int, seed: int) -> Draw:
    """Draw a step's windows, each once in an epoch, and ``sample`` of the store's ``catchments`` for each of them."""
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs, within = np.divmod(positions, len(windows))
    starts = [windows.first + _permutation(seed, int(e), len(windows))[w] for e, w in zip(epochs, within, strict=True)]
    rng = np.random.default_rng([seed, step])
    chosen = [np.sort(rng.choice(catchments, min(sample, catchments), replace=False)) for _ in range(batch)]
    return Draw(np.array(starts, dtype=np.int64), np.array(chosen, dtype=np.int64).reshape(batch, -1))


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> Indices:
    return np.random.default_rng([seed, 1, epoch]).permutation(length)


def derived_seed(*parts: int) -> int:
    """Return a 63-bit seed that depends on all parts."""
    high, low = np.random.SeedSequence(parts).generate_state(2)
    return (int(high) << 31) ^ int(low)
