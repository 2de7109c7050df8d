"""Flow of other gauges as a guess: the nearest one, and a mean of the nearest by inverse distance.

Depths of flow (mm/day) need no scaling by area: the same depth over another area is the flow scaled by area.
Shapes: C catchments, T days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    order = np.argsort(away, axis=1)[:, : min(NEAREST, int(usable.sum()))]
    near = np.take_along_axis(away, order, axis=1)
    weight = np.where(np.isfinite(near), 1 / np.maximum(near, LEAST_KM), 0)[..., None]
    values = flow[order]  # [C, nearest, T]
    there = np.isfinite(values) & (weight > 0)
    total = np.where(there, weight, 0).sum(1)
    mean = np.where(there, weight * np.nan_to_num(values), 0).sum(1)
    inverse = np.divide(mean, total, out=np.full(flow.shape, np.nan), where=total > 0)
    nearest = np.where(np.isfinite(near[:, :1]), values[:, 0], np.nan)
    return {"nearest": nearest, "inverse_distance": inverse}
