"""The regional baseline of the literature: one LSTM for all catchments, fed weather and static attributes daily.

Kratzert et al. (2019), Towards learning universal, regional, and local hydrological behaviors via machine learning
applied to large-sample datasets, doi:10.5194/hess-23-5089-2019: attributes are repeated at every step, errors are
divided by the standard deviation of the catchment. A sequence is a year in which the states form and a year that is
scored, so that one pass gives 365 predictions in place of one.
Shapes: I inputs, C catchments, T days of the store, S days of a sequence, B sequences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from watercli.baselines import wording
from watercli.baselines.method import Method
from watercli.baselines.mlp import Regional
from watercli.data.windows import derived_seed
from watercli.log import log, track

Floats = NDArray[np.floating[Any]]
WIDTH = 64
DROPOUT = 0.4
SEQUENCES = 32
WARM_UP = 365
"""Days over which the states form."""
SCORED = 365
RATE = 5e-3
CLIP = 1.0


class Network(nn.Module):
    """An LSTM, and a linear head that reads its states."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, WIDTH, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(WIDTH, 1), nn.Softplus())
        # Forget gates that begin open (Gers et al. 2000, doi:10.1162/089976600300015015): rivers remember long.
        with torch.no_grad():
            self.lstm.get_parameter("bias_hh_l0")[WIDTH : 2 * WIDTH] = 3.0

    def forward(self, weather: Tensor, attributes: Tensor) -> Tensor:
        """Return ``[B, S]`` of weather ``[B, S, I]`` and attributes ``[B, A]``."""
        repeated = attributes[:, None].expand(-1, weather.shape[1], -1)
        states, _ = self.lstm(torch.cat((weather, repeated), -1))
        flow: Tensor = self.head(states)[..., 0]
        return flow


def inputs(weather: Floats) -> Tensor:
    """Return ``[C, T, I]`` of standardised weather ``[I, C, T]``.

    A missing value is 0; an input with gaps gets a flag beside it, 1 where it is observed.
    """
    observed = np.isfinite(weather)
    flags = [days for days in observed if not days.all()]
    parts = [np.where(observed, weather, 0), np.stack(flags)] if flags else [weather]
    return torch.from_numpy(np.concatenate(parts).astype(np.float32)).permute(1, 2, 0).contiguous()


def lstm(weather: Floats, regional: Regional, days: slice, steps: int) -> Floats:
    """Fit the LSTM to all catchments that have flow, and return its flow of ``days``, ``[C, days]``.

    Parameters
    ----------
    weather
        ``[I, C, T]`` standardised, NaN where missing. What lies before the store's first day counts as missing: 0.
    steps
        Of 32 sequences each.
    """
    x, attributes, (targets, deviations) = inputs(weather), regional.attributes(), regional.targets()
    x = nn.functional.pad(x, (0, 0, WARM_UP, 0))  # day t of the store is day t + WARM_UP of x
    last = max(regional.train.stop - SCORED, regional.train.start)
    observed = torch.isfinite(targets[:, regional.train]).any(1).nonzero()[:, 0].numpy()
    log.info("Fitting the LSTM to %s observed days", f"{regional.training_days:,}")
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(regional.seed, 10))
        network = Network(x.shape[-1] + attributes.shape[1])
        optimiser = torch.optim.Adam(network.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        rng = np.random.default_rng([regional.seed, 10])
        for _ in track(range(steps), "LSTM"):
            c = torch.from_numpy(rng.choice(observed, SEQUENCES))
            first = torch.from_numpy(rng.integers(regional.train.start, last + 1, SEQUENCES))
            scored = first[:, None] + torch.arange(min(SCORED, regional.train.stop - regional.train.start))
            sequence = first[:, None] + torch.arange(WARM_UP + scored.shape[1])
            predicted = network(x[c[:, None], sequence], regional.noisy_attributes(c))[:, WARM_UP:]
            error = (predicted - targets[c[:, None], scored]) / deviations[c, None]
            known = torch.isfinite(error)
            if not known.any():
                continue
            optimiser.zero_grad()
            torch.where(known, error, 0).square().sum().div(known.sum()).backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimiser.step()
            schedule.step()
    network.eval()
    years = []
    with torch.inference_mode():
        for first_day in range(days.start, days.stop, SCORED):
            stop = min(first_day + SCORED, days.stop)
            years.append(network(x[:, first_day : stop + WARM_UP], attributes)[:, WARM_UP:])
    simulated: Floats = torch.cat(years, 1).numpy() * regional.scale
    return simulated


LSTM = Method(
    name="lstm",
    label="the LSTM",
    colour="#117733",
    line="-.",
    saw=lambda context: (
        f"{wording.weather(context)} of a year and more before the day, and static attributes; one "
        f"LSTM {wording.all_gauges(context)}"
    ),
    simulate=lambda context: context.regionally("lstm", lstm, context.settings.lstm_steps),
)
