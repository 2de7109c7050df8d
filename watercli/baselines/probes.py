"""Methods that learn river flow from frozen embeddings, and the same regression on raw weather.

Shapes: C catchments, N dates (training, validation, test), T test days, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from watercli.baselines.context import Context, Flags, Floats
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

    context: Context

    @cached_property
    def today(self) -> Flags:
        """Dates on which all weather is there, ``[C, N]``.

        A mean over a span begins to count on the last day: where that is missing, so is the row.
        """
        there: Flags = np.logical_and.reduce(np.isfinite(self.context.weather))[:, self.context.dates.all]
        return there

    @property
    def spans(self) -> list[int]:
        """Days over which raw weather is averaged."""
        days = self.context.embedder.days
        return sorted({min(span, days) for span in (*SPANS, days)})

    @cached_property
    def weather(self) -> Floats:
        """``[C, N, F]`` means of the weather; NaN in incomplete rows."""
        means = antecedent(self.context.weather, self.context.dates.all, self.spans)
        return np.where(self.today[..., None], means, np.nan)

    @property
    def fusion(self) -> bool:
        """Whether the run's decoders read other modalities."""
        return self.context.checkpoint.structure.cross_modal_attention != "none"

    @cached_property
    def _both(self) -> Floats:
        return self._embed(replace(self.context.embedder, decoder_state=self.fusion), "embeddings")

    @property
    def embedded(self) -> Floats:
        """Embeddings ``[C, N, F]`` of the run, in a file; NaN where a modality was absent."""
        return self._both[..., : int(np.prod(self.context.embedder.shape))]

    @property
    def fused(self) -> Floats:
        """What the target's decoder makes of all that it reads, ``[C, N, F]``, in a file; needs `fusion`."""
        return self._both[..., int(np.prod(self.context.embedder.shape)) :]

    @cached_property
    def complete(self) -> Flags:
        """Dates whose weather and embedding are whole, ``[C, N]``."""
        # One catchment at a time: all of them may not fit into memory.
        whole: Flags = np.stack([np.isfinite(one).all(-1) for one in self.embedded])
        return self.today & whole

    @cached_property
    def untrained(self) -> Floats:
        """The same of the model before training."""
        mine = self.context.embedder
        twin = replace(mine, checkpoint=Untrained.of(mine.checkpoint))
        return self._embed(twin, "embeddings_untrained")

    def _embed(self, embedder: Embedder, kind: str) -> Floats:
        context, dates = self.context, self.context.dates.all
        # In the order of time, whichever split comes first: that is how they are embedded.
        order = np.argsort(dates, kind="stable")
        worth = order[np.any(self.today[:, order], axis=0)]
        more = embedder.checkpoint.structure.decoder_width if embedder.decoder_state else 0
        shape = (len(context.store.gauge_ids), len(dates), int(np.prod(embedder.shape)) + more)

        of = embedder.targets.index(context.target)

        def fill(array: Floats) -> None:
            log.info("Embedding %d dates of %d catchments", len(worth), shape[0])
            windows, done = embedder.encode(dates[worth], context.config.embed.batch_size), 0
            for some, found in track(windows, kind.replace("_", " "), total=len(worth), size=lambda one: len(one[0])):
                flat = found["embedding"].swapaxes(0, 1).reshape(shape[0], len(some), -1)
                fused = [found["decoder_state"][:, :, of].swapaxes(0, 1)] if embedder.decoder_state else []
                array[:, worth[done : done + len(some)]] = np.concatenate((flat, *fused), axis=-1)
                done += len(some)

        about = {
            "store": context.store.fingerprint,
            "weights": embedder.checkpoint.fingerprint_of_weights(),
            "excluded": embedder.excluded,
            "pooling": embedder.pooling,
            "decoder_state": embedder.decoder_state,
            "dates": dates.tolist(),
        }
        return context.cache.filled(kind, about, shape, fill, np.float16)


def _network(inputs: Inputs, task: Task) -> Fitted:
    """Fit the small network that all catchments share to the embeddings."""
    context = inputs.context
    flow = np.where(task.complete & task.chosen[:, None], task.physical, np.nan)
    regional = Regional(context.regional.static, flow, task.train, context.regional.noise, context.regional.seed)
    log.info("Fitting a network on the embeddings to %s observed days", f"{regional.training_days:,}")
    simulated = fit_network(inputs.embedded, regional, context.settings.ema_mlp_steps, task.test, "network")
    simulated = np.where(task.complete[:, task.test], simulated, np.nan)
    return Fitted(simulated)


HEADS: Mapping[str, Callable[[Inputs, Task], Fitted]] = {
    "probe": lambda inputs, task: gauged(inputs.embedded, task),
    "probe_untrained": lambda inputs, task: gauged(inputs.untrained, task),
    "probe_regional": lambda inputs, task: shared(
        inputs.embedded, inputs.context.checkpoint.scaling.static(inputs.context.store), task
    ),
    "probe_decoder_state": lambda inputs, task: gauged(inputs.fused, task),
    "probe_mlp": _network,
    "weather_ridge": lambda inputs, task: gauged(inputs.weather, task),
}
"""Each returns its simulation of the test days, and the ridge penalty that the validation dates chose."""
