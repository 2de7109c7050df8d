"""What looks wrong in daily series, as masks: ``N`` catchments, ``T`` days; NaN is missing and never looks wrong.

The rules for flow are those of the Global Streamflow Indices and Metadata Archive: Gudmundsson et al. (2018), GSIM
part 2, Earth System Science Data 10, 787-804, doi:10.5194/essd-10-787-2018, section 3.1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Series = NDArray[np.floating]
Mask = NDArray[np.bool_]

OUTLIER_DEVIATIONS = 6.0
"""Standard deviations of the logarithm beyond which a day's flow is an outlier (GSIM)."""
OUTLIER_WINDOW = 2
"""Days to either side of a day of the year from which its mean and deviation are taken (GSIM: five days in all)."""
OUTLIER_LEAST = 25
"""Values that must be in such a window: five years of five days."""


def beyond(values: Series, limits: tuple[float, float]) -> Mask:
    """Return where values ``[N, T]`` lie outside ``limits``."""
    return np.asarray((values < limits[0]) | (values > limits[1]))


def flat(values: Series, days: int) -> Mask:
    """Return where ``[N, T]`` one value above zero is repeated on at least ``days`` days: gaps filled with the last."""
    mask = np.zeros(values.shape, dtype=np.bool_)
    for row, series in enumerate(values):
        edges = np.concatenate([[0], np.flatnonzero(np.diff(series) != 0) + 1, [len(series)]])
        lengths = np.diff(edges)
        mask[row] = np.repeat(lengths >= days, lengths) & (series > 0)
    return mask


def jump(values: Series, most: float) -> Mask:
    """Return the days ``[N, T]`` that differ from the day before by more than ``most``; of a spike, that day alone."""
    steps = np.diff(values, axis=1, prepend=np.nan)
    mask = np.abs(steps) > most
    back = mask[:, :-1] & (np.sign(steps[:, :-1]) == -np.sign(steps[:, 1:]))
    mask[:, 1:] &= ~back  # the way back from a spike is no second one
    return np.asarray(mask)


def outlier(values: Series, dates: pd.DatetimeIndex) -> Mask:
    """Return the days ``[N, T]`` whose flow is far from that of its season, by the logarithm (GSIM)."""
    with np.errstate(invalid="ignore"):
        logarithm = np.log(np.where(values < 0, np.nan, values) + 0.01).T
    day = dates.dayofyear.to_numpy() - 1
    seen = ~np.isnan(logarithm)
    present = np.where(seen, logarithm, 0.0)
    count, total, squares = (_by_season(part, day) for part in (seen.astype(np.float64), present, present**2))
    mean = total / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    far = np.abs(logarithm - mean[day]) > OUTLIER_DEVIATIONS * deviation[day]
    return np.asarray((far & (count[day] >= OUTLIER_LEAST) & (deviation[day] > 0)).T)


def _by_season(values: Series, day: NDArray[np.integer]) -> Series:
    """Sum ``[T, N]`` over the years and the days around each day of the year: ``[366, N]``."""
    sums = np.zeros((366, values.shape[1]))
    np.add.at(sums, day, values)
    return np.asarray(sum(np.roll(sums, shift, axis=0) for shift in range(-OUTLIER_WINDOW, OUTLIER_WINDOW + 1)))
