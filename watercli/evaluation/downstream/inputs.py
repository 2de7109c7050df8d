"""Inputs of downstream uses: embeddings at the ends of months, and what a hydrologist has without a model.

River flow is hidden from all of them.
Shapes: C catchments, N dates (ends of months of training, validation and test), I inputs of the model, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from watercli.baselines.attributes import filled
from watercli.baselines.context import Context, Dates, Flags, Floats
from watercli.baselines.features import Features
from watercli.baselines.weather import antecedent
from watercli.data.windows import Indices
from watercli.inference.embedder import Embedder

ATTRIBUTES, WEATHER, UNTRAINED = "attributes", "raw weather", "untrained model"
EMBEDDING, DECODER_STATE = "embedding", "decoder state"
YEARS = 10
"""Last years of the training period whose months are read."""
SPANS = (1, 7, 30, 90, 365)
"""Days over which raw weather is averaged."""


def month_ends(embedder: Embedder, days: slice) -> Indices:
    """Return the last days of the whole months of a period on which a window ends: of its last `YEARS` years."""
    times = embedder.store.times
    ends = embedder.ends(days.start, days.stop - 1)
    whole: Flags = times[ends].is_month_end & (ends - times[ends].day + 1 >= days.start)
    last: Indices = ends[whole][-12 * YEARS :]
    return last


@dataclass(frozen=True)
class Inputs:
    """What heads read, by name; attributes stand beside every other input."""

    context: Context

    @cached_property
    def months(self) -> Dates:
        """Ends of months."""
        embedder = self.context.embedder
        train, validation, test = (
            month_ends(embedder, embedder.store.period(split)) for split in ("train", "validation", "test")
        )
        return Dates(train, validation, test)

    @cached_property
    def _features(self) -> Features:
        return Features(replace(self.context, dates=self.months), kind="monthly_")

    @property
    def _weather(self) -> Floats:
        """Standardised daily weather ``[I, C, days]``, read once for all inputs."""
        return self._features.context.weather

    @cached_property
    def attributes(self) -> Floats:
        """Standardised static attributes ``[C, F]``; a missing one is 0, with a flag beside it."""
        static = torch.from_numpy(self.context.checkpoint.scaling.static(self.context.store))
        return filled(static).numpy() if static.numel() else np.empty((len(self.complete), 0), dtype=np.float32)

    @cached_property
    def complete(self) -> Flags:
        """Months at whose end all is known that the model needs, ``[C, N]``."""
        return self._features.complete

    def daily(self) -> Iterator[tuple[str, Floats]]:
        """Yield inputs at the ends of months ``[C, N, F]`` by name; attributes alone have no feature of the date."""
        yield ATTRIBUTES, np.empty((*self.complete.shape, 0), dtype=np.float32)
        yield WEATHER, self._recent_weather
        yield UNTRAINED, self._features.untrained
        yield EMBEDDING, self._features.embedding
        if self.context.cross_modal:
            yield DECODER_STATE, self._features.decoder_state

    def means(self) -> Iterator[tuple[str, Floats]]:
        """Yield what describes catchments, ``[C, F]`` by name: of the training period, without attributes.

        Weather is its climate, embeddings are their means over the ends of months.
        """
        for name, values in self.daily():
            yield name, self._climate if name == WEATHER else self._mean(values)

    def _mean(self, values: Floats) -> Floats:
        """Return means over the complete months of training, ``[C, F]``; NaN for a catchment without any."""
        train = self.months.parts[0]
        mean = np.full((values.shape[0], values.shape[2]), np.nan)
        for c, complete in enumerate(self.complete[:, train]):
            if complete.any():
                mean[c] = values[c, train][complete].mean(0, dtype=np.float64)
        return mean

    @cached_property
    def _recent_weather(self) -> Floats:
        first = int(self.months.all.min())
        means = antecedent(self._weather, self.months.all, [span for span in SPANS if span <= first + 1])
        return np.nan_to_num(means)

    @cached_property
    def _climate(self) -> Floats:
        """Mean and standard deviation of each input over the training period, and its mean in each calendar month."""
        store = self.context.store
        days = store.period("train")
        weather, month = self._weather[..., days], store.times[days].month
        by_month = [_mean_of(weather[..., month == number]) for number in range(1, 13)]
        mean = _mean_of(weather)
        spread = np.sqrt(_mean_of(np.square(weather - mean[..., None])))
        return np.concatenate([mean, spread, *by_month]).T


def _mean_of(weather: Floats) -> Floats:
    """Return means over the known days ``[I, C]`` of ``[I, C, days]``; 0, the mean of all, where none is known."""
    known = np.isfinite(weather)
    mean: Floats = np.where(known, weather, 0).sum(-1) / np.maximum(known.sum(-1), 1)
    return mean
