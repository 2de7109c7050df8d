"""A small regional network: from features of a day and a catchment's attributes to its flow of that day.

Errors are divided by the basin_std of the catchment, as with ``loss: basin_averaged_nse``.
Shapes: C catchments, T days, N dates, F features, A attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from watercli.baselines.attributes import with_flags
from watercli.data.reader import basin_std
from watercli.data.windows import derived_seed
from watercli.log import track

Floats = NDArray[np.floating[Any]]
Positions = NDArray[np.int64]
WIDTH = 256
SAMPLES = 512
RATE = 1e-3
WEIGHT_DECAY = 1e-4
HARDLY_VARIES = 0.01
"""Share of the median feature's standard deviation."""
MAX_ROWS = 50_000
"""Rows that the features are standardised over; more are thinned out evenly."""


@dataclass(frozen=True)
class Regional:
    """The flow of all catchments at once, in physical units, and the attributes that a regional method learns from."""

    static: Floats
    """Standardised attributes ``[C, A]``, NaN where missing."""
    flow: Floats
    """``[C, T]``, NaN where missing, and throughout at held-out gauges."""
    train: slice
    """Days to learn from, along T."""
    noise: float
    """Standard deviation of the noise on the attributes while training."""
    seed: int
    all_flagged: bool = False
    """Every attribute and every input of an LSTM has its flag, also where nothing is missing: what is learnt on one
    store then reads another."""

    @property
    def scale(self) -> float:
        """Standard deviation of all flow, which it is divided by so that networks see numbers about 1."""
        return float(np.nanstd(self.flow[:, self.train]))

    @property
    def training_days(self) -> int:
        """Number of observed catchment days to learn from."""
        return int(np.isfinite(self.flow[:, self.train]).sum())

    def targets(self) -> tuple[Tensor, Tensor]:
        """Return the scaled flow ``[C, T]`` and what each catchment's errors are divided by, ``[C]``."""
        scaled = (self.flow / self.scale).astype(np.float32)
        return torch.from_numpy(scaled), torch.from_numpy(basin_std(scaled[:, self.train]))

    def attributes(self) -> Tensor:
        """Return the attributes with flags of those that have gaps, ``[C, A + F]``."""
        static = self._static()
        return with_flags(static, self._flagged(static))

    def noisy_attributes(self, catchments: Tensor) -> Tensor:
        """Return the attributes of some catchments ``[B]`` with noise, ``[B, A + F]``."""
        static = self._static()
        noisy = static[catchments] + self.noise * torch.randn(len(catchments), static.shape[1])
        return with_flags(noisy, self._flagged(static))

    def _static(self) -> Tensor:
        return torch.from_numpy(self.static.astype(np.float32))

    def _flagged(self, static: Tensor) -> Tensor:
        gappy = torch.isnan(static).any(0)
        return torch.ones_like(gappy) if self.all_flagged else gappy


class DailyFeatures(Protocol):
    """Features ``[C, T, F]``, all of which need not be in memory at once."""

    @property
    def size(self) -> int:
        """F."""

    def batches(self, catchments: Positions, days: Positions) -> Iterator[Floats]:
        """Yield the features of the days of each batch, ``[N, F]``; the arguments are ``[batches, N]``."""

    def during(self, days: slice) -> Iterator[Floats]:
        """Yield the features of a period, ``[period, F]``, catchment by catchment."""


@dataclass(frozen=True)
class KeptFeatures:
    """Daily features that are there already, in memory or in a file."""

    values: Floats
    """``[C, T, F]``."""

    @property
    def size(self) -> int:
        """F."""
        return int(self.values.shape[-1])

    def batches(self, catchments: Positions, days: Positions) -> Iterator[Floats]:
        """Yield the features of the days of each batch, ``[N, F]``."""
        return (self.values[of_batch] for of_batch in zip(catchments, days, strict=True))

    def during(self, days: slice) -> Iterator[Floats]:
        """Yield the features of a period, ``[period, F]``, catchment by catchment."""
        return iter(self.values[:, days])


def _deviation(sample: Floats) -> NDArray[np.float32]:
    """Return the standard deviation of features ``[F]`` over rows ``[N, F]``; infinite if a feature hardly varies.

    Divided by it, such a feature is 0. Otherwise it would be huge where it does differ: the share of known days in a
    long average is constant in training, but not in a test period at the beginning of the record.
    """
    deviation = sample.std(0)
    hardly_varies = deviation < HARDLY_VARIES * np.median(deviation)
    return np.where(hardly_varies, np.inf, deviation + 1e-6).astype(np.float32)


def fit_network(features: DailyFeatures, regional: Regional, steps: int, predict: slice, progress: str) -> Floats:
    """Fit a network of three hidden layers to all catchments, and return its flow of ``predict``, ``[C, predicted]``.

    Parameters
    ----------
    features
        Of the same days as the flow. Finite wherever there is flow to learn from; they are standardised over such days.
    steps
        Of 512 observed days each.
    progress
        Label of the progress bar.
    """
    attributes, (targets, deviations) = regional.attributes(), regional.targets()
    catchment, day = np.nonzero(np.isfinite(regional.flow[:, regional.train]))
    day = day + regional.train.start
    thin = np.linspace(0, len(day) - 1, min(len(day), MAX_ROWS)).round().astype(np.int64)
    (sample,) = features.batches(catchment[None, thin], day[None, thin])
    sample = sample.astype(np.float32)
    mean, deviation = torch.from_numpy(sample.mean(0)), torch.from_numpy(_deviation(sample))

    def read(rows: Floats) -> Tensor:
        return (torch.tensor(rows, dtype=torch.float32) - mean) / deviation

    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(regional.seed, 9))
        network = nn.Sequential(
            nn.Linear(features.size + attributes.shape[1], WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, 1), nn.Softplus(),
        )  # fmt: skip
        optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        rng = np.random.default_rng([regional.seed, 9])
        drawn = rng.integers(0, len(day), (steps, SAMPLES))
        batches = features.batches(catchment[drawn], day[drawn])
        for of_step in track(drawn, progress):
            c, t = torch.from_numpy(catchment[of_step]), torch.from_numpy(day[of_step])
            predicted = network(torch.cat((read(next(batches)), regional.noisy_attributes(c)), -1))[:, 0]
            loss = ((predicted - targets[c, t]) / deviations[c]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.inference_mode():
        rows = (
            torch.cat((read(x), a.expand(len(x), -1)), -1)
            for x, a in zip(features.during(predict), attributes, strict=True)
        )
        simulated: Floats = torch.stack([network(row)[:, 0] for row in rows]).numpy() * regional.scale
    return simulated
