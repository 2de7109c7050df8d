"""Flow of other gauges as a guess: the nearest one, and a mean of the nearest by inverse distance.

Depths of flow (mm/day) need no scaling by area: the same depth over another area is the flow scaled by area.
Shapes: C catchments, T days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli.baselines.correction import Correction
from watercli.store import Store

Floats = NDArray[np.floating[Any]]
NEAREST = 5
LEAST_KM = 1.0
"""Nearer gauges count as this far away."""


def distances(store: Store) -> Floats:
    """Return the distances between the store's gauges in km, ``[C, C]``, infinite from a gauge to itself."""
    latitude, longitude = (np.deg2rad(store.dataset[name].values.astype(float)) for name in ("latitude", "longitude"))
    half = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half = half + np.cos(latitude[:, None]) * np.cos(latitude) * np.sin((longitude[:, None] - longitude) / 2) ** 2
    found: Floats = 2 * 6371.0 * np.arcsin(np.sqrt(half.clip(0, 1)))
    np.fill_diagonal(found, np.inf)
    return found


def from_neighbours(store: Store, flow: Floats, usable: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return ``nearest`` and ``inverse_distance``, ``[C, T]`` each.

    Parameters
    ----------
    flow
        Observed flow of all gauges on the same days, ``[C, T]``.
    usable
        ``[C]``: gauges that may be drawn from; those hidden in training may not.
    """
    away = np.where(usable, distances(store), np.inf)
    first = away.argmin(1)
    nearest = np.where(np.isfinite(away.min(1, keepdims=True)), flow[first], np.nan)
    return {"nearest": nearest, "inverse_distance": _weighted(away, flow, usable)}


def _weighted(away: Floats, values: Floats, usable: NDArray[np.bool_]) -> Floats:
    """Return means of the nearest usable gauges' values by inverse distance, ``[C, T]``; NaN where none has one."""
    away = np.where(usable, away, np.inf)
    order = np.argsort(away, axis=1)[:, : min(NEAREST, int(usable.sum()))]
    near = np.take_along_axis(away, order, axis=1)
    weight = np.where(np.isfinite(near), 1 / np.maximum(near, LEAST_KM), 0)[..., None]
    there = np.isfinite(values[order]) & (weight > 0)  # [C, nearest, T]
    total = np.where(there, weight, 0).sum(1)
    mean = np.where(there, weight * np.nan_to_num(values[order]), 0).sum(1)
    found: Floats = np.divide(mean, total, out=np.full(values.shape, np.nan), where=total > 0)
    return found


def corrected(
    away: Floats, simulated: Floats, flow: Floats, usable: NDArray[np.bool_], validation: slice
) -> NDArray[np.float32]:
    """Return a simulation, corrected by how wrong it is at the nearest gauges on the same day, ``[C, T]``.

    The logarithms of their relative errors are averaged by inverse distance, and a share of that mean corrects the
    simulation, as `Correction.by` does it; each gauge is corrected without its own flow.

    Parameters
    ----------
    away
        Distances ``[C, C]`` in km, infinite from a gauge to itself.
    simulated, flow
        ``[C, T]`` of the same days; flow NaN where not observed.
    usable
        ``[C]``: gauges whose flow may be seen.
    validation
        Days, along T, on which the share is chosen.
    """
    correction = Correction.of(simulated, flow, usable)
    return correction.by(np.nan_to_num(_weighted(away, correction.error, usable)), validation)
