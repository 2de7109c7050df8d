"""Methods that learn river flow from frozen embeddings, and the same regression on raw weather.

Shapes: C catchments, N dates (training, validation, test), T test days, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from watercli.baselines.context import Flags, Floats, Scene
from watercli.baselines.mlp import Regional, fit_network
from watercli.baselines.ridge import Fitted, Task, gauged, shared
from watercli.baselines.untrained import Untrained
from watercli.baselines.weather import antecedent
from watercli.inference.embedder import Embedder
from watercli.log import log, track

SPANS = (1, 3, 7)
"""Days over which raw weather is averaged, beside the whole window."""


@dataclass(frozen=True)
class Inputs:
    """What the methods learn from, computed when it is first asked for."""

    scene: Scene

    @cached_property
    def today(self) -> Flags:
        """Dates on which all weather is there, ``[C, N]``.

        A mean over a span begins to count on the last day: where that is missing, so is the row.
        """
        there: Flags = np.logical_and.reduce(np.isfinite(self.scene.weather))[:, self.scene.dates.all]
        return there

    @property
    def spans(self) -> list[int]:
        """Days over which raw weather is averaged."""
        days = self.scene.embedder.days
        return sorted({min(span, days) for span in (*SPANS, days)})

    @cached_property
    def weather(self) -> Floats:
        """``[C, N, F]`` means of the weather; NaN in incomplete rows."""
        means = antecedent(self.scene.weather, self.scene.dates.all, self.spans)
        return np.where(self.today[..., None], means, np.nan)

    @property
    def fusion(self) -> bool:
        """Whether the run's decoders read other modalities."""
        return self.scene.checkpoint.structure.fusion != "none"

    @cached_property
    def _both(self) -> Floats:
        return self._embed(replace(self.scene.embedder, fused=self.fusion), "embeddings")

    @property
    def embedded(self) -> Floats:
        """Embeddings ``[C, N, F]`` of the run, in a file; NaN where a modality was absent."""
        return self._both[..., : int(np.prod(self.scene.embedder.shape))]

    @property
    def fused(self) -> Floats:
        """What the target's decoder makes of all that it reads, ``[C, N, F]``, in a file; needs `fusion`."""
        return self._both[..., int(np.prod(self.scene.embedder.shape)) :]

    @cached_property
    def complete(self) -> Flags:
        """Dates whose weather and embedding are whole, ``[C, N]``."""
        # One catchment at a time: all of them may not fit into memory.
        whole: Flags = np.stack([np.isfinite(one).all(-1) for one in self.embedded])
        return self.today & whole

    @cached_property
    def untrained(self) -> Floats:
        """The same of the model before training."""
        mine = self.scene.embedder
        twin = replace(mine, checkpoint=Untrained.of(mine.checkpoint))
        return self._embed(twin, "embeddings_untrained")

    def _embed(self, embedder: Embedder, kind: str) -> Floats:
        scene, dates = self.scene, self.scene.dates.all
        worth = np.flatnonzero(self.today.any(0))
        more = embedder.checkpoint.structure.decoder_width if embedder.fused else 0
        shape = (len(scene.store.gauge_ids), len(dates), int(np.prod(embedder.shape)) + more)

        of = embedder.targets.index(scene.target)

        def fill(array: Floats) -> None:
            log.info("Embedding %d dates of %d catchments", len(worth), shape[0])
            windows, done = embedder.encode(dates[worth], scene.config.embed.batch), 0
            for some, found in track(windows, kind.replace("_", " "), total=len(worth), size=lambda one: len(one[0])):
                flat = found["embedding"].swapaxes(0, 1).reshape(shape[0], len(some), -1)
                fused = [found["fused_embedding"][:, :, of].swapaxes(0, 1)] if embedder.fused else []
                array[:, worth[done : done + len(some)]] = np.concatenate((flat, *fused), axis=-1)
                done += len(some)

        about = {
            "store": scene.store.fingerprint,
            "weights": embedder.checkpoint.fingerprint_of_weights(),
            "hide": embedder.hide,
            "pools": embedder.pools,
            "fused": embedder.fused,
            "dates": dates.tolist(),
        }
        return scene.cache.filled(kind, about, shape, fill, np.float16)


def _network(inputs: Inputs, task: Task) -> Fitted:
    """Fit the small network that all catchments share to the embeddings."""
    scene = inputs.scene
    flow = np.where(task.complete & task.chosen[:, None], task.physical, np.nan)
    regional = Regional(scene.regional.static, flow, task.train, scene.regional.noise, scene.regional.seed)
    log.info("Fitting a network on the embeddings to %s observed days", f"{regional.training_days:,}")
    simulated = fit_network(inputs.embedded, regional, scene.settings.moving_average_steps, task.test, "network")
    simulated = np.where(task.complete[:, task.test], simulated, np.nan)
    return Fitted(simulated)


HEADS: Mapping[str, Callable[[Inputs, Task], Fitted]] = {
    "probe": lambda inputs, task: gauged(inputs.embedded, task),
    "probe_untrained": lambda inputs, task: gauged(inputs.untrained, task),
    "probe_shared": lambda inputs, task: shared(
        inputs.embedded, inputs.scene.checkpoint.scaling.static(inputs.scene.store), task
    ),
    "probe_fused": lambda inputs, task: gauged(inputs.fused, task),
    "probe_network": _network,
    "weather_ridge": lambda inputs, task: gauged(inputs.weather, task),
}
"""Each returns its simulation of the test days, and the ridge penalty that the validation dates chose."""
