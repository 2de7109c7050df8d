"""The methods that learn from no embedding: the model's own simulation, and what it is compared with.

Shapes: C catchments, T test days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from watercli.evaluation.blocks import series_blocks
from watercli.evaluation.climatology import Climatology
from watercli.evaluation.conceptual import forcing, gr4j
from watercli.evaluation.fine_tuning import simulate_tuned
from watercli.evaluation.lstm import lstm
from watercli.evaluation.moving_average import moving_average
from watercli.evaluation.neighbours import corrected, distances, from_neighbours
from watercli.evaluation.scene import Floats, Scene
from watercli.log import log


def _simulation(scene: Scene) -> Floats:
    return scene.simulated[:, scene.of_simulated(scene.test)]


def _tuned(scene: Scene, kind: str) -> Floats:
    steps = scene.settings.fine_tune_steps

    def fill(array: Floats) -> None:
        array[:] = simulate_tuned(
            scene.checkpoint, scene.store, scene.target, scene.test, steps, scratch=kind == "from_scratch"
        )

    about = scene.about_model(steps=steps, days=[scene.test.start, scene.test.stop])
    return scene.cache.filled(kind, about, _shape(scene), fill)


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


def _moving_average(scene: Scene) -> Floats | None:
    if not _teachable(scene):
        return None
    steps = scene.settings.moving_average_steps

    def fill(array: Floats) -> None:
        array[:] = moving_average(scene.weather_of_model, scene.regional, scene.test, steps)

    about = scene.about(steps=steps, days=[scene.test.start, scene.test.stop])
    return scene.cache.filled("moving_average", about, _shape(scene), fill)


def _lstm(scene: Scene) -> Floats | None:
    if not _teachable(scene):
        return None
    steps = scene.settings.lstm_steps

    def fill(array: Floats) -> None:
        array[:] = lstm(scene.weather_of_model, scene.regional, scene.test, steps)

    about = scene.about(steps=steps, days=[scene.test.start, scene.test.stop])
    return scene.cache.filled("lstm", about, _shape(scene), fill)


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

    def fill(array: Floats) -> None:
        array[:] = gr4j(
            weather, scene.store.times[days], scene.seen_flow[:, days], scene.store.period("train"), scene.test, donors
        )

    about = scene.about(days=[scene.test.start, scene.test.stop])
    return scene.cache.filled("gr4j", about, _shape(scene), fill)


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


def _teachable(scene: Scene) -> bool:
    """Return whether the store has flow of a gauge that may be seen, for regional methods to learn from."""
    return bool(np.isfinite(scene.seen_flow[:, scene.store.period("train")]).any())


def _placed(scene: Scene) -> bool:
    """Return whether there are neighbours, and it is known where."""
    usable = (~scene.unseen).sum()
    return usable > 1 and {"latitude", "longitude"} <= set(scene.store.dataset.variables)


def _shape(scene: Scene) -> tuple[int, int]:
    return len(scene.store.gauge_ids), scene.test.stop - scene.test.start


RIVALS: Mapping[str, Callable[[Scene], Floats | None]] = {
    "simulation": _simulation,
    "fine_tuned": lambda scene: _tuned(scene, "fine_tuned"),
    "from_scratch": lambda scene: _tuned(scene, "from_scratch"),
    "corrected": _corrected,
    "moving_average": _moving_average,
    "lstm": _lstm,
    "gr4j": _gr4j,
    "nearest": _nearest,
    "inverse_distance": _inverse_distance,
    "climatology": _climatology,
    "persistence": _persistence,
}
"""Each returns ``[C, T]`` in physical units, NaN where it has no answer; None where it cannot be had at all."""
