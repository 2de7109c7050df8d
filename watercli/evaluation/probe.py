"""Linear probes: ridge regressions from features to a standardised target.

Shapes: C catchments, N dates (training, validation and test one after the other), F features, A penalties.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from watercli.evaluation.metrics import nse
from watercli.log import log

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
MOST_SHARED_ROWS = 50_000
"""Training rows of the regression that all catchments share; more are thinned out evenly."""


@dataclass(frozen=True)
class Task:
    """What a probe is to learn, whatever its features."""

    target: Floats
    """``[C, N]`` standardised, NaN where not observed."""
    physical: Floats
    """The same in physical units, ``[C, N]``."""
    complete: Flags
    """``[C, N]``: every input of the date is there; no other row is fitted or predicted."""
    train: slice
    validation: slice
    test: slice
    """Positions along N."""
    chosen: Flags
    """``[C]``: catchments with enough training rows to be fitted and scored."""
    inverse: Callable[[Floats], Floats]
    """Standardised target to physical units."""
    alphas: Sequence[float]

    @property
    def rows(self) -> Flags:
        """Training rows ``[C, N of training]``."""
        return self.complete[:, self.train] & np.isfinite(self.target[:, self.train]) & self.chosen[:, None]


@dataclass(frozen=True)
class Fitted:
    """A probe's predictions for the test dates, and the penalty that the validation dates chose."""

    simulated: Floats
    """``[C, N of test]`` in physical units, NaN where the row is not complete or the catchment was not fitted."""
    alpha: float | None = None
    """None: it has no penalty."""
    validation_nse: float | None = None
    """Median over catchments."""
    validated: tuple[Floats, Floats] | None = None
    """Simulated and observed target of the validation dates, ``[C, N of validation]`` in physical units."""


def gauged(features: Floats, task: Task) -> Fitted:
    """Fit one regression for each catchment on its own training rows of ``features`` ``[C, N, F]``.

    One thread: the matrices are small, and threads that wait for a busy core made this ten times slower.
    """
    later = slice(task.train.stop, None)
    found = np.full((len(task.alphas), *task.target[:, later].shape), np.nan, dtype=np.float32)
    rows = task.rows
    with threadpool_limits(1):
        for c in np.flatnonzero(task.chosen):
            x, y = features[c, task.train][rows[c]], task.target[c, task.train][rows[c]]
            wanted = task.complete[c, later]
            if wanted.any():
                found[:, c, wanted] = _Ridges.fit(x, y, task.alphas).predict(features[c, later][wanted])
    return _choose(found, task)


def shared(features: Floats, static: Floats, task: Task) -> Fitted:
    """Fit one regression to all catchments' rows of ``features`` ``[C, N, F]`` with attributes ``[C, S]`` appended."""
    later = slice(task.train.stop, None)
    found = np.full((len(task.alphas), *task.target[:, later].shape), np.nan, dtype=np.float32)
    catchment, date = np.nonzero(task.rows)
    thin = np.linspace(0, len(date) - 1, min(len(date), MOST_SHARED_ROWS)).round().astype(np.int64)
    catchment, date = catchment[thin], date[thin] + task.train.start
    x = np.concatenate([features[catchment, date], static[catchment]], axis=1)
    ridges = _Ridges.fit(x, task.target[catchment, date], task.alphas)
    for c in np.flatnonzero(task.chosen):
        wanted = task.complete[c, later]
        if not wanted.any():
            continue
        here = features[c, later][wanted]
        here = np.concatenate([here, np.broadcast_to(static[c], (len(here), static.shape[1]))], axis=1)
        found[:, c, wanted] = ridges.predict(here)
    return _choose(found, task)


@dataclass(frozen=True)
class _Ridges:
    """Ridge regressions of several penalties on features that are standardised over the training rows."""

    scaler: StandardScaler
    fits: list[Ridge]

    @classmethod
    def fit(cls, x: Floats, y: Floats, alphas: Sequence[float]) -> _Ridges:
        scaler = StandardScaler()
        standard = scaler.fit_transform(x.astype(np.float64))
        return cls(scaler, [Ridge(alpha).fit(standard, y.astype(np.float64)) for alpha in alphas])

    def predict(self, x: Floats) -> Floats:
        """Return ``[A, rows]`` of ``[rows, F]``."""
        standard = self.scaler.transform(x.astype(np.float64))
        return np.stack([one.predict(standard) for one in self.fits])


def _choose(found: Floats, task: Task) -> Fitted:
    """Take the penalty of the highest median efficiency on the validation dates; ``found`` is ``[A, C, later]``."""
    physical = task.inverse(found)
    held_out = task.validation.stop - task.validation.start
    scores = validation_scores(physical[..., :held_out], task.physical[:, task.validation])
    if np.isfinite(scores).any():
        best = int(np.nanargmax(scores))
    else:
        best = len(task.alphas) // 2
        log.warning("No validation day can be scored; the ridge penalty is %g, chosen by nothing", task.alphas[best])
    validated = physical[best, :, :held_out], task.physical[:, task.validation]
    return Fitted(physical[best, :, held_out:], task.alphas[best], float(scores[best]), validated)


def validation_scores(simulated: Floats, observed: Floats) -> Floats:
    """Return the median NSE over catchments of each penalty, ``[A]``, from ``[A, C, days]`` and ``[C, days]``."""
    scores = nse(
        xr.DataArray(simulated, dims=("alpha", "catchment", "time")),
        xr.DataArray(observed, dims=("catchment", "time")),
    )
    return np.asarray(scores.median("catchment").values, dtype=np.float64)
