"""Predictive intervals: how wrong a simulation was on the validation dates says how wrong it may be on the test dates.

Split conformal prediction (Lei et al. 2018, doi:10.1080/01621459.2017.1307116), both ends calibrated by themselves. An
error is counted relative to the flow that was simulated, and apart for classes of flow from low to high (Mondrian
categories: Vovk et al. 2005, doi:10.1007/b106715), as floods are less certain than base flow. The days of a river are
not exchangeable, so that the coverage is no theorem: it is measured on the test dates.

Shapes: C catchments, V validation days, T test days, M members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scores.probability import crps_for_ensemble

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

MEMBERS = np.arange(1, 40) / 40
"""Probabilities of the quantiles that stand for the predictive distribution."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities of the central intervals whose coverage is measured."""
SHOWN = (0.5, 0.9)
"""Those of the intervals that are written and drawn."""
CLASSES = 5
"""Classes of simulated flow, equally frequent on the validation dates of the catchment."""
LEAST_DAYS = 30
"""Validation days that a catchment's class must have to be calibrated by itself; else by the same class of all."""
OFFSET = 0.1
"""Share of the mean simulated flow that is added to a flow before errors are counted relative to it."""


@dataclass(frozen=True)
class Predictive:
    """A predictive distribution of every test day."""

    members: Floats
    """``[C, T, M]``, ascending along M, in physical units; NaN where nothing was simulated, or no error is known."""
    days: NDArray[np.int64]
    """``[C]``: validation days behind them."""
    pooled: Flags
    """``[C]``: some or all of these days are those of other gauges."""

    def interval(self, level: float) -> tuple[Floats, Floats]:
        """Return both ends ``[C, T]`` of the central interval of a probability of `LEVELS`."""
        low, high = (int(np.argmin(np.abs(MEMBERS - end))) for end in ((1 - level) / 2, (1 + level) / 2))
        return self.members[..., low], self.members[..., high]


def calibrate(
    validated: Floats, validation: Floats, simulated: Floats, usable: Flags, *, never_negative: bool
) -> Predictive:
    """Give every simulated test day the errors that were made on the validation dates.

    Parameters
    ----------
    validated, validation
        Simulated and observed values of the validation dates, ``[C, V]``; NaN where there is none.
    simulated
        Values of the test dates by the same method, ``[C, T]``.
    usable
        ``[C]``: gauges whose validation values may be looked at; those hidden in training may not.
    never_negative
        The target is a flow or the like: errors are relative to it, and no member is below zero. Else they are
        relative to the standard deviation of the catchment's simulation.
    """
    known_days = np.isfinite(validated) & np.isfinite(validation) & usable[:, None]
    has_simulation = np.isfinite(validated).any(1, keepdims=True)
    # Without a validated day there is nothing to take classes and units of flow from, and no interval.
    validated, simulated = np.where(has_simulation, validated, 0), np.where(has_simulation, simulated, np.nan)
    unit, test_unit = (_unit(validated, values, never_negative) for values in (validated, simulated))
    errors = np.where(known_days, (validation - validated) / unit, np.nan)
    edges = np.nanquantile(validated, np.arange(1, CLASSES) / CLASSES, axis=1).T
    members = np.full((*simulated.shape, len(MEMBERS)), np.nan)
    days, pooled = np.zeros(len(simulated), dtype=np.int64), np.zeros(len(simulated), dtype=np.bool_)
    of_day, of_test_day = (
        np.stack([np.searchsorted(edge, row) for edge, row in zip(edges, values, strict=True)])
        for values in (validated, simulated)
    )
    for number in range(CLASSES):
        chosen = known_days & (of_day == number)
        everyone = errors[chosen]
        for c in range(len(simulated)):
            known = errors[c, chosen[c]]
            if known.size < LEAST_DAYS:
                known, pooled[c] = everyone, True
            days[c] += known.size
            here = of_test_day[c] == number
            if known.size:
                spread = quantiles(known, MEMBERS) * test_unit[c, here, None]
                members[c, here] = simulated[c, here, None] + spread
    if never_negative:
        members = np.maximum(members, 0)
    members[~np.isfinite(simulated)] = np.nan
    return Predictive(members, days, pooled)


def across_folds(folds: Sequence[xr.Dataset]) -> xr.Dataset:
    """Judge intervals at gauges that training never saw, by errors at other gauges that it never saw.

    The errors of a fold's gauges are those of the run that never saw them; each fold is calibrated by all the others
    (cross-conformal prediction: Vovk 2015, doi:10.1007/s10472-013-9368-4).

    Parameters
    ----------
    folds
        The same experiment with other gauges hidden in each; of the hidden ones, along ``catchment``: ``validated``
        and ``validation`` (catchment, validation_time), simulated and observed on the validation dates; ``simulated``,
        and ``observed``, NaN on days that are not scored (catchment, time).

    Returns
    -------
    xr.Dataset
        As that of `judge`, of the gauges of all folds.
    """
    numbered = [
        fold.assign(fold=("catchment", np.full(fold.sizes["catchment"], number))) for number, fold in enumerate(folds)
    ]
    together = xr.concat(numbered, "catchment", join="outer", coords="minimal")
    validated, validation, simulated = (
        together[name].values.astype(np.float64) for name in ("validated", "validation", "simulated")
    )
    never_negative = bool(np.nanmin(validation, initial=np.inf) >= 0)
    parts = []
    for number in range(len(folds)):
        in_fold = together["fold"].values == number
        predictive = calibrate(validated, validation, simulated, ~in_fold, never_negative=never_negative)
        own = Predictive(predictive.members[in_fold], predictive.days[in_fold], predictive.pooled[in_fold])
        parts.append(judge(own, simulated[in_fold], together["observed"].astype(np.float64)[in_fold]))
    return xr.concat(parts, "catchment", coords="minimal").sortby("catchment")


def _unit(validated: Floats, values: Floats, never_negative: bool) -> Floats:
    """Return what errors are counted in, like ``values``; the validation dates' simulation alone decides it."""
    if never_negative:
        offset = OFFSET * np.nanmean(validated, axis=1, keepdims=True)
        unit: Floats = np.maximum(values, 0) + np.maximum(offset, 1e-6)
        return unit
    return np.broadcast_to(np.maximum(np.nanstd(validated, axis=1, keepdims=True), 1e-6), values.shape)


def quantiles(errors: Floats, levels: Floats) -> Floats:
    """Return the conformal quantiles of errors ``[n]`` at ``levels``.

    Below the median it is the one of rank floor((n + 1) level), above it that of rank ceil((n + 1) level): were the
    days exchangeable, a new error would lie beyond an end no more often than wanted. A rank beyond all errors would be
    infinite; the largest error stands for it.
    """
    rank = (len(errors) + 1) * np.asarray(levels)
    # What rounding puts a hair beside a whole number is that number.
    rank = np.where(np.asarray(levels) < 0.5, np.floor(rank + 1e-9), np.ceil(rank - 1e-9)).astype(np.int64)
    chosen: Floats = np.sort(errors)[rank.clip(1, len(errors)) - 1]
    return chosen


def judge(predictive: Predictive, simulated: Floats, observed: xr.DataArray) -> xr.Dataset:
    """Say how the intervals fared on the scored test days.

    Parameters
    ----------
    simulated
        The simulation without intervals, ``[C, T]``.
    observed
        ``(catchment, time)``, NaN on days that are not scored.

    Returns
    -------
    xr.Dataset
        ``coverage``, ``width`` (level, catchment): share of the days inside, and mean width; ``crps``,
        ``absolute_error`` (catchment): continuous ranked probability score (Matheson and Winkler 1976) and mean
        absolute error of the simulation alone, which is the score of a forecast without uncertainty; and, for the
        levels `SHOWN`, ``lower`` and ``upper`` (level, catchment, time). NaN for a catchment without a scored day.
    """
    scored = observed.notnull().values & np.isfinite(predictive.members).all(-1)
    days = scored.sum(1)
    truth = observed.values.astype(np.float64)
    inside, width = [], []
    for level in LEVELS:
        low, high = predictive.interval(level)
        inside.append(_mean((truth >= low) & (truth <= high), scored))
        width.append(_mean(high - low, scored))
    crps = np.full(len(days), np.nan)
    for c in np.flatnonzero(days):
        members = xr.DataArray(predictive.members[c, scored[c]], dims=("time", "member"))
        score = crps_for_ensemble(members, xr.DataArray(truth[c, scored[c]], dims="time"), "member", method="ecdf")
        crps[c] = float(score)
    ends = [predictive.interval(level) for level in SHOWN]
    units = {"units": observed.attrs.get("units", "1")}
    shown = ("shown", "catchment", "time")
    return xr.Dataset(
        {
            "coverage": (("level", "catchment"), np.stack(inside), {"long_name": "share of scored days inside"}),
            "width": (("level", "catchment"), np.stack(width), {**units, "long_name": "mean width"}),
            "crps": ("catchment", crps, {**units, "long_name": "continuous ranked probability score"}),
            "absolute_error": ("catchment", _mean(np.abs(simulated - truth), scored), units),
            "calibration_days": ("catchment", predictive.days, {"long_name": "validation days behind the intervals"}),
            "pooled": ("catchment", predictive.pooled, {"long_name": "calibrated by other gauges as well"}),
            "lower": (shown, np.stack([low for low, _ in ends]).astype(np.float32), units),
            "upper": (shown, np.stack([high for _, high in ends]).astype(np.float32), units),
        },
        coords={
            "level": ("level", list(LEVELS), {"long_name": "probability of the central interval"}),
            "shown": ("shown", list(SHOWN), {"long_name": "probability of the central interval"}),
            "catchment": observed["catchment"].values,
            "time": observed["time"].values,
        },
    )


def _mean(values: NDArray[Any], scored: Flags) -> Floats:
    """Return the mean over the scored days, ``[C]``; NaN of none."""
    total, number = np.where(scored, values, 0).sum(1, dtype=np.float64), scored.sum(1)
    mean: Floats = np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
    return mean
