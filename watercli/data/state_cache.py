"""Antecedent states at any day of the store, without reading all days before it.

Moving averages are a linear recurrence: their sums are kept at every K-th day, and continued from there.

Shapes: S places, D days of the store, B windows, P places in each, K days between, N averages, G carried variables.
"""

from __future__ import annotations

import torch
from multimodal_mae.config import AntecedentStateConfig
from multimodal_mae.moving_averages import channels, fading, gains, joined, latest_days
from torch import Tensor

EVERY = 64
"""Days between two days whose sums are kept (K)."""


class History:
    """Daily values of places ``[S, D]``, NaN where missing, and their weights (by default 1).

    The state reaches back `AntecedentStateConfig.past_days`, and never beyond the store's first day.
    """

    def __init__(self, values: Tensor, config: AntecedentStateConfig, weight: Tensor | None = None) -> None:
        self._values, self._weight, self._config = values, weight, config
        places, days = values.shape
        # In float64: a rounding error here stays in all later sums.
        kernel = gains(config, torch.arange(EVERY - 1, -1, -1, dtype=torch.float64))
        decay = fading(config, torch.tensor(EVERY, dtype=torch.float64))
        kept = torch.zeros(days // EVERY + 1, places, 3, len(config.time_constants))
        sums = kept[0].double()
        everywhere, block = torch.arange(places)[None], torch.arange(EVERY)[None]
        for number in range(1, len(kept)):
            values, weight = self._read(block + (number - 1) * EVERY, everywhere)
            sums = sums * decay + channels(values[0], weight[0]).double() @ kernel
            kept[number] = sums
        self._kept = kept

    def before(self, days: Tensor, places: Tensor) -> Tensor:
        """Return the antecedent states before days ``[B]`` at places ``[B, P]``, ``[B, P, G]``.

        It is laid out as `multimodal_mae.moving_averages.carry` has it. Days may lie up to one beyond the last.
        """
        reach = self._config.past_days
        older = fading(self._config, torch.tensor(float(reach)))
        # Days beyond the state's reach have no part in it.
        sums = self._sums(days, places) - older * self._sums((days - reach).clamp_min(0), places)
        recent = self._config.recent_days - 1
        values, weight = self._read(days[:, None] + torch.arange(-recent, 0), places)
        return joined(sums, latest_days(weight * values, weight, self._config))

    def _sums(self, days: Tensor, places: Tensor) -> Tensor:
        """Return the sums before days ``[B]``, ``[B, P, 3, N]``."""
        block, since = days // EVERY, days % EVERY
        between = torch.arange(EVERY)
        values, weight = self._read(block[:, None] * EVERY + between, places)
        kernel = gains(self._config, (since[:, None] - 1 - between).float())  # [B, K, N]; 0 for later days
        kept = self._kept[block[:, None], places] * fading(self._config, since.float())[:, None, None]
        return kept + channels(values, weight) @ kernel[:, None]

    def _read(self, days: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and weights on days ``[B, days]`` at places ``[B, P]``, ``[B, P, days]``; 0 where missing."""
        in_store = (days >= 0) & (days < self._values.shape[1])
        cells = places[..., None], days.clamp(0, self._values.shape[1] - 1)[:, None]
        values = self._values[cells]
        weight = torch.isfinite(values) & in_store[:, None]
        counts = weight.to(values.dtype) if self._weight is None else self._weight[cells] * weight
        return torch.where(weight, values, 0), counts
