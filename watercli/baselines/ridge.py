"""Linear probes: ridge regressions from features to a target; validation chooses their penalty, and a space for it.

Shapes: C catchments, N dates (training, validation and test one after the other), F features, A penalties, S spaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from watercli.hydrology.scores import nse
from watercli.log import log
from watercli.transforms import Transform

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
MOST_SHARED_ROWS = 50_000
"""Training rows of the regression that all catchments share; more are thinned out evenly."""


@dataclass(frozen=True)
class Task:
    """What a probe is to learn, whatever its features."""

    physical: Floats
    """The target in physical units, ``[C, N]``, NaN where not observed."""
    complete: Flags
    """``[C, N]``: every input of the date is there; no other row is fitted or predicted."""
    train: slice
    validation: slice
    test: slice
    """Positions along N."""
    chosen: Flags
    """``[C]``: catchments with enough training rows to be fitted and scored."""
    spaces: Mapping[str, Transform]
    """What the target may be transformed by, by name: a regression is linear in one of them."""
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

    def nothing(self) -> Floats:
        """Return what no probe has predicted yet, ``[A, S, C, later]`` of NaN."""
        shape = len(self.alphas), len(self.spaces), *self.physical[:, self.later].shape
        return np.full(shape, np.nan, dtype=np.float32)

    def transformed(self, values: Floats) -> Floats:
        """Return physical values ``[rows]`` in every space, ``[rows, S]``."""
        return np.stack([space.forward(values) for space in self.spaces.values()], axis=-1)

    def inverse(self, found: Floats) -> Floats:
        """Return predictions ``[A, S, ...]`` of every space in physical units."""
        back = [space.inverse(found[:, number]) for number, space in enumerate(self.spaces.values())]
        return np.maximum(np.stack(back, axis=1), self.floor)


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


def gauged(features: Floats, task: Task) -> Fitted:
    """Fit one regression for each catchment on its own training rows of ``features`` ``[C, N, F]``.

    One thread: the matrices are small, and threads that wait for a busy core made this ten times slower.
    """
    found, rows, later = task.nothing(), task.rows, task.later
    with threadpool_limits(1):
        for c in np.flatnonzero(task.chosen):
            x, y = features[c, task.train][rows[c]], task.transformed(task.physical[c, task.train][rows[c]])
            wanted = task.complete[c, later]
            if wanted.any():
                found[:, :, c, wanted] = _Ridges.fit(x, y, task.alphas).predict(features[c, later][wanted])
    return _choose(found, task)


def shared(features: Floats, static: Floats, task: Task) -> Fitted:
    """Fit one regression to all rows of ``features`` ``[C, N, F]``, attributes ``static`` ``[C, K]`` appended."""
    found, later = task.nothing(), task.later
    catchment, date = np.nonzero(task.rows)
    thin = np.linspace(0, len(date) - 1, min(len(date), MOST_SHARED_ROWS)).round().astype(np.int64)
    catchment, date = catchment[thin], date[thin] + task.train.start
    x = np.concatenate([features[catchment, date], static[catchment]], axis=1)
    ridges = _Ridges.fit(x, task.transformed(task.physical[catchment, date]), task.alphas)
    for c in np.flatnonzero(task.chosen):
        wanted = task.complete[c, later]
        if not wanted.any():
            continue
        here = features[c, later][wanted]
        here = np.concatenate([here, np.broadcast_to(static[c], (len(here), static.shape[1]))], axis=1)
        found[:, :, c, wanted] = ridges.predict(here)
    return _choose(found, task)


@dataclass(frozen=True)
class _Ridges:
    """Ridge regressions of several penalties to a target in several spaces, on standardised features."""

    scaler: StandardScaler
    fits: list[Ridge]

    @classmethod
    def fit(cls, x: Floats, y: Floats, alphas: Sequence[float]) -> _Ridges:
        scaler = StandardScaler()
        standard = scaler.fit_transform(x.astype(np.float64))
        return cls(scaler, [Ridge(alpha).fit(standard, y.astype(np.float64)) for alpha in alphas])

    def predict(self, x: Floats) -> Floats:
        """Return ``[A, S, rows]`` of ``[rows, F]``."""
        standard = self.scaler.transform(x.astype(np.float64))
        return np.stack([one.predict(standard).reshape(len(x), -1).T for one in self.fits])


def _choose(found: Floats, task: Task) -> Fitted:
    """Take penalty and space of the highest median efficiency on the validation dates; of ``[A, S, C, later]``."""
    physical = task.inverse(found)
    held_out = task.validation.stop - task.validation.start
    every = physical.reshape(-1, *physical.shape[2:])
    scores = validation_scores(every[..., :held_out], task.physical[:, task.validation])
    if np.isfinite(scores).any():
        best = int(np.nanargmax(scores))
    else:
        best = len(task.alphas) // 2 * len(task.spaces)
        log.warning("No validation day can be scored; penalty and transform of the ridge are chosen by nothing")
    alpha, space = divmod(best, len(task.spaces))
    return Fitted(
        every[best, :, held_out:],
        task.alphas[alpha],
        list(task.spaces)[space],
        float(scores[best]),
        (every[best, :, :held_out], task.physical[:, task.validation]),
    )


def validation_scores(simulated: Floats, observed: Floats) -> Floats:
    """Return the median NSE over catchments of each candidate, ``[K]``, from ``[K, C, days]`` and ``[C, days]``."""
    scores = nse(
        xr.DataArray(simulated, dims=("candidate", "catchment", "time")),
        xr.DataArray(observed, dims=("catchment", "time")),
    )
    return np.asarray(scores.median("catchment").values, dtype=np.float64)
