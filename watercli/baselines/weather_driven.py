"""The methods that learn from no embedding: the model's own simulation, and what it is compared with.

Shapes: C catchments, T test days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from watercli.baselines.context import Context, Floats
from watercli.baselines.ema_mlp import ema_mlp
from watercli.baselines.fine_tuning import simulate_fine_tuned
from watercli.baselines.gr4j import forcing, gr4j
from watercli.baselines.lstm import lstm
from watercli.baselines.mlp import Regional
from watercli.baselines.neighbours import corrected, distances, from_neighbours
from watercli.data.blocks import series_blocks
from watercli.hydrology.climatology import Climatology
from watercli.log import log


def _simulation(context: Context) -> Floats:
    return context.simulated[:, context.of_simulated(context.test)]


def _kept(context: Context, kind: str, about: dict[str, Any], make: Callable[[], Floats]) -> Floats:
    """Return ``[C, T]`` from the cache, made first if it is not there; ``about`` says all that it depends on."""

    def fill(array: Floats) -> None:
        array[:] = make()

    shape = len(context.store.gauge_ids), context.test.stop - context.test.start
    return context.cache.filled(kind, {**about, "days": [context.test.start, context.test.stop]}, shape, fill)


def _tuned(context: Context, *, scratch: bool) -> Floats:
    steps = context.settings.fine_tune_steps
    return _kept(
        context,
        "from_scratch" if scratch else "fine_tuned",
        context.about_model(steps=steps),
        lambda: simulate_fine_tuned(
            context.checkpoint,
            context.store,
            context.target,
            context.test,
            steps,
            scratch=scratch,
            device=context.device,
        ),
    )


def _corrected(context: Context) -> Floats | None:
    if not _placed(context):
        return None
    days = context.simulated_days
    return corrected(
        distances(context.store),
        context.simulated,
        context.flow[:, days],
        ~context.unseen,
        context.of_simulated(context.store.period("validation")),
    )[:, context.of_simulated(context.test)]


def _regional(
    context: Context, kind: str, method: Callable[[Floats, Regional, slice, int], Floats], steps: int
) -> Floats | None:
    """Return what a method that learns from all gauges at once says; None if the store has no flow to learn from."""
    if not np.isfinite(context.seen_flow[:, context.store.period("train")]).any():
        return None
    about = context.about(steps=steps)
    return _kept(context, kind, about, lambda: method(context.weather_of_model, context.regional, context.test, steps))


def _gr4j(context: Context) -> Floats | None:
    config, days = context.checkpoint.config, context.days
    if config.modalities[context.target].units != "mm/day":
        log.warning("GR4J is left out: '%s' is not in mm/day", context.target)
        return None
    weather = forcing(context.store, config, context.checkpoint.scaling, context.embedder.modalities, days)
    if isinstance(weather, str):
        log.warning("GR4J is left out: %s", weather)
        return None
    away = distances(context.store) if _placed(context) else np.ones((len(context.flow),) * 2)
    donors = np.argsort(np.where(context.unseen, np.inf, away), axis=1, kind="stable")

    flow, train = context.seen_flow[:, days], context.store.period("train")
    return _kept(
        context,
        "gr4j",
        context.about(),
        lambda: gr4j(weather, context.store.times[days], flow, train, context.test, donors),
    )


def _nearest(context: Context) -> Floats | None:
    if not _placed(context):
        return None
    return from_neighbours(context.store, context.flow[:, context.test], ~context.unseen)["nearest"]


def _inverse_distance(context: Context) -> Floats | None:
    if not _placed(context):
        return None
    return from_neighbours(context.store, context.flow[:, context.test], ~context.unseen)["inverse_distance"]


def _climatology(context: Context) -> Floats:
    store = context.store
    own = Climatology.of(series_blocks(store, context.target, store.period("train")), len(store.gauge_ids))
    return own.at(store.times[context.test]).T


def _persistence(context: Context) -> Floats:
    earlier = pd.DataFrame(context.flow.T).ffill().shift(1)
    return earlier.to_numpy()[context.test].T


def _placed(context: Context) -> bool:
    """Return whether there are neighbours, and it is known where."""
    usable = (~context.unseen).sum()
    return usable > 1 and {"latitude", "longitude"} <= set(context.store.dataset.variables)


RIVALS: Mapping[str, Callable[[Context], Floats | None]] = {
    "simulation": _simulation,
    "fine_tuned": lambda context: _tuned(context, scratch=False),
    "from_scratch": lambda context: _tuned(context, scratch=True),
    "neighbour_correction": _corrected,
    "ema_mlp": lambda context: _regional(context, "ema_mlp", ema_mlp, context.settings.ema_mlp_steps),
    "lstm": lambda context: _regional(context, "lstm", lstm, context.settings.lstm_steps),
    "gr4j": _gr4j,
    "nearest": _nearest,
    "inverse_distance": _inverse_distance,
    "climatology": _climatology,
    "persistence": _persistence,
}
"""Each returns ``[C, T]`` in physical units, NaN where it has no answer; None where it cannot be had at all."""
