"""Scores: additive sums that merge exactly, and efficiencies per catchment from the ``scores`` library.

Every score is taken over an explicit set of values; what was not observed is never part of it.
Shapes: M methods, C catchments, T days.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from scores import continuous

from watercli.hydrology import hydrograph

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

METRICS = {
    "nse": "Nash-Sutcliffe efficiency (Nash and Sutcliffe 1970)",
    "kge": "Kling-Gupta efficiency (Gupta et al. 2009)",
    "r": "r of the KGE: linear correlation",
    "alpha": "alpha of the KGE: simulated over observed standard deviation",
    "beta": "beta of the KGE: simulated over observed mean",
    "rmse": "root mean squared error",
    "bias": "mean of simulated minus observed",
    "kge_2012": "modified Kling-Gupta efficiency (Kling et al. 2012)",
    "gamma": "gamma of the modified KGE: simulated over observed coefficient of variation",
    "log_nse": "NSE of log(flow + a hundredth of its mean) (Pushpalatha et al. 2012)",
    "fhv": "bias of the highest 2 % of flows (Yilmaz et al. 2008)",
    "fms": "bias of the slope of the middle of the flow duration curve (Yilmaz et al. 2008)",
    "flv": "bias of the volume of the lowest 30 % of flows, logarithmic (Yilmaz et al. 2008)",
    "peak_timing": "mean distance in time between observed and simulated peaks (Kratzert et al. 2021)",
    "missed_peaks": "share of observed peaks without a simulated one within a day",
}
"""Scores per catchment."""
METRIC_UNITS = {"rmse": "flow", "bias": "flow", "fhv": "%", "fms": "%", "flv": "%", "peak_timing": "day"}
"""Units; ``flow`` stands for those of the target, what is not named has none."""
LEAST_CATCHMENTS = 3
"""From so many on, catchments have an interval, and one method may be said to beat another."""
LEAST_VARIATION = 1e-6
"""Share of its greatest value by which a flow must vary to have an efficiency: single precision varies by itself."""
RESAMPLES = 2000
"""Bootstrap samples behind an interval."""


def metric_units(name: str, units: str) -> str:
    """Return the units of a score of a target in ``units``."""
    own = METRIC_UNITS.get(name, "1")
    return units if own == "flow" else own


@dataclass(frozen=True)
class Sums:
    """Sums over scored values: those of two batches add up to those of both."""

    count: int = 0
    error: float = 0.0
    """Of predicted minus observed."""
    absolute: float = 0.0
    squared: float = 0.0

    @classmethod
    def of(cls, predicted: Floats, observed: Floats, scored: Flags) -> Sums:
        """Sum up the values marked ``scored``; arrays of one shape, the rest of them is not looked at."""
        error = (predicted[scored].astype(np.float64) - observed[scored]).astype(np.float64)
        assert np.isfinite(error).all(), "a scored value is not finite"
        return cls(error.size, float(error.sum()), float(np.abs(error).sum()), float(np.square(error).sum()))

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.count + other.count,
            self.error + other.error,
            self.absolute + other.absolute,
            self.squared + other.squared,
        )

    @property
    def rmse(self) -> float:
        """Root mean squared error; NaN of nothing."""
        return float(np.sqrt(self.squared / self.count)) if self.count else float("nan")

    @property
    def mae(self) -> float:
        """Mean absolute error; NaN of nothing."""
        return self.absolute / self.count if self.count else float("nan")

    @property
    def bias(self) -> float:
        """Mean of predicted minus observed; NaN of nothing."""
        return self.error / self.count if self.count else float("nan")

    def skill(self, reference: Sums) -> float:
        """Return 1 - squared error / that of the reference: 1 perfect, 0 no better than the reference."""
        return 1 - self.squared / reference.squared if reference.squared else float("nan")


def nse(simulated: xr.DataArray, observed: xr.DataArray) -> xr.DataArray:
    """Return the Nash-Sutcliffe efficiency over ``time``: 1 - sum (s - o)^2 / sum (o - mean o)^2.

    Nash and Sutcliffe (1970), doi:10.1016/0022-1694(70)90255-6. Days on which either is NaN are left out;
    NaN where the observed values do not vary.
    """
    with _without_warnings():
        efficiency: xr.DataArray = continuous.nse(simulated, observed.where(varies(observed)), reduce_dims="time")
    return efficiency.where(np.isfinite(efficiency))


def kge(simulated: xr.DataArray, observed: xr.DataArray, method: Literal["2009", "2012"] = "2009") -> xr.Dataset:
    """Return the Kling-Gupta efficiency over ``time`` and its components; NaN where either series does not vary."""
    with _without_warnings():
        parts: xr.Dataset = continuous.kge(
            simulated, observed.where(varies(observed)), reduce_dims="time", include_components=True, method=method
        )
    return parts.map(lambda part: part.where(np.isfinite(part)))


def varies(observed: xr.DataArray) -> xr.DataArray:
    """Return whether a series varies over ``time``: one that is always the same has no efficiency."""
    spread = observed.max("time") - observed.min("time")
    moves: xr.DataArray = spread > LEAST_VARIATION * abs(observed).max("time")
    return moves


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Divide by nothing without a word: the result is NaN, and is counted."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        yield


def catchment_scores(simulated: xr.DataArray, observed: xr.DataArray) -> xr.DataArray:
    """Score every method in every catchment over the days that are observed.

    Parameters
    ----------
    simulated
        ``(method, catchment, time)``; must be finite wherever ``observed`` is, so that all methods are scored on the
        same days. A catchment that a method left out altogether is NaN throughout.
    observed
        ``(catchment, time)``, NaN on days that are not scored.

    Returns
    -------
    xr.DataArray
        ``(metric, method, catchment)``, see `METRICS`. KGE and its components: Gupta et al. (2009),
        doi:10.1016/j.jhydrol.2009.08.003; Kling et al. (2012), doi:10.1016/j.jhydrol.2012.01.011.
    """
    scored = observed.notnull()
    complete = (simulated.notnull() | ~scored).all("time")
    absent = (simulated.isnull() | ~scored).all("time")
    assert bool((complete | absent).all()), "methods would be scored on different days"
    gupta, kling = kge(simulated, observed), kge(simulated, observed, "2012")
    error = (simulated - observed).astype(np.float64)
    parts: list[xr.DataArray] = [
        nse(simulated, observed),
        *(gupta[name] for name in ("kge", "rho", "alpha", "beta")),
        (error**2).mean("time") ** 0.5,
        error.mean("time"),
        *(kling[name] for name in ("kge", "gamma")),
        *(_of_hydrographs(score, simulated, observed) for score in hydrograph.SCORES.values()),
    ]
    metric = xr.DataArray(np.array(list(METRICS), dtype=object), dims="metric", name="metric")
    # An efficiency of something that does not vary, on either side, is no number.
    joined = xr.concat([part.where(np.isfinite(part)) for part in parts], metric, coords="minimal", compat="override")
    scores: xr.DataArray = joined.transpose("metric", "method", "catchment")
    return scores


def _of_hydrographs(
    score: Callable[[Floats, Floats], float], simulated: xr.DataArray, observed: xr.DataArray
) -> xr.DataArray:
    """Return a score of one pair of series for every method and catchment."""
    scores: xr.DataArray = xr.apply_ufunc(
        score, simulated, observed, input_core_dims=[["time"], ["time"]], vectorize=True, output_dtypes=[np.float64]
    )
    return scores


@dataclass(frozen=True)
class Summary:
    """A score over catchments."""

    median: float
    p25: float
    """25th percentile."""
    low: float
    high: float
    """Bootstrap 95 % interval of the median over catchments; NaN of fewer than `LEAST_CATCHMENTS`."""
    count: int


def summarise(values: Floats, seed: int) -> Summary:
    """Summarise a score ``[C]`` over the catchments that have it, which are counted."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        nan = float("nan")
        return Summary(nan, nan, nan, nan, 0)
    low, high = bootstrap_interval(known, seed) if known.size >= LEAST_CATCHMENTS else (float("nan"), float("nan"))
    return Summary(float(np.median(known)), float(np.percentile(known, 25)), low, high, known.size)


def bootstrap_interval(values: Floats, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of the median of ``[C]`` values (Efron and Tibshirani 1993, chapter 13)."""
    rng = np.random.default_rng(seed)
    medians = np.median(values[rng.integers(len(values), size=(RESAMPLES, len(values)))], axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


UNDECIDED = "cannot be distinguished from"
"""Verdict on two methods whose interval of the median difference holds 0."""
TOO_FEW = "cannot be compared with"
"""Verdict on two methods over fewer than `LEAST_CATCHMENTS`."""


@dataclass(frozen=True)
class Comparison:
    """One method against another, catchment by catchment."""

    better: int
    """Catchments in which the first has the higher score."""
    count: int
    """Catchments in which both have one."""
    difference: Summary
    p_value: float
    """Of Wilcoxon's signed-rank test (1945, doi:10.2307/3001968), two-sided: how often methods of equal skill would
    differ as much, were the catchments independent, which neighbours are not. NaN of too few."""

    @property
    def verdict(self) -> str:
        """``beats``, ``loses to``, `UNDECIDED` or `TOO_FEW`, by the interval of the median difference."""
        if self.count < LEAST_CATCHMENTS:
            return TOO_FEW
        if self.difference.low > 0:
            return "beats"
        return "loses to" if self.difference.high < 0 else UNDECIDED


def compare(first: Floats, second: Floats, seed: int) -> Comparison:
    """Compare the scores ``[C]`` of two methods over the catchments in which both have one."""
    difference = np.asarray(first, dtype=np.float64) - second
    known = difference[np.isfinite(difference)]
    p_value = float(wilcoxon(known).pvalue) if known.any() else 1.0
    p_value = p_value if known.size >= LEAST_CATCHMENTS else float("nan")
    return Comparison(int((known > 0).sum()), known.size, summarise(known, seed), p_value)
