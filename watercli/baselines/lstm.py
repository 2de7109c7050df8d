"""The regional baseline of the literature: one LSTM for all catchments, fed weather and static attributes daily.

Kratzert et al. (2019), Towards learning universal, regional, and local hydrological behaviors via machine learning
applied to large-sample datasets, doi:10.5194/hess-23-5089-2019: attributes are repeated at every step, errors are
divided by the standard deviation of the catchment. A sequence is a year in which the states form and a year that is
scored, so that one pass gives 365 predictions in place of one.
Shapes: I inputs, C catchments, T days of the store, S days of a sequence, B sequences.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from watercli.baselines import wording
from watercli.baselines.context import Context
from watercli.baselines.method import Method
from watercli.baselines.mlp import Regional
from watercli.data.windows import Indices, derived_seed
from watercli.errors import ConfigError
from watercli.log import log, track

Floats = NDArray[np.floating[Any]]
WIDTH = 64
"""Cells, unless others are asked for."""
DROPOUT = 0.4
SEQUENCES = 32
WARM_UP = 365
"""Days over which the states form."""
SCORED = 365
RATE = 5e-3
CLIP = 1.0
TUNED_STEPS, TUNED_SEQUENCES, TUNED_RATE = 30, 8, 1e-3
"""Of the fine-tuning at one gauge."""
TUNED_OFFSET = 0.1
"""Added to the standard deviation of few days of scaled flow, which errors are divided by."""


class Network(nn.Module):
    """An LSTM, and a linear head that reads its states."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, width, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(width, 1), nn.Softplus())
        # Forget gates that begin open (Gers et al. 2000, doi:10.1162/089976600300015015): rivers remember long.
        with torch.no_grad():
            self.lstm.get_parameter("bias_hh_l0")[width : 2 * width] = 3.0

    def forward(self, weather: Tensor, attributes: Tensor) -> Tensor:
        """Return ``[B, S]`` of weather ``[B, S, I]`` and attributes ``[B, A]``."""
        repeated = attributes[:, None].expand(-1, weather.shape[1], -1)
        states, _ = self.lstm(torch.cat((weather, repeated), -1))
        flow: Tensor = self.head(states)[..., 0]
        return flow


def inputs(weather: Floats, *, all_flagged: bool = False) -> Tensor:
    """Return ``[C, T, I]`` of standardised weather ``[I, C, T]``.

    A missing value is 0. An input with gaps, or any if ``all_flagged``, gets a flag beside it, 1 where it is observed.
    """
    observed = np.isfinite(weather)
    flags = [days for days in observed if all_flagged or not days.all()]
    parts = [np.where(observed, weather, 0), np.stack(flags)] if flags else [weather]
    return torch.from_numpy(np.concatenate(parts).astype(np.float32)).permute(1, 2, 0).contiguous()


@dataclass(frozen=True)
class Fitted:
    """A fitted LSTM and what it reads."""

    network: Network
    x: Tensor
    """``[C, WARM_UP + T, I]``: day t of the store is day t + WARM_UP."""
    attributes: Tensor
    """``[C, A]``."""
    scale: float
    """What flow is divided by."""

    @classmethod
    def begun(cls, weather: Floats, regional: Regional, width: int = WIDTH) -> Fitted:
        """Return one with random weights, of weather ``[I, C, T]`` and attributes."""
        x, attributes = inputs(weather, all_flagged=regional.all_flagged), regional.attributes()
        network = Network(x.shape[-1] + attributes.shape[1], width)
        return cls(network, nn.functional.pad(x, (0, 0, WARM_UP, 0)), attributes, regional.scale)

    def simulate(self, catchments: slice | list[int], days: slice) -> Floats:
        """Return the flow of ``days``, ``[C, days]``, year by year."""
        years = []
        self.network.eval()
        with torch.inference_mode():
            for first in range(days.start, days.stop, SCORED):
                stop = min(first + SCORED, days.stop)
                sequence = self.x[catchments, first : stop + WARM_UP]
                years.append(self.network(sequence, self.attributes[catchments])[:, WARM_UP:])
        simulated: Floats = torch.cat(years, 1).numpy() * self.scale
        return simulated


def fit(
    weather: Floats,
    regional: Regional,
    steps: int,
    width: int = WIDTH,
    *,
    start: Fitted | None = None,
    rate: float = RATE,
) -> Fitted:
    """Fit the LSTM to all catchments that have flow.

    Parameters
    ----------
    weather
        ``[I, C, T]`` standardised, NaN where missing. What lies before the store's first day counts as missing: 0.
    steps
        Of 32 sequences each.
    width
        Cells; those of ``start`` if that is given.
    start
        An LSTM of the same inputs that training begins with; None for random weights.
    rate
        Highest learning rate.

    Raises
    ------
    ConfigError
        If ``start`` reads other inputs.
    """
    targets, deviations = regional.targets()
    last = max(regional.train.stop - SCORED, regional.train.start)
    observed = torch.isfinite(targets[:, regional.train]).any(1).nonzero()[:, 0].numpy()
    log.info("Fitting the LSTM to %s observed days", f"{regional.training_days:,}")
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(regional.seed, 10))
        fitted = Fitted.begun(weather, regional, width if start is None else start.network.lstm.hidden_size)
        if start is not None:
            fitted = _with_weights_of(start, fitted)
            unit = regional.scale / start.scale
            targets, deviations = targets * unit, deviations * unit
        network, x = fitted.network.train(), fitted.x
        optimiser = torch.optim.Adam(network.parameters(), rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
        rng = np.random.default_rng([regional.seed, 10])
        for _ in track(range(steps), "LSTM"):
            c = torch.from_numpy(rng.choice(observed, SEQUENCES))
            first = torch.from_numpy(rng.integers(regional.train.start, last + 1, SEQUENCES))
            scored = first[:, None] + torch.arange(min(SCORED, regional.train.stop - regional.train.start))
            sequence = first[:, None] + torch.arange(WARM_UP + scored.shape[1])
            predicted = network(x[c[:, None], sequence], regional.noisy_attributes(c))[:, WARM_UP:]
            if _step(network, optimiser, (predicted - targets[c[:, None], scored]) / deviations[c, None]):
                schedule.step()
    return fitted


def _with_weights_of(start: Fitted, fitted: Fitted) -> Fitted:
    """Return an LSTM with another's weights and unit of flow."""
    before, after = start.network.lstm.input_size, fitted.network.lstm.input_size
    if before != after:
        raise ConfigError(
            f"The LSTM was fitted to {before} inputs, and the store has {after} with the marks of what is missing; "
            "leave the pretrained LSTM out"
        )
    fitted.network.load_state_dict(start.network.state_dict())
    return replace(fitted, scale=start.scale)


def _step(network: Network, optimiser: torch.optim.Optimizer, error: Tensor) -> bool:
    """Take a step towards smaller squared errors, NaN where unknown; False, and no step, if none is known."""
    known = torch.isfinite(error)
    if not known.any():
        return False
    optimiser.zero_grad()
    torch.where(known, error, 0).square().sum().div(known.sum()).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimiser.step()
    return True


def lstm(weather: Floats, regional: Regional, days: slice, steps: int, width: int = WIDTH) -> Floats:
    """Fit the LSTM as `fit` does, and return its flow of ``days``, ``[C, days]``."""
    return fit(weather, regional, steps, width).simulate(slice(None), days)


@dataclass(frozen=True)
class FineTuned:
    """The LSTM, trained on at one gauge on a few days of its flow."""

    fitted: Fitted
    flow: Floats
    """``[C, T]`` in physical units."""
    seed: int

    @classmethod
    def of(cls, context: Context) -> FineTuned | None:
        """Fit the LSTM that is trained on; None if no gauge has flow for it."""
        if not np.isfinite(context.seen_flow[:, context.store.period("train")]).any():
            return None
        settings = context.settings
        fitted = fit(context.weather_of_model, context.regional, settings.lstm_steps, settings.lstm_width)
        return cls(fitted, context.flow, context.config.seed)

    def __call__(self, catchment: int, own: Indices, days: slice) -> Floats:
        """Train on with the flow of the days ``own``, and return the flow of ``days``, ``[days]``."""
        tuned = replace(self.fitted, network=deepcopy(self.fitted.network))
        targets = torch.full((self.flow.shape[1],), torch.nan)
        targets[own] = torch.from_numpy(self.flow[catchment, own] / tuned.scale).float()
        deviation = float(targets[own].std()) + TUNED_OFFSET
        optimiser = torch.optim.Adam(tuned.network.parameters(), TUNED_RATE)
        rng = np.random.default_rng([self.seed, 16, catchment, len(own)])
        tuned.network.train()
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(self.seed, 16))
            for _ in range(TUNED_STEPS):
                # A sequence of which some of the days are known, wherever they lie in it.
                begins = rng.choice(own, TUNED_SEQUENCES) - rng.integers(0, SCORED, TUNED_SEQUENCES)
                first = torch.from_numpy(begins.clip(0, max(len(targets) - SCORED, 0)))
                scored = (first[:, None] + torch.arange(SCORED)).clamp_max(len(targets) - 1)
                sequence = first[:, None] + torch.arange(WARM_UP + scored.shape[1])
                sequence = sequence.clamp_max(tuned.x.shape[1] - 1)
                attributes = tuned.attributes[[catchment]].expand(len(first), -1)
                predicted = tuned.network(tuned.x[catchment, sequence], attributes)[:, WARM_UP:]
                _step(tuned.network, optimiser, (predicted - targets[scored]) / deviation)
        flow: Floats = tuned.simulate([catchment], days)[0]
        return flow


def simulate(context: Context) -> Floats | None:
    """Return the flow ``[C, simulated_days]`` of the LSTM."""
    return context.regionally("lstm", lstm, steps=context.settings.lstm_steps, width=context.settings.lstm_width)


LSTM = Method(
    name="lstm",
    label="the LSTM",
    colour="#117733",
    line="-.",
    saw=lambda context: (
        f"{wording.weather(context)} of a year and more before the day, and static attributes; one "
        f"LSTM {wording.all_gauges(context)}"
    ),
    simulate=lambda context: context.of_test(simulate(context)),
    slow=True,
)
