"""Which window a date is embedded in, and on which dates that can be done: pure functions of day indices.

A window begins on the same day whichever dates are chosen and wherever the store ends, so that an export that is
extended agrees with one that is made at once.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from math import gcd

import numpy as np
import pandas as pd

from watercli.data.windows import Indices


def first_and_last(times: pd.DatetimeIndex, since: dt.date | None, until: dt.date | None) -> tuple[int, int]:
    """Return the positions of the first and the last day from ``since`` to ``until``; last < first if there is none."""
    first = times.searchsorted(pd.Timestamp(since), side="left") if since else 0
    last = times.searchsorted(pd.Timestamp(until), side="right") - 1 if until else len(times) - 1
    return int(first), int(last)


@dataclass(frozen=True)
class Dates:
    """Windows of ``days`` days for the dates of a record of ``record`` days."""

    days: int
    record: int
    causal_model: bool
    """The features of a day do not change with what comes after: one window serves many dates."""
    around: bool = False
    """The window lies around the date, and its later days are seen; otherwise nothing after the date is."""
    settled: bool = False
    """The features of the window's first day know what came before, as those of a recurrence do."""
    not_before: int = 0
    """First date that other windows allow."""

    @property
    def step(self) -> int:
        """Days from one window to the next: half a window, or one day where each date has a window of its own.

        A whole window where its features are settled from the first day on.
        """
        if self.settled:
            return self.days
        return self.days // 2 if self.causal_model or self.around else 1

    @property
    def _earliest(self) -> int:
        """Least number of days of its window that lie before a date."""
        return (self.days - self.step) // 2 if self.around else self.days - self.step

    def starts(self, dates: Indices) -> Indices:
        """Return the first day of the window of each date.

        Where a window serves many dates, these are those of its second half, or of its middle if it lies around them.
        """
        starts: Indices = (dates - self._earliest) // self.step * self.step
        return starts

    def ends(self, dates: Indices) -> Indices:
        """Return the last day that the encoder sees of each date."""
        return self.starts(dates) + self.days - 1 if self.around else dates

    @property
    def first(self) -> int:
        """First date that can be embedded."""
        return max(self._earliest, self.not_before)

    @property
    def last(self) -> int:
        """Last date that can be embedded: a window around a date must lie wholly within the record."""
        if not self.around:
            return self.record - 1
        return (self.record - self.days) // self.step * self.step + self._earliest + self.step - 1

    def between(self, first: int, last: int, stride: int) -> Indices:
        """Return every ``stride``-th date from ``first`` to ``last`` that can be embedded."""
        return np.arange(max(first, self.first), min(last, self.last) + 1, stride, dtype=np.int64)

    def repeats(self, stride: int) -> int:
        """Return after how many dates windows and dates stand to each other as they did."""
        return self.step // gcd(self.step, stride)
