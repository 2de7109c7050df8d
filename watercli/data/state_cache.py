"""What the days before a window leave to its antecedent state, known at any day without reading them all.

Moving averages are a linear recurrence: what a series has left by some days is kept, and goes on from there through the
days between.
Shapes: S places, D days of the store, B windows, P places in each, K days between, N averages, G carried variables.
"""

from __future__ import annotations

import torch
from multimodal_mae.config import AntecedentStateConfig
from multimodal_mae.moving_averages import channels, fading, gains, joined, latest_days
from torch import Tensor

EVERY = 64
"""Days between two that are kept (K)."""


class History:
    """The daily values of some places ``[S, D]``, NaN where missing, and how much each counts (1, unless given).

    The state reaches back `AntecedentStateConfig.past_days`, and never beyond the store's first day.
    """

    def __init__(self, values: Tensor, config: AntecedentStateConfig, weight: Tensor | None = None) -> None:
        self._values, self._weight, self._config = values, weight, config
        places, days = values.shape
        # In float64: what rounding does to a sum here stays in all later ones.
        kernel = gains(config, torch.arange(EVERY - 1, -1, -1, dtype=torch.float64))
        left = fading(config, torch.tensor(EVERY, dtype=torch.float64))
        kept = torch.zeros(days // EVERY + 1, places, 3, len(config.time_constants))
        sums = kept[0].double()
        everywhere, block = torch.arange(places)[None], torch.arange(EVERY)[None]
        for number in range(1, len(kept)):
            values, weight = self._read(block + (number - 1) * EVERY, everywhere)
            sums = sums * left + channels(values[0], weight[0]).double() @ kernel
            kept[number] = sums
        self._kept = kept

    def before(self, days: Tensor, places: Tensor) -> Tensor:
        """Return what the days before each of ``[B]`` leave at places ``[B, P]``, ``[B, P, G]``.

        It is laid out as `multimodal_mae.moving_averages.carry` has it. Days may lie up to one beyond the last.
        """
        reach = self._config.past_days
        older = fading(self._config, torch.tensor(float(reach)))
        # What was left when the state's reach began has no part in it.
        sums = self._sums(days, places) - older * self._sums((days - reach).clamp_min(0), places)
        recent = self._config.recent_days - 1
        values, weight = self._read(days[:, None] + torch.arange(-recent, 0), places)
        return joined(sums, latest_days(weight * values, weight, self._config))

    def _sums(self, days: Tensor, places: Tensor) -> Tensor:
        """Return the sums before each of ``[B]`` days, ``[B, P, 3, N]``."""
        block, since = days // EVERY, days % EVERY
        between = torch.arange(EVERY)
        values, weight = self._read(block[:, None] * EVERY + between, places)
        kernel = gains(self._config, (since[:, None] - 1 - between).float())  # [B, K, N]; 0 for what comes later
        kept = self._kept[block[:, None], places] * fading(self._config, since.float())[:, None, None]
        return kept + channels(values, weight) @ kernel[:, None]

    def _read(self, days: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and weights of ``[B, days]`` at ``[B, P]``, ``[B, P, days]``; 0 where there is none."""
        in_store = (days >= 0) & (days < self._values.shape[1])
        chosen = places[..., None], days.clamp(0, self._values.shape[1] - 1)[:, None]
        values = self._values[chosen]
        weight = torch.isfinite(values) & in_store[:, None]
        counts = weight.to(values.dtype) if self._weight is None else self._weight[chosen] * weight
        return torch.where(weight, values, 0), counts
