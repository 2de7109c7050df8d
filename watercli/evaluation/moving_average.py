"""The regional baseline to fear: moving averages of the weather, static attributes, and a small network.

It knows of a day what the model's memory knows of the weather (`model.memory`), and nothing else: no encoder, no
decoder, no pretraining on other modalities. Its errors are divided by the spread of the catchment, as with ``loss:
nse``. Shapes: I inputs, C catchments, T days of the store, F features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.config import MemoryConfig
from model.memory import Seen, states
from watercli.data.dataset import spread
from watercli.data.windows import derived_seed
from watercli.log import log, progress

Floats = NDArray[np.floating[Any]]
MEMORY = MemoryConfig()
WIDTH = 256
SAMPLES = 512
RATE = 1e-3


def features(weather: Floats) -> Tensor:
    """Return ``[C, T, F]`` of standardised daily weather ``[I, C, T]``, NaN where missing."""
    found = []
    for one in torch.from_numpy(weather.astype(np.float32)):
        there = torch.isfinite(one).float()
        # Blocks of a year, each with what came before, so that the kernel within a block stays small.
        parts = []
        for first in range(0, one.shape[1], 365):
            some, past = slice(first, first + 365), slice(max(first - MEMORY.past_days, 0), first)
            seen = Seen(one[:, past].nan_to_num(), there[:, past], one[:, some].nan_to_num(), there[:, some])
            parts.append(states(seen, MEMORY))
        found.append(torch.cat(parts, dim=1))
    return torch.cat(found, dim=-1)


def fit_and_simulate(
    weather: Floats,
    static: Floats,
    flow: Floats,
    *,
    train: slice,
    days: slice,
    steps: int,
    noise: float,
    seed: int,
) -> Floats:
    """Fit the network to all catchments that have flow, and return its flow of ``days``, ``[C, days]``.

    Parameters
    ----------
    weather
        ``[I, C, T]`` standardised, NaN where missing.
    static
        Standardised attributes ``[C, A]``.
    flow
        ``[C, T]`` in physical units; NaN where missing, and throughout at gauges that must not be seen.
    train
        Days to learn from.
    noise
        Standard deviation of the noise on the attributes while training.
    """
    x, attributes = features(weather), torch.from_numpy(static.astype(np.float32))
    scale = float(np.nanstd(flow[:, train]))
    wanted = torch.from_numpy((flow / scale).astype(np.float32))
    per = torch.from_numpy(spread(wanted[:, train].numpy()))
    catchment, day = np.nonzero(np.isfinite(flow[:, train]))
    day = day + train.start
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(seed, 9))
        network = nn.Sequential(
            nn.Linear(x.shape[-1] + attributes.shape[1], WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, 1), nn.Softplus(),
        )  # fmt: skip
        optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        rng = np.random.default_rng([seed, 9])
        log.info("Fitting the moving-average network to %s observed days", f"{len(day):,}")
        with progress() as display:
            for _ in display.track(range(steps), description="moving averages"):
                some = rng.integers(0, len(day), SAMPLES)
                c, t = torch.from_numpy(catchment[some]), torch.from_numpy(day[some])
                known = attributes[c]
                predicted = network(torch.cat((x[c, t], known + noise * torch.randn_like(known)), -1))[:, 0]
                loss = ((predicted - wanted[c, t]) / per[c]).square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    with torch.inference_mode():
        here = x[:, days]
        everywhere = attributes[:, None].expand(-1, here.shape[1], -1)
        simulated: Floats = network(torch.cat((here, everywhere), -1))[..., 0].numpy() * scale
    return simulated
