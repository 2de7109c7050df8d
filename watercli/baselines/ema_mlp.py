"""EMA-MLP, the strongest regional baseline: exponential moving averages of the weather, attributes, a small network.

It knows of a day what the model's antecedent state knows of the weather (`multimodal_mae.moving_averages`), and no
more: no encoder, no decoder, no pretraining on other modalities.
Shapes: I inputs, C catchments, G catchments of a group, T days of the store, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from multimodal_mae.config import AntecedentStateConfig
from multimodal_mae.moving_averages import Seen, carry, state_size, states
from numpy.typing import NDArray

from watercli.baselines import wording
from watercli.baselines.context import Context
from watercli.baselines.method import Method
from watercli.baselines.mlp import Positions, Regional, fit_network
from watercli.log import log

Floats = NDArray[np.floating[Any]]
STATE = AntecedentStateConfig()
YEAR, GROUP = 365, 32
"""Days and catchments whose averages are computed at once."""
MAX_BYTES = 2**30
"""Of the averages of batches that are held at once."""


@dataclass(frozen=True)
class AveragedWeather:
    """Moving averages of weather, computed where they are read: those of every day would take gigabytes."""

    weather: Floats
    """``[I, C, T]``, standardised, NaN where missing."""

    @property
    def size(self) -> int:
        """F."""
        return len(self.weather) * state_size(STATE)

    def batches(self, catchments: Positions, days: Positions) -> Iterator[Floats]:
        """Yield the features of the days of each batch, ``[N, F]``; the arguments are ``[batches, N]``."""
        at_once = max(MAX_BYTES // (catchments.shape[1] * self.size * 4), 1)
        for first in range(0, len(catchments), at_once):
            some = slice(first, first + at_once)
            yield from self._at(catchments[some].ravel(), days[some].ravel()).reshape(*catchments[some].shape, -1)

    def during(self, days: slice) -> Iterator[Floats]:
        """Yield the features of a period, ``[period, F]``, catchment by catchment."""
        first, stop, _ = days.indices(self.weather.shape[2])
        years = range(first // YEAR, -(-stop // YEAR))
        for group in range(-(-self.weather.shape[1] // GROUP)):
            whole = np.concatenate([self._of_year(group, year) for year in years], axis=1)
            yield from whole[:, first - years.start * YEAR : stop - years.start * YEAR]

    def _at(self, catchments: Positions, days: Positions) -> Floats:
        """Return the features ``[N, F]`` of days ``[N]``."""
        read = np.empty((len(days), self.size), dtype=np.float32)
        years = self.weather.shape[2] // YEAR + 1
        block = catchments // GROUP * years + days // YEAR
        order = np.argsort(block, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
            group, year = divmod(int(block[rows[0]]), years)
            read[rows] = self._of_year(group, year)[catchments[rows] - group * GROUP, days[rows] - year * YEAR]
        return read

    def _of_year(self, group: int, year: int) -> Floats:
        """Return the features ``[G, YEAR, F]`` of a year; the last year and group may be shorter."""
        first, catchments = year * YEAR, slice(group * GROUP, (group + 1) * GROUP)
        held = min(STATE.past_days, first)
        weather = self.weather[:, catchments, first - held : first + YEAR].astype(np.float32)
        values = torch.from_numpy(weather).flatten(0, 1)
        observed, values = torch.isfinite(values).float(), values.nan_to_num()
        carried = carry(values[:, :held], observed[:, :held], STATE)
        # All inputs in one go, as they share the kernel of a year.
        read = states(Seen(carried, values[:, held:], observed[:, held:]), STATE)  # [I * G, YEAR, F / I]
        by_input = read.unflatten(0, (len(self.weather), -1))
        features: Floats = by_input.movedim(0, 2).flatten(2).numpy()
        return features


def ema_mlp(weather: Floats, regional: Regional, days: slice, steps: int) -> Floats:
    """Fit the network to all catchments that have flow, and return its flow of ``days``, ``[C, days]``.

    ``weather`` is ``[I, C, T]``, standardised, NaN where missing.
    """
    log.info("Fitting the EMA-MLP to %s observed days", f"{regional.training_days:,}")
    return fit_network(AveragedWeather(weather), regional, steps, days, "moving averages")


def simulate(context: Context) -> Floats | None:
    """Return the flow ``[C, simulated_days]`` of the network."""
    return context.regionally("ema_mlp", ema_mlp, steps=context.settings.ema_mlp_steps)


EMA_MLP = Method(
    name="ema_mlp",
    label="the EMA-MLP",
    colour="#7A5195",
    line="--",
    saw=lambda context: (
        f"moving averages of {wording.weather(context)} over 1 to 512 days, the last 7 days, static "
        f"attributes; a small network {wording.all_gauges(context)}"
    ),
    simulate=lambda context: context.of_test(simulate(context)),
    slow=True,
)
