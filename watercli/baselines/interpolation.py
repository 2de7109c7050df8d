"""Interpolation of masked tokens from the visible ones around them: the baselines of reconstruction.

Shapes: R rows (windows, or windows times catchments), T days, P patches (1 for a series), V values of a patch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


def interpolate(values: Floats, visible: Flags, fallback: Floats) -> Floats:
    """Fill every token from the visible ones.

    Linear in time between the nearest visible days of the same patch; beyond the first and last of them, the nearest.
    A patch that has no visible day takes the mean of what is visible elsewhere on the day; where nothing is, the
    ``fallback``.

    Parameters
    ----------
    values
        ``[R, T, P, V]``; only visible tokens are looked at, their NaN (sea) stay NaN.
    visible
        ``[R, T, P]``.
    fallback
        ``[R, T, P, V]``.

    Returns
    -------
    Floats
        ``[R, T, P, V]``.
    """
    days = np.arange(visible.shape[1])[:, None]
    before = _last_visible(visible)
    after = np.flip(np.minimum.accumulate(np.flip(np.where(visible, days, visible.shape[1]), 1), axis=1), 1)
    has_before, has_after = before >= 0, after < visible.shape[1]
    left = np.where(has_before, before, np.where(has_after, after, 0))
    right = np.where(has_after, after, left)
    share = np.divide(days - left, right - left, out=np.zeros(visible.shape), where=right > left)[..., None]
    in_time = (1 - share) * _pick(values, left) + share * _pick(values, right)
    patch_is_seen = (has_before | has_after)[..., None]
    return np.where(patch_is_seen, in_time, _day_mean(values, visible, fallback))


def carry_forward(values: Floats, visible: Flags, fallback: Floats) -> Floats:
    """Fill every token as `interpolate` does, but from no later day: with the last visible day of the same patch.

    A patch that has none yet takes the mean of what is visible elsewhere on the day, or the ``fallback``.
    """
    before = _last_visible(visible)
    last = _pick(values, np.maximum(before, 0))
    return np.where((before >= 0)[..., None], last, _day_mean(values, visible, fallback))


def _last_visible(visible: Flags) -> NDArray[np.int64]:
    """Return the last visible day up to each day, ``[R, T, P]``; -1 where there is none."""
    days = np.arange(visible.shape[1])[:, None]
    return np.maximum.accumulate(np.where(visible, days, -1), axis=1)


def _pick(values: Floats, day: NDArray[np.int64]) -> Floats:
    """Return the values ``[R, T, P, V]`` of the days ``[R, T, P]``."""
    return np.take_along_axis(values, day[..., None], axis=1)


def _day_mean(values: Floats, visible: Flags, fallback: Floats) -> Floats:
    """Return the mean over each day's visible values, ``[R, T, P, V]``; the fallback where there are none."""
    shown = visible[..., None] & np.isfinite(values)
    number = shown.sum(axis=(2, 3), keepdims=True)
    total = np.where(shown, values, 0).sum(axis=(2, 3), keepdims=True)
    mean = total / np.maximum(number, 1)
    return np.where(number > 0, mean, fallback)
