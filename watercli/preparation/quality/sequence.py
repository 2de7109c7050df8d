"""Values that cannot follow each other: spikes, and stretches that are late by days or wrong by a factor.

Each looks at daily flows ``[N, T]``; NaN is missing. A stretch is judged by what the rest of the record and the flows
or the rain around it say: rivers differ, but a river does not become another for a year. Nothing is altered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import median_filter

Series = NDArray[np.floating]
Mask = NDArray[np.bool_]

SPIKE = 100.0
"""Times both of its neighbours by which one day's flow is a spike."""
HIGH = 0.98
"""Share of the days that have less flow than a spike: in a nearly dry river, drops are a hundred times others."""
FACTOR = 8.0
"""Factor between a stretch and the rest of its record that is not believed; units differ by 10 (inches 25, feet 35)."""
STRETCH_DAYS = 31
"""Days over which a factor must hold."""
NEIGHBOURS = 5
"""Gauges that are most like a gauge, with which it is compared."""
LEAST_NEIGHBOURS = 2
LEAST_ALIKE = 0.5
"""Correlation of daily changes from which a gauge is like another."""
LAGS = (-2, -1, 0, 1, 2)
"""Days by which a stretch may be shifted."""
YEAR_DAYS = 365
LEAST_DAYS = 120
"""Days of a year that must be known for its shift."""
CLEARLY = 0.2
"""By so much must the correlation at another lag be higher."""
LEAST_CORRELATION = 0.4
"""Below this, a year says nothing about days: its flow is snow melt, groundwater or a dam."""


@dataclass(frozen=True)
class Stretch:
    """Days of a record that do not fit the rest."""

    row: int
    days: Mask
    """``[T]``"""
    detail: str


def spike(values: Series) -> Mask:
    """Return the days ``[N, T]`` whose flow, a high one of the record, is a hundred times that of both neighbours."""
    mask = np.zeros(values.shape, dtype=np.bool_)
    before, day, after = values[:, :-2], values[:, 1:-1], values[:, 2:]
    high = pd.DataFrame(values.T).quantile(HIGH).to_numpy()[:, None]
    with np.errstate(invalid="ignore"):
        mask[:, 1:-1] = (day >= SPIKE * np.maximum(before, after)) & (np.minimum(before, after) > 0) & (day >= high)
    return mask


def changes(values: Series) -> Series:
    """Return the rises of the logarithm of flow from day to day ``[N, T]``; a fall is 0, as all rivers recede."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.log(np.where(values > 0, values, np.nan))
    return np.maximum(np.diff(logarithm, axis=1, prepend=np.nan), 0)


def alike(values: Series) -> list[NDArray[np.intp]]:
    """Return for each gauge the rows of those that rise on the same days, or within a day: at most `NEIGHBOURS`."""
    rises = changes(values)
    smooth = pd.DataFrame(rises.T).rolling(3, center=True, min_periods=1).mean()
    standard = ((smooth - smooth.mean()) / smooth.std(ddof=0)).to_numpy(dtype=np.float64)
    known = np.isfinite(standard).astype(np.float64)
    filled = np.where(known > 0, standard, 0.0)
    common = known.T @ known
    correlation = np.where(common >= YEAR_DAYS, filled.T @ filled / np.maximum(common, 1), np.nan)
    np.fill_diagonal(correlation, np.nan)
    order = np.argsort(-np.nan_to_num(correlation, nan=-1.0), axis=1)[:, :NEIGHBOURS]
    return [row[np.nan_to_num(correlation[number, row], nan=-1.0) >= LEAST_ALIKE] for number, row in enumerate(order)]


def factors(values: Series, neighbours: list[NDArray[np.intp]]) -> Iterator[Stretch]:
    """Yield stretches that lie a factor above or below what the neighbours and the rest of the record say."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.log(np.where(values > 0, values, np.nan))
        level = logarithm - np.nanmedian(logarithm, axis=1, keepdims=True) if logarithm.size else logarithm
    for row, others in enumerate(neighbours):
        if len(others) < LEAST_NEIGHBOURS:
            continue
        apart = level[row] - _median(level[others])
        known = np.flatnonzero(np.isfinite(apart))
        if len(known) < 2 * YEAR_DAYS:
            continue
        apart = apart[known] - np.median(apart[known])
        smooth = median_filter(apart, STRETCH_DAYS, mode="nearest")
        wrong = (np.abs(smooth) > np.log(FACTOR)) & (np.abs(apart) > np.log(FACTOR))
        if wrong.sum() >= STRETCH_DAYS:
            times = float(np.exp(np.median(apart[wrong])))
            shown = f"{times:.3g} times" if times > 1 else f"one {1 / times:.3g}th of"
            days = np.zeros(values.shape[1], dtype=np.bool_)
            days[known[wrong]] = True
            yield Stretch(row, days, f"{shown} what neighbours and the rest of the record say: other units?")


def shifts(values: Series, reference: Series, index: pd.DatetimeIndex, of: str) -> Iterator[Stretch]:
    """Yield the years in which a record follows its ``reference`` ``[N, T]`` days earlier or later than otherwise."""
    rises = changes(values)
    years = index.year.to_numpy()
    begun, starts = np.unique(years, return_index=True)
    for row in range(len(values)):
        scores = dict(zip(begun.tolist(), _correlations(rises[row], reference[row], starts), strict=True))
        lags = {
            year: LAGS[int(np.argmax(by_lag))]
            for year, by_lag in scores.items()
            if np.isfinite(by_lag).all() and by_lag.max() >= LEAST_CORRELATION
        }
        if len(lags) < 3:
            continue
        usual = int(np.median(list(lags.values())))
        if usual not in LAGS:
            continue
        for shift in sorted(set(lags.values()) - {usual}):
            # The contrast must flip: by so much the usual lag is better in other years, by so much worse in these.
            gain = {year: float(scores[year][LAGS.index(shift)] - scores[year][LAGS.index(usual)]) for year in lags}
            odd = [year for year, lag in lags.items() if lag == shift and gain[year] > CLEARLY]
            rest = [gain[year] for year, lag in lags.items() if lag == usual]
            if odd and rest and np.median(rest) < -CLEARLY:
                days = np.isin(years, odd) & np.isfinite(values[row])
                way = "later" if shift > usual else "earlier"
                apart = abs(shift - usual)
                detail = f"{apart} {'day' if apart == 1 else 'days'} {way} than {of} otherwise has it: shifted dates?"
                yield Stretch(row, days, detail)


def whole_shifts(values: Series, reference: Series, of: str, *, only_earlier: bool = False) -> Iterator[Stretch]:
    """Yield the records that follow their ``reference`` ``[N, T]`` at another lag than none, from first day to last.

    With ``only_earlier``, those alone that rise before it: flow may be late after rain, but not early.
    """
    rises = changes(values)
    for row in range(len(values)):
        scores = _correlations(rises[row], reference[row], np.array([0]))[0]
        if not np.isfinite(scores).all() or scores.max() < LEAST_CORRELATION:
            continue
        lag = LAGS[int(np.argmax(scores))]
        gain = float(scores.max() - scores[LAGS.index(0)])
        if lag and gain > CLEARLY and not (only_earlier and lag > 0):
            apart = f"{abs(lag)} {'day' if abs(lag) == 1 else 'days'} {'later' if lag > 0 else 'earlier'}"
            yield Stretch(row, np.isfinite(values[row]), f"{apart} than {of}, over the whole record: shifted dates?")


def whole_factors(flow: Series, rain: Series, neighbours: list[NDArray[np.intp]]) -> Iterator[Stretch]:
    """Yield the records whose share of the rain lies a factor off that of the neighbours, from first day to last.

    ``flow`` and ``rain`` are in one unit, ``[N, T]``.
    """
    both = np.isfinite(flow) & np.isfinite(rain)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.log(np.where(both, flow, 0).sum(axis=1) / np.where(both, rain, 0).sum(axis=1))
    for row, others in enumerate(neighbours):
        known = share[others][np.isfinite(share[others])]
        if len(known) < LEAST_NEIGHBOURS or not np.isfinite(share[row]):
            continue
        apart = float(share[row] - np.median(known))
        if abs(apart) > np.log(FACTOR):
            shown = f"{np.exp(apart):.3g} times" if apart > 0 else f"one {np.exp(-apart):.3g}th of"
            detail = f"{shown} the flow of its neighbours, by their rain, over the whole record: other units or area?"
            yield Stretch(row, np.isfinite(flow[row]), detail)


def of_neighbours(values: Series, neighbours: list[NDArray[np.intp]]) -> Series:
    """Return the median rise of each gauge's neighbours ``[N, T]``; NaN without enough of them."""
    rises = changes(values)
    empty = np.full(values.shape[1], np.nan)
    return np.stack([_median(rises[rows]) if len(rows) >= LEAST_NEIGHBOURS else empty for rows in neighbours])


def _median(rows: Series) -> Series:
    """Return the median over rows ``[T]`` on the days that most have."""
    enough = np.isfinite(rows).sum(axis=0) >= max(LEAST_NEIGHBOURS, len(rows) / 2)
    middle = np.full(rows.shape[1], np.nan)
    if enough.any():
        middle[enough] = np.nanmedian(rows[:, enough], axis=0)
    return middle


def _correlations(rises: Series, reference: Series, starts: NDArray[np.intp]) -> Series:
    """Return the correlations ``[P, L]`` of rises with what the reference was each of `LAGS` before, in each period.

    A period lasts from its first day, one of ``starts`` ``[P]``, to the next; NaN where it has too few days.
    """
    if not len(rises):
        return np.full((len(starts), len(LAGS)), np.nan)
    return np.stack([_by_period(rises, _delayed(reference, lag), starts) for lag in LAGS], axis=1)


def _delayed(values: Series, lag: int) -> Series:
    """Return what each value was ``lag`` days before; NaN beyond the ends."""
    earlier = np.full(len(values), np.nan)
    if lag >= 0:
        earlier[lag:] = values[: len(values) - lag]
    else:
        earlier[:lag] = values[-lag:]
    return earlier


def _by_period(x: Series, y: Series, starts: NDArray[np.intp]) -> Series:
    """Return the correlation of two series ``[T]`` in each period ``[P]``."""
    both = np.isfinite(x) & np.isfinite(y)
    days = np.add.reduceat(both, starts, dtype=np.intp)
    x, y = (_centred(values, both, days, starts) for values in (x, y))
    covariance, of_x, of_y = (np.add.reduceat(product, starts) for product in (x * y, x * x, y * y))
    varies = (_range(x, both, starts) > 0) & (_range(y, both, starts) > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(varies & (days >= LEAST_DAYS), covariance / np.sqrt(of_x * of_y), np.nan)


def _centred(values: Series, known: Mask, days: NDArray[np.intp], starts: NDArray[np.intp]) -> Series:
    """Return the deviations from each period's mean ``[T]``; zero where nothing is known."""
    filled = np.where(known, values, 0.0)
    means = np.add.reduceat(filled, starts) / np.maximum(days, 1)
    lengths = np.diff(starts, append=len(values))
    return np.where(known, filled - np.repeat(means, lengths), 0.0)


def _range(values: Series, known: Mask, starts: NDArray[np.intp]) -> Series:
    """Return the range of the known values of each period ``[P]``; negative without any."""
    highest = np.maximum.reduceat(np.where(known, values, -np.inf), starts)
    return highest - np.minimum.reduceat(np.where(known, values, np.inf), starts)
