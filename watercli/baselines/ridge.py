"""Linear probes: ridge regressions from features to a target; validation chooses their penalty, and a space for it.

A regression on the logarithm or the root of flow extrapolates without bound, and one such day decides a gauge's
efficiency. Predictions are therefore held to the range of the flow that was fitted, widened by its own width on both
sides (`Task.bounds`): flow to about twice its training maximum.
Shapes: C catchments, N dates (training, validation and test one after the other), F features, A penalties, S spaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from watercli.baselines.attributes import filled
from watercli.hydrology.scores import nse
from watercli.log import log, track
from watercli.transforms import Transform

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
MAX_SHARED_ROWS = 50_000
"""Training rows of the regression that all catchments share; more are thinned out evenly."""


@dataclass(frozen=True)
class Task:
    """The flow that a probe learns, whatever its features."""

    physical: Floats
    """The target in physical units, ``[C, N]``, NaN where not observed."""
    complete: Flags
    """``[C, N]``: every input of the date is observed; no other row is fitted or predicted."""
    train: slice
    validation: slice
    test: slice
    """Positions along N."""
    chosen: Flags
    """``[C]``: catchments with enough training rows to be fitted and scored."""
    spaces: Mapping[str, Transform]
    """Transforms of the target by name: a regression is linear in one of them."""
    floor: float
    """Least value that is simulated."""
    alphas: Sequence[float]

    @property
    def rows(self) -> Flags:
        """Training rows ``[C, N of training]``."""
        return self.complete[:, self.train] & np.isfinite(self.physical[:, self.train]) & self.chosen[:, None]

    @property
    def later(self) -> slice:
        """Validation and test, along N."""
        return slice(self.train.stop, None)

    def bounds(self, fitted: Floats) -> Floats:
        """Return the least and the greatest prediction of a regression on physical values ``[rows]``, ``[2, S]``.

        They lie as far beyond the range of these values as it is wide, and are those of every space.
        """
        low, high = float(fitted.min()), float(fitted.max())
        return self.transformed(np.array([2 * low - high, 2 * high - low]))

    def empty(self) -> Floats:
        """Return an array for predictions, ``[A, S, C, later]`` of NaN."""
        shape = len(self.alphas), len(self.spaces), *self.physical[:, self.later].shape
        return np.full(shape, np.nan, dtype=np.float32)

    def transformed(self, values: Floats) -> Floats:
        """Return physical values ``[rows]`` in every space, ``[rows, S]``."""
        return np.stack([space.forward(values) for space in self.spaces.values()], axis=-1)

    def inverse(self, predictions: Floats) -> Floats:
        """Return predictions ``[A, S, ...]`` of every space in physical units."""
        physical = [space.inverse(predictions[:, number]) for number, space in enumerate(self.spaces.values())]
        return np.maximum(np.stack(physical, axis=1), self.floor)


@dataclass(frozen=True)
class Fitted:
    """A probe's predictions for the test dates, and the penalty that the validation dates chose."""

    simulated: Floats
    """``[C, N of test]`` in physical units, NaN where the row is not complete or the catchment was not fitted."""
    alpha: float | None = None
    """None: it has no penalty."""
    space: str | None = None
    """Name of the space in which it is linear."""
    validation_nse: float | None = None
    """Median over catchments."""
    validated: tuple[Floats, Floats] | None = None
    """Simulated and observed target of the validation dates, ``[C, N of validation]`` in physical units."""


def fit_each_gauge(features: Floats, task: Task) -> Fitted:
    """Fit one regression for each catchment on its own training rows of ``features`` ``[C, N, F]``.

    One thread: the matrices are small, and threads that wait for a busy core made this ten times slower.
    """
    predictions, rows, later = task.empty(), task.rows, task.later
    with threadpool_limits(1):
        for c in track(np.flatnonzero(task.chosen), "probe"):
            x, y = features[c, task.train][rows[c]], task.physical[c, task.train][rows[c]]
            dates = task.complete[c, later]
            if dates.any():
                predictions[:, :, c, dates] = _Ridges.fit(x, y, task).predict(features[c, later][dates])
    return _choose(predictions, task)


def fit_all_gauges(features: Floats, static: Floats, task: Task) -> Fitted:
    """Fit one regression to all rows of ``features`` ``[C, N, F]``, attributes ``static`` ``[C, K]`` appended.

    Those are NaN where missing, which is said beside them.
    """
    predictions, later = task.empty(), task.later
    static = filled(torch.from_numpy(static)).numpy()
    catchment, date = np.nonzero(task.rows)
    thin = np.linspace(0, len(date) - 1, min(len(date), MAX_SHARED_ROWS)).round().astype(np.int64)
    catchment, date = catchment[thin], date[thin] + task.train.start
    x = np.concatenate([features[catchment, date], static[catchment]], axis=1)
    ridges = _Ridges.fit(x, task.physical[catchment, date], task)
    for c in np.flatnonzero(task.chosen):
        dates = task.complete[c, later]
        if not dates.any():
            continue
        x = features[c, later][dates]
        x = np.concatenate([x, np.broadcast_to(static[c], (len(x), static.shape[1]))], axis=1)
        predictions[:, :, c, dates] = ridges.predict(x)
    return _choose(predictions, task)


@dataclass(frozen=True)
class _Ridges:
    """Ridge regressions of several penalties to a target in several spaces, on standardised features."""

    scaler: StandardScaler
    fits: list[Ridge]
    bounds: Floats
    """Least and greatest prediction, ``[2, S]``."""

    @classmethod
    def fit(cls, x: Floats, physical: Floats, task: Task) -> _Ridges:
        scaler = StandardScaler()
        standard = scaler.fit_transform(x.astype(np.float64))
        y = task.transformed(physical).astype(np.float64)
        return cls(scaler, [Ridge(alpha).fit(standard, y) for alpha in task.alphas], task.bounds(physical))

    def predict(self, x: Floats) -> Floats:
        """Return ``[A, S, rows]`` of ``[rows, F]``, within the bounds."""
        standard = self.scaler.transform(x.astype(np.float64))
        predicted = np.stack([ridge.predict(standard).reshape(len(x), -1).T for ridge in self.fits])
        low, high = self.bounds
        bounded: Floats = np.clip(predicted, low[:, None], high[:, None])
        return bounded


def _choose(predictions: Floats, task: Task) -> Fitted:
    """Take penalty and space of the highest median efficiency on the validation dates; of ``[A, S, C, later]``."""
    physical = task.inverse(predictions)
    validated = task.validation.stop - task.validation.start
    candidates = physical.reshape(-1, *physical.shape[2:])
    scores = validation_scores(candidates[..., :validated], task.physical[:, task.validation])
    if np.isfinite(scores).any():
        best = int(np.nanargmax(scores))
    else:
        best = len(task.alphas) // 2 * len(task.spaces)
        log.warning("No validation day can be scored; penalty and transform of the ridge are the middle ones")
    alpha, space = divmod(best, len(task.spaces))
    return Fitted(
        candidates[best, :, validated:],
        task.alphas[alpha],
        list(task.spaces)[space],
        float(scores[best]),
        (candidates[best, :, :validated], task.physical[:, task.validation]),
    )


def validation_scores(simulated: Floats, observed: Floats) -> Floats:
    """Return the median NSE over catchments of each candidate, ``[K]``, from ``[K, C, days]`` and ``[C, days]``."""
    scores = nse(
        xr.DataArray(simulated, dims=("candidate", "catchment", "time")),
        xr.DataArray(observed, dims=("catchment", "time")),
    )
    return np.asarray(scores.median("catchment").values, dtype=np.float64)
