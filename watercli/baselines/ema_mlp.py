"""EMA-MLP, the strongest regional baseline: exponential moving averages of the weather, attributes, a small network.

It knows of a day what the model's antecedent state knows of the weather (`multimodal_mae.moving_averages`), and no
more: no encoder, no decoder, no pretraining on other modalities. Shapes: I inputs, C catchments, T days of the store, F
features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from multimodal_mae.config import AntecedentStateConfig
from multimodal_mae.moving_averages import Seen, carry, state_size, states
from numpy.typing import NDArray
from torch import Tensor

from watercli.baselines import wording
from watercli.baselines.context import Context
from watercli.baselines.method import Method
from watercli.baselines.mlp import Regional, fit_network
from watercli.log import log

Floats = NDArray[np.floating[Any]]
STATE = AntecedentStateConfig()
YEAR = 365


def features(weather: Floats) -> Tensor:
    """Return ``[C, T, F]`` of standardised daily weather ``[I, C, T]``, NaN where missing."""
    size = state_size(STATE)
    read = torch.empty(*weather.shape[1:], len(weather) * size)  # once: gigabytes where catchments are many
    for number, values in enumerate(weather):
        read[..., number * size : (number + 1) * size] = _states(torch.from_numpy(values.astype(np.float32)))
    return read


def _states(values: Tensor) -> Tensor:
    """Return the states ``[C, T, F]`` of one input ``[C, T]``."""
    observed = torch.isfinite(values).float()
    years = []
    # Blocks of a year, each with the days before it, so that the kernel within a block stays small.
    for first in range(0, values.shape[1], YEAR):
        days, past = slice(first, first + YEAR), slice(max(first - STATE.past_days, 0), first)
        carried = carry(values[:, past].nan_to_num(), observed[:, past], STATE)
        years.append(states(Seen(carried, values[:, days].nan_to_num(), observed[:, days]), STATE))
    return torch.cat(years, dim=1)


def ema_mlp(weather: Floats, regional: Regional, days: slice, steps: int) -> Floats:
    """Fit the network to all catchments that have flow, and return its flow of ``days``, ``[C, days]``.

    ``weather`` is ``[I, C, T]``, standardised, NaN where missing.
    """
    log.info("Fitting the EMA-MLP to %s observed days", f"{regional.training_days:,}")
    return fit_network(features(weather).numpy(), regional, steps, days, "moving averages")


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
