"""The regional baseline to fear: moving averages of the weather, static attributes, and a small network.

It knows of a day what the model's memory knows of the weather (`multimodal_mae.moving_averages`), and nothing else:
no encoder, no decoder, no pretraining on other modalities. Shapes: I inputs, C catchments, T days of the store, F
features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from multimodal_mae.config import AntecedentStateConfig
from multimodal_mae.moving_averages import Seen, carry, states
from numpy.typing import NDArray
from torch import Tensor

from watercli.baselines.mlp import Regional, fit_network
from watercli.log import log

Floats = NDArray[np.floating[Any]]
MEMORY = AntecedentStateConfig()


def features(weather: Floats) -> Tensor:
    """Return ``[C, T, F]`` of standardised daily weather ``[I, C, T]``, NaN where missing."""
    found = []
    for one in torch.from_numpy(weather.astype(np.float32)):
        there = torch.isfinite(one).float()
        # Blocks of a year, each with what came before, so that the kernel within a block stays small.
        parts = []
        for first in range(0, one.shape[1], 365):
            some, past = slice(first, first + 365), slice(max(first - MEMORY.past_days, 0), first)
            carried = carry(one[:, past].nan_to_num(), there[:, past], MEMORY)
            parts.append(states(Seen(carried, one[:, some].nan_to_num(), there[:, some]), MEMORY))
        found.append(torch.cat(parts, dim=1))
    return torch.cat(found, dim=-1)


def ema_mlp(weather: Floats, regional: Regional, days: slice, steps: int) -> Floats:
    """Fit the network to all catchments that have flow, and return its flow of ``days``, ``[C, days]``.

    ``weather`` is ``[I, C, T]``, standardised, NaN where missing.
    """
    log.info("Fitting the moving-average network to %s observed days", f"{regional.training_days:,}")
    return fit_network(features(weather).numpy(), regional, steps, days, "moving averages")
