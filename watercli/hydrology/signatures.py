"""Flow signatures: numbers that characterise a river by its series of flow.

Shapes: C catchments, T days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.floating[Any]]

SIGNATURES = {
    "mean_flow": "mean over the days that are known",
    "q5": "flow that 95 % of the days exceed",
    "q95": "flow that 5 % of the days exceed",
    "slope_fdc": "slope of the flow duration curve between its 33rd and 66th percent (Sawicz et al. 2011)",
    "runoff_ratio": "mean flow over mean rain",
    "baseflow_index": "share of base flow (Lyne and Hollick's filter, Ladson et al. 2013)",
    "high_flow_days": "days a year above 9 times the median (Clausen and Biggs 2000)",
    "high_flow_duration": "mean length of a spell of such days",
    "low_flow_days": "days a year below a fifth of the mean (Olden and Poff 2003)",
    "low_flow_duration": "mean length of a spell of such days",
    "half_flow_date": "days since 1 October when half of the year's flow has passed (Court 1962)",
}
UNITS = {
    "mean_flow": "flow",
    "q5": "flow",
    "q95": "flow",
    "high_flow_days": "day/year",
    "high_flow_duration": "day",
    "low_flow_days": "day/year",
    "low_flow_duration": "day",
    "half_flow_date": "day",
}
"""Units; ``flow`` stands for those of the series, what is not named has none."""
TINY = 1e-8
"""Added before a logarithm."""
FILTER, REFLECTED, PASSES = 0.98, 30, 3
"""The base-flow filter's parameter, days that are reflected at both ends, and passes: Ladson et al. (2013)."""
WHOLE_YEAR = 0.9
"""Share of a year's days that must have flow for it to have a half-flow date."""


def signatures(flow: Floats, times: pd.DatetimeIndex, rain: Floats | None = None) -> dict[str, float]:
    """Return the signatures of one series.

    Parameters
    ----------
    flow
        ``[T]``, NaN where missing; such days are not looked at.
    times
        Consecutive days ``[T]``.
    rain
        ``[T]`` in the same units; without it the runoff ratio is NaN.

    Returns
    -------
    dict[str, float]
        By the keys of `SIGNATURES`; NaN where a signature is undefined.
    """
    known = flow[np.isfinite(flow)].astype(np.float64)
    if not known.size:
        return dict.fromkeys(SIGNATURES, float("nan"))
    high, low = flow > 9 * np.median(known), flow < 0.2 * known.mean()
    q5, q95 = np.quantile(known, [0.05, 0.95])
    return {
        "mean_flow": float(known.mean()),
        "q5": float(q5),
        "q95": float(q95),
        "slope_fdc": _slope(known),
        "runoff_ratio": _ratio(flow, rain) if rain is not None else float("nan"),
        "baseflow_index": baseflow_index(flow),
        "high_flow_days": float(365.25 * high.sum() / known.size),
        "high_flow_duration": _mean_spell(high),
        "low_flow_days": float(365.25 * low.sum() / known.size),
        "low_flow_duration": _mean_spell(low),
        "half_flow_date": _half_flow_date(flow, times),
    }


def table(flow: Floats, times: pd.DatetimeIndex, rain: Floats | None = None) -> Floats:
    """Return the signatures of several series ``[C, T]``, as ``[signature, C]`` in the order of `SIGNATURES`."""
    rows = [signatures(series, times, None if rain is None else rain[c]) for c, series in enumerate(flow)]
    return np.array([[row[name] for row in rows] for name in SIGNATURES])


def _slope(known: Floats) -> float:
    """Return the slope of the log flow duration curve: Sawicz et al. (2011), doi:10.5194/hess-15-2895-2011."""
    curve = np.sort(known)[::-1]
    high, low = (min(round(share * len(curve)), len(curve) - 1) for share in (0.33, 0.66))
    if curve[low] < 0:  # no flow, whatever it is
        return float("nan")
    return float((np.log(curve[high] + TINY) - np.log(curve[low] + TINY)) / 0.33)


def _ratio(flow: Floats, rain: Floats) -> float:
    known = np.isfinite(flow) & np.isfinite(rain)
    fallen = float(rain[known].sum())
    return float(flow[known].sum() / fallen) if fallen > 0 else float("nan")


def _spells(marked: NDArray[np.bool_]) -> list[slice]:
    """Return the runs of days that are marked."""
    edges = np.diff(marked.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def _mean_spell(marked: NDArray[np.bool_]) -> float:
    """Return the mean length of the runs of days that are marked; NaN if there is none."""
    spells = _spells(marked)
    return float(marked.sum() / len(spells)) if spells else float("nan")


def baseflow_index(flow: Floats) -> float:
    """Return the share of base flow in a series ``[T]``, of its runs of more than 30 days without a gap.

    Lyne and Hollick's recursive filter, forwards, backwards and forwards, with 30 days reflected at both ends:
    Ladson et al. (2013), doi:10.7158/13241583.2013.11465417. NaN without such a run, or without flow.
    """
    base = total = 0.0
    for run in _spells(np.isfinite(flow)):
        values = flow[run].astype(np.float64)
        if len(values) <= REFLECTED:
            continue
        slow: Floats = np.pad(values, REFLECTED, mode="reflect")
        for _ in range(PASSES):
            slow = _without_quick_flow(slow)[::-1]
        # An odd number of passes leaves the series reversed, which a sum does not mind.
        base += slow[REFLECTED:-REFLECTED].sum()
        total += values.sum()
    return float(base / total) if total > 0 else float("nan")


def _without_quick_flow(flow: Floats) -> Floats:
    """Pass once: quick flow q(t) = a q(t-1) + (1 + a)/2 (f(t) - f(t-1)) is taken off where it is above zero."""
    rise = (1 + FILTER) / 2 * np.diff(flow)
    quick = lfilter([1.0], [1.0, -FILTER], rise, zi=[FILTER * flow[0]])[0]
    rest: Floats = np.concatenate([[0.0], flow[1:] - np.maximum(quick, 0)])
    return rest


def _half_flow_date(flow: Floats, times: pd.DatetimeIndex) -> float:
    """Return the mean over water years (October to September) that are whole, or nearly so; NaN if none is."""
    year = times.year + (times.month >= 10)
    dates = []
    for water_year in np.unique(year):
        days = np.flatnonzero(year == water_year)
        known = np.isfinite(flow[days])
        length = 366 if pd.Timestamp(int(water_year), 1, 1).is_leap_year else 365
        if known.sum() < WHOLE_YEAR * length:
            continue
        passed = np.nancumsum(flow[days].astype(np.float64))
        if passed[-1] > 0:
            first = int(np.argmax(passed > passed[-1] / 2))
            dates.append((times[days[first]] - pd.Timestamp(int(water_year) - 1, 10, 1)).days)
    return float(np.mean(dates)) if dates else float("nan")
