"""What probes learn from: frozen embeddings, decoder states, embeddings before training, and raw weather.

Shapes: C catchments, N dates (training, validation, test), F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.untrained import Untrained
from watercli.baselines.weather import antecedent
from watercli.inference.embedder import Embedder
from watercli.log import log, track

SPANS = (1, 3, 7)
"""Days over which raw weather is averaged, beside the whole window."""


def spans(window_days: int) -> list[int]:
    """Return the days over which raw weather is averaged, the window's last."""
    return sorted({min(span, window_days) for span in (*SPANS, window_days)})


@dataclass(frozen=True)
class Features:
    """Features ``[C, N, F]`` that probes learn from, each computed when it is first read."""

    context: Context
    kind: str = ""
    """Begins the names of arrays in the cache: those of other dates do not replace each other."""

    @cached_property
    def has_weather(self) -> Flags:
        """Dates on which all weather is observed that is not optional, ``[C, N]``.

        A mean over a span begins to count on the last day: where that is missing, so is the row.
        """
        needed = self.context.weather[~self.context.is_optional]
        observed: Flags = np.logical_and.reduce(np.isfinite(needed))[:, self.context.dates.all]
        return observed

    @cached_property
    def weather(self) -> Floats:
        """``[C, N, F]`` means of the weather, 0 of an optional input that is missing; NaN in incomplete rows."""
        means = antecedent(self.context.weather, self.context.dates.all, spans(self.context.embedder.days))
        return np.where(self.has_weather[..., None], np.nan_to_num(means), np.nan)

    @cached_property
    def _with_decoder_states(self) -> Floats:
        embedder = replace(self.context.embedder, decoder_state=self.context.cross_modal)
        return self._embed(embedder, f"{self.kind}embeddings")

    @property
    def embedding(self) -> Floats:
        """Embeddings ``[C, N, F]`` of the run, in a file; NaN where a modality was absent, 0 if it is optional."""
        return self._with_decoder_states[..., : int(np.prod(self.context.embedder.shape))]

    @property
    def decoder_state(self) -> Floats:
        """States of the target's decoder ``[C, N, F]``, in a file; only of a run with cross-modal attention."""
        return self._with_decoder_states[..., int(np.prod(self.context.embedder.shape)) :]

    @cached_property
    def complete(self) -> Flags:
        """Dates with all weather and every feature of the embedding, ``[C, N]``."""
        # One catchment at a time: all of them may not fit into memory.
        embedded: Flags = np.stack([np.isfinite(catchment).all(-1) for catchment in self.embedding])
        return self.has_weather & embedded

    @cached_property
    def untrained(self) -> Floats:
        """Embeddings of the model before training."""
        embedder = self.context.embedder
        untrained = replace(embedder, checkpoint=Untrained.of(embedder.checkpoint))
        return self._embed(untrained, f"{self.kind}embeddings_untrained")

    def _embed(self, embedder: Embedder, kind: str) -> Floats:
        context, dates = self.context, self.context.dates.all
        # In the order of time, whichever split comes first: that is how they are embedded.
        order = np.argsort(dates, kind="stable")
        embedded = order[np.any(self.has_weather[:, order], axis=0)]
        states = embedder.checkpoint.structure.decoder_width if embedder.decoder_state else 0
        shape = (len(context.store.gauge_ids), len(dates), int(np.prod(embedder.shape)) + states)
        target = embedder.targets.index(context.target)

        def flatten(outputs: Mapping[str, Floats], number: int) -> Floats:
            optional = context.is_optional[:, None, None, None]
            embedding = np.where(optional, np.nan_to_num(outputs["embedding"]), outputs["embedding"])
            flat = embedding.swapaxes(0, 1).reshape(shape[0], number, -1)
            decoded = [outputs["decoder_state"][:, :, target].swapaxes(0, 1)] if embedder.decoder_state else []
            return np.concatenate((flat, *decoded), axis=-1)

        def fill(array: Floats) -> None:
            log.info("Embedding %d dates of %d catchments", len(embedded), shape[0])
            batches, done = embedder.encode(dates[embedded], context.config.embed.batch_size), 0
            progress = track(batches, kind.replace("_", " "), total=len(embedded), size=lambda batch: len(batch[0]))
            for ends, outputs in progress:
                array[:, embedded[done : done + len(ends)]] = flatten(outputs, len(ends))
                done += len(ends)

        depends_on = {
            "store": context.store.fingerprint,
            "weights": embedder.checkpoint.fingerprint_of_weights(),
            "excluded": embedder.excluded,
            "pooling": embedder.pooling,
            "decoder_state": embedder.decoder_state,
            "dates": dates.tolist(),
        }
        return context.cache.filled(kind, depends_on, shape, fill, np.float16)
