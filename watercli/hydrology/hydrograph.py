"""Scores of a hydrograph that the library ``scores`` lacks: of the flow duration curve, of low flow, and of peaks.

Every function takes one simulated and one observed daily series ``[T]`` of one place, in physical units. A day on which
either is NaN is not looked at; NaN is returned where nothing can be said. Conventions are those of NeuralHydrology
(Kratzert et al. 2022, doi:10.21105/joss.04050), so that the numbers can be compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

Floats = NDArray[np.floating[Any]]

LEAST = 1e-6
"""Stands for a flow of nothing before a logarithm is taken."""
HIGH, LOW, MIDDLE = 0.02, 0.3, (0.2, 0.7)
"""Shares of the time that the highest and lowest flows take, and ends of the middle section of the curve."""


def both(simulated: Floats, observed: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return simulated and observed values of the days on which there are both, and these days' positions."""
    days = np.flatnonzero(np.isfinite(simulated) & np.isfinite(observed))
    return simulated[days].astype(np.float64), observed[days].astype(np.float64), days


def log_nse(simulated: Floats, observed: Floats) -> float:
    """Return the Nash-Sutcliffe efficiency of log(flow + a hundredth of the mean observed flow).

    The small constant lets days of no flow count: Pushpalatha et al. (2012), doi:10.1016/j.jhydrol.2011.11.055.
    """
    s, o, _ = both(simulated, observed)
    if not o.size or not o.mean() > 0:
        return float("nan")
    constant = o.mean() / 100
    s, o = np.log(np.maximum(s, 0) + constant), np.log(np.maximum(o, 0) + constant)
    spread = np.square(o - o.mean()).sum()
    return float(1 - np.square(s - o).sum() / spread) if spread > 0 else float("nan")


def fhv(simulated: Floats, observed: Floats) -> float:
    """Return the bias of the highest 2 % of flows in percent: Yilmaz et al. (2008), doi:10.1029/2007WR006716."""
    s, o, _ = both(simulated, observed)
    number = round(HIGH * len(o))
    top_s, top_o = _duration_curve(s)[:number], _duration_curve(o)[:number]
    return float(100 * (top_s - top_o).sum() / top_o.sum()) if top_o.sum() > 0 else float("nan")


def fms(simulated: Floats, observed: Floats) -> float:
    """Return the bias of the slope of the flow duration curve's middle section in percent (Yilmaz et al. 2008).

    The slope is that between the logarithms of the flows which 20 % and 70 % of the days exceed.
    """
    s, o, _ = both(simulated, observed)
    if not o.size:
        return float("nan")
    high, low = (min(round(share * len(o)), len(o) - 1) for share in MIDDLE)
    slope_s, slope_o = (curve[high] - curve[low] for curve in (_log_curve(s), _log_curve(o)))
    return float(100 * (slope_s - slope_o) / slope_o) if slope_o > 0 else float("nan")


def flv(simulated: Floats, observed: Floats) -> float:
    """Return the bias of the volume of the lowest 30 % of flows, on a logarithmic scale, in percent.

    Yilmaz et al. (2008). Positive: the simulated low flows rise less above their lowest than the observed ones do.
    """
    s, o, _ = both(simulated, observed)
    number = round(LOW * len(o))
    if not number:
        return float("nan")
    volume_s, volume_o = ((curve - curve.min()).sum() for curve in (_log_curve(s)[-number:], _log_curve(o)[-number:]))
    return float(-100 * (volume_s - volume_o) / volume_o) if volume_o > 0 else float("nan")


def _duration_curve(flow: Floats) -> Floats:
    return np.sort(flow)[::-1]


def _log_curve(flow: Floats) -> Floats:
    curve = _duration_curve(flow)
    logarithm: Floats = np.log(np.where(curve > 0, curve, LEAST))
    return logarithm


def peak_timing(simulated: Floats, observed: Floats, *, window: int = 3) -> float:
    """Return by how many days simulated peaks miss the observed ones, on average, early or late.

    Observed peaks stand out by a standard deviation at least and lie 100 days apart. Where the simulation has no peak
    of its own on the day, its highest day within ``window`` days is taken. Peaks beside a gap are left out.
    Kratzert et al. (2021), doi:10.5194/hess-25-2685-2021, appendix B.
    """
    s, o, days = both(simulated, observed)
    errors = []
    for peak in find_peaks(o, distance=100, prominence=np.std(o) if o.size else 0.0)[0]:
        if not _whole(days, peak, window):
            continue
        if s[peak] > max(s[peak - 1], s[peak + 1]):
            errors.append(0)
        else:
            errors.append(abs(int(np.argmax(s[peak - window : peak + window + 1])) - window))
    return float(np.mean(errors)) if errors else float("nan")


def missed_peaks(simulated: Floats, observed: Floats, *, window: int = 1) -> float:
    """Return the share of observed peaks without a simulated one within ``window`` days.

    Peaks of either series lie above its own 80th percentile, 30 days apart. Peaks beside a gap are left out
    (NeuralHydrology counts them as found).
    """
    s, o, days = both(simulated, observed)
    if not o.size:
        return float("nan")
    peaks_s, peaks_o = (find_peaks(flow, distance=30, height=np.percentile(flow, 80))[0] for flow in (s, o))
    missed = [not (np.abs(peaks_s - peak) <= window).any() for peak in peaks_o if _whole(days, peak, window)]
    return float(np.mean(missed)) if missed else float("nan")


def _whole(days: NDArray[np.int64], position: int, window: int) -> bool:
    """Return whether the days around a position follow each other without a gap."""
    first, last = position - window, position + window
    return bool(first >= 0 and last < len(days) and days[last] - days[first] == 2 * window)


SCORES = {
    "log_nse": log_nse,
    "fhv": fhv,
    "fms": fms,
    "flv": flv,
    "peak_timing": peak_timing,
    "missed_peaks": missed_peaks,
}
"""By the name of the score."""
