"""The methods that learn from no embedding: the model's own simulation, and what it is compared with.

Shapes: C catchments, T test days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from watercli.baselines.context import Floats, Scene
from watercli.baselines.ema_mlp import moving_average
from watercli.baselines.fine_tuning import simulate_tuned
from watercli.baselines.gr4j import forcing, gr4j
from watercli.baselines.lstm import lstm
from watercli.baselines.mlp import Regional
from watercli.baselines.neighbours import corrected, distances, from_neighbours
from watercli.data.blocks import series_blocks
from watercli.hydrology.climatology import Climatology
from watercli.log import log


def _simulation(scene: Scene) -> Floats:
    return scene.simulated[:, scene.of_simulated(scene.test)]


def _kept(scene: Scene, kind: str, about: dict[str, Any], make: Callable[[], Floats]) -> Floats:
    """Return ``[C, T]`` from the cache, made first if it is not there; ``about`` says all that it depends on."""

    def fill(array: Floats) -> None:
        array[:] = make()

    shape = len(scene.store.gauge_ids), scene.test.stop - scene.test.start
    return scene.cache.filled(kind, {**about, "days": [scene.test.start, scene.test.stop]}, shape, fill)


def _tuned(scene: Scene, *, scratch: bool) -> Floats:
    steps = scene.settings.fine_tune_steps
    return _kept(
        scene,
        "from_scratch" if scratch else "fine_tuned",
        scene.about_model(steps=steps),
        lambda: simulate_tuned(
            scene.checkpoint, scene.store, scene.target, scene.test, steps, scratch=scratch, device=scene.device
        ),
    )


def _corrected(scene: Scene) -> Floats | None:
    if not _placed(scene):
        return None
    days = scene.simulated_days
    return corrected(
        distances(scene.store),
        scene.simulated,
        scene.flow[:, days],
        ~scene.unseen,
        scene.of_simulated(scene.store.period("validation")),
    )[:, scene.of_simulated(scene.test)]


def _regional(
    scene: Scene, kind: str, method: Callable[[Floats, Regional, slice, int], Floats], steps: int
) -> Floats | None:
    """Return what a method that learns from all gauges at once says; None if the store has no flow to learn from."""
    if not np.isfinite(scene.seen_flow[:, scene.store.period("train")]).any():
        return None
    about = scene.about(steps=steps)
    return _kept(scene, kind, about, lambda: method(scene.weather_of_model, scene.regional, scene.test, steps))


def _gr4j(scene: Scene) -> Floats | None:
    config, days = scene.checkpoint.config, slice(0, scene.store.period("test").stop)
    if config.modalities[scene.target].units != "mm/day":
        log.warning("GR4J is left out: '%s' is not in mm/day", scene.target)
        return None
    weather = forcing(scene.store, config, scene.checkpoint.scaling, scene.embedder.modalities, days)
    if isinstance(weather, str):
        log.warning("GR4J is left out: %s", weather)
        return None
    away = distances(scene.store) if _placed(scene) else np.ones((len(scene.flow),) * 2)
    donors = np.argsort(np.where(scene.unseen, np.inf, away), axis=1, kind="stable")

    flow, train = scene.seen_flow[:, days], scene.store.period("train")
    return _kept(
        scene,
        "gr4j",
        scene.about(),
        lambda: gr4j(weather, scene.store.times[days], flow, train, scene.test, donors),
    )


def _nearest(scene: Scene) -> Floats | None:
    if not _placed(scene):
        return None
    return from_neighbours(scene.store, scene.flow[:, scene.test], ~scene.unseen)["nearest"]


def _inverse_distance(scene: Scene) -> Floats | None:
    if not _placed(scene):
        return None
    return from_neighbours(scene.store, scene.flow[:, scene.test], ~scene.unseen)["inverse_distance"]


def _climatology(scene: Scene) -> Floats:
    store = scene.store
    own = Climatology.of(series_blocks(store, scene.target, store.period("train")), len(store.gauge_ids))
    return own.at(store.times[scene.test]).T


def _persistence(scene: Scene) -> Floats:
    earlier = pd.DataFrame(scene.flow.T).ffill().shift(1)
    return earlier.to_numpy()[scene.test].T


def _placed(scene: Scene) -> bool:
    """Return whether there are neighbours, and it is known where."""
    usable = (~scene.unseen).sum()
    return usable > 1 and {"latitude", "longitude"} <= set(scene.store.dataset.variables)


RIVALS: Mapping[str, Callable[[Scene], Floats | None]] = {
    "simulation": _simulation,
    "fine_tuned": lambda scene: _tuned(scene, scratch=False),
    "from_scratch": lambda scene: _tuned(scene, scratch=True),
    "corrected": _corrected,
    "moving_average": lambda scene: _regional(
        scene, "moving_average", moving_average, scene.settings.moving_average_steps
    ),
    "lstm": lambda scene: _regional(scene, "lstm", lstm, scene.settings.lstm_steps),
    "gr4j": _gr4j,
    "nearest": _nearest,
    "inverse_distance": _inverse_distance,
    "climatology": _climatology,
    "persistence": _persistence,
}
"""Each returns ``[C, T]`` in physical units, NaN where it has no answer; None where it cannot be had at all."""
