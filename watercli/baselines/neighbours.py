"""Methods that read other gauges on the day: the nearest, inverse-distance weighting, neighbour-error correction.

Depths of flow (mm/day) need no scaling by area: the same depth over another area is the flow scaled by area.
Shapes: C catchments, T days.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from watercli.baselines import wording
from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.correction import Correction
from watercli.baselines.method import Method
from watercli.hydrology.distances import great_circle_km
from watercli.store import Store

NEIGHBOURS = 5
"""Gauges that are averaged."""
MIN_KM = 1.0
"""Nearer gauges count as this far away."""


def distances(store: Store) -> Floats:
    """Return the distances between the store's gauges in km, ``[C, C]``, infinite from a gauge to itself."""
    latitude, longitude = (store.dataset[name].values.astype(np.float64) for name in ("latitude", "longitude"))
    km = great_circle_km(latitude, longitude)
    np.fill_diagonal(km, np.inf)
    return km


def nearest_gauge(km: Floats, flow: Floats, usable: Flags) -> Floats:
    """Return the flow of the nearest usable gauge, ``[C, T]``; NaN if there is none.

    Parameters
    ----------
    km
        Distances ``[C, C]``, infinite from a gauge to itself.
    flow
        Observed flow of all gauges on the same days, ``[C, T]``.
    usable
        ``[C]``: gauges whose flow may be seen; held-out gauges are not.
    """
    km = np.where(usable, km, np.inf)
    nearest: Floats = np.where(np.isfinite(km.min(1, keepdims=True)), flow[km.argmin(1)], np.nan)
    return nearest


def inverse_distance(km: Floats, values: Floats, usable: Flags) -> Floats:
    """Return means of the nearest usable gauges' values ``[C, T]`` by inverse distance; NaN where none has one.

    ``km`` may be some rows of the distances, ``[R, C]``: the means are then ``[R, T]``.
    """
    km = np.where(usable, km, np.inf)
    order = np.argsort(km, axis=1)[:, : min(NEIGHBOURS, int(usable.sum()))]
    near = np.take_along_axis(km, order, axis=1)
    weight = np.where(np.isfinite(near), 1 / np.maximum(near, MIN_KM), 0)[..., None]
    known = np.isfinite(values[order]) & (weight > 0)  # [C, nearest, T]
    total = np.where(known, weight, 0).sum(1)
    mean = np.where(known, weight * np.nan_to_num(values[order]), 0).sum(1)
    means: Floats = np.divide(mean, total, out=np.full(total.shape, np.nan), where=total > 0)
    return means


def correct_by_neighbours(
    km: Floats, simulated: Floats, flow: Floats, usable: Flags, validation: slice
) -> NDArray[np.float32]:
    """Return a simulation after neighbour-error correction, ``[C, T]``.

    The logarithms of the relative errors at the nearest gauges on the same day are averaged by inverse distance. A
    share of that mean is taken off the simulation, see `Correction.by`. No gauge's own flow is used.

    Parameters
    ----------
    km
        Distances ``[C, C]``, infinite from a gauge to itself.
    simulated, flow
        ``[C, T]`` of the same days; flow NaN where not observed.
    usable
        ``[C]``: gauges whose flow may be seen.
    validation
        Days, along T, on which the share is chosen.
    """
    correction = Correction.of(simulated, flow, usable)
    return correction.by(np.nan_to_num(inverse_distance(km, correction.error, usable)), validation)


def after_correction(context: Context, simulated: Floats | None) -> Floats | None:
    """Return a simulation ``[C, simulated_days]`` after neighbour-error correction; None without neighbours."""
    if simulated is None or not context.has_neighbours:
        return None
    return correct_by_neighbours(
        distances(context.store),
        simulated,
        context.flow[:, context.simulated_days],
        ~context.unseen,
        context.of_simulated(context.store.period("validation")),
    )


def _simulate_corrected(context: Context) -> Floats | None:
    return context.of_test(after_correction(context, context.simulated))


def _simulate_nearest(context: Context) -> Floats | None:
    if not context.has_neighbours:
        return None
    return nearest_gauge(distances(context.store), context.flow[:, context.test], ~context.unseen)


def _simulate_inverse_distance(context: Context) -> Floats | None:
    if not context.has_neighbours:
        return None
    return inverse_distance(distances(context.store), context.flow[:, context.test], ~context.unseen)


NEIGHBOUR_CORRECTION = Method(
    name="neighbour_correction",
    label="the simulation after neighbour-error correction",
    colour="#882255",
    saw=lambda context: (
        f"the simulation, and the {context.target} of the nearest {NEIGHBOURS} gauges on the day"
        f"{wording.held_out(context)}"
    ),
    simulate=_simulate_corrected,
    sees_other_gauges=True,
    in_distribution=False,
    in_summary=False,
)
NEAREST = Method(
    name="nearest",
    label="the nearest gauge",
    colour="#8C8C8C",
    line=":",
    saw=lambda context: f"the {context.target} of the nearest gauge on the day itself{wording.held_out(context)}",
    simulate=_simulate_nearest,
    sees_other_gauges=True,
    in_distribution=False,
    in_summary=False,
)
INVERSE_DISTANCE = Method(
    name="inverse_distance",
    label=f"the nearest {NEIGHBOURS} gauges, by inverse distance",
    colour="#5C5C5C",
    line="-.",
    saw=lambda context: (
        f"the {context.target} of the nearest {NEIGHBOURS} gauges on the day itself{wording.held_out(context)}"
    ),
    simulate=_simulate_inverse_distance,
    sees_other_gauges=True,
)
