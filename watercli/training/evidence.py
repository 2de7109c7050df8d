"""Fits the evidence head to the errors of a trained model, in minutes: evidence is masked at random, as modalities are.

Each step draws gauges, and for each of them what is known: a share of the donors, often none; none of the gauge's own
flow, single days, a stretch of years, all up to a day, or all but a gap. Its flow on other days is predicted.
Shapes: C catchments, N days of the store, n target days of a gauge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from multimodal_mae.evidence import Evidence, EvidenceHead, corrected, pinball_loss
from numpy.typing import NDArray
from torch import Tensor

from watercli.data.evidence import FlowErrors, choose_own, explain, joined
from watercli.data.windows import Indices
from watercli.log import log, track

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

GAUGES, TARGETS = 12, 24
"""Gauges of a step, and target days of each."""
PEAK_RATE, WARMUP, WEIGHT_DECAY = 2e-3, 100, 0.02
DROPPED, DROPPED_ODDS = (0.0, 0.3, 0.6, 0.85, 1.0), (0.3, 0.25, 0.2, 0.1, 0.15)
"""Shares of donors that are hidden, and how often each is drawn."""
RECORDS, RECORD_ODDS = ("none", "single", "stretch", "past", "gap"), (0.3, 0.2, 0.2, 0.15, 0.15)
SINGLE_DAYS = (6, 12, 24, 52)
STRETCHES = (30, 120, 365, 365, 730)
GAPS = (1, 7, 30, 90, 365)
MOST_OF_STRETCH = 180
APART = 10
"""Days between a stretch and the days that are predicted from it."""
MAX_LAG = 10
AVERAGING = 5.0
"""Power of the average of weights over steps, as `watercli.training.weight_averaging`."""


@dataclass(frozen=True)
class Ground:
    """What a head is fitted to."""

    table: FlowErrors
    targets: Indices
    """Catchments whose flow is predicted."""
    donors: Flags
    """``[C]``: catchments whose errors may be evidence."""
    days: Flags
    """``[N]``: days whose flow may be predicted or be evidence."""
    better: float = 1.0
    """Errors of the model that the head is for, as a share of those of the model that made this simulation."""

    @cached_property
    def gauges(self) -> Indices:
        """Targets that have `TARGETS` days of flow, as positions in the store."""
        lengths = (np.isfinite(self.table.observed[self.targets]) & self.days).sum(axis=1)
        enough: Indices = self.targets[lengths >= TARGETS]
        return enough

    def draw(self, rng: np.random.Generator, head: EvidenceHead) -> tuple[Evidence, Tensor, Tensor, Tensor]:
        """Return evidence of a step's target days, and of each the simulation, observed flow and catchment.

        The head says what the donors explain of the gauges' own errors.
        """
        parts, simulated, observed, catchments = [], [], [], []
        for catchment in rng.choice(self.gauges, GAUGES):
            record = np.flatnonzero(self.days & np.isfinite(self.table.observed[catchment]))
            days, own, own_known, lags = _draw_days(rng, record)
            usable = self.donors & (rng.random(len(self.donors)) >= _share(rng))
            donors = self.table.donors(catchment, days, lags, usable)
            explained = explain(head, self.table, catchment, own, int(lags[0]), usable)
            parts.append(self.table.evidence(
                catchment, days, donors=donors, lags=lags, own=own, own_known=own_known, explained=explained
            ))  # fmt: skip
            simulated.append(self.table.simulated[catchment, days])
            observed.append(self.table.observed[catchment, days])
            catchments.append(np.full(len(days), catchment))
        flow, truth = (torch.from_numpy(np.concatenate(of).astype(np.float32)) for of in (simulated, observed))
        return joined(parts), flow, truth, torch.from_numpy(np.concatenate(catchments))


def _share(rng: np.random.Generator) -> float:
    return float(rng.choice(DROPPED, p=DROPPED_ODDS))


def _draw_days(rng: np.random.Generator, record: Indices) -> tuple[Indices, Indices, Flags, Indices]:
    """Return target days ``[n]``, days of the gauge ``[M]`` that are known to each ``[n, M]``, and the donors' lags."""
    kind = rng.choice(RECORDS, p=RECORD_ODDS)
    lags = np.zeros(TARGETS, dtype=np.int64)
    if rng.random() < 0.3:
        lags[:] = 1 if rng.random() < 0.5 else rng.integers(1, MAX_LAG + 1, TARGETS)
    if kind == "past":
        start = int(rng.integers(0, len(record) - TARGETS + 1))
        days = record[start : start + TARGETS]
        leads = days - days[0] + 1
        own = choose_own(days[:1], record[:start])
        lags = np.where(lags > 0, leads, 0)
        return days, own, np.ones((len(days), len(own)), bool), lags
    if kind == "gap":
        length = int(rng.choice(GAPS))
        first = int(rng.choice(record))
        inside = record[(record >= first) & (record < first + length)]
        days = np.sort(rng.choice(inside, min(TARGETS, len(inside)), replace=False))
        own = choose_own(days, record[(record < first) | (record >= first + length)])
        return days, own, np.ones((len(days), len(own)), bool), lags[: len(days)]
    own = record[:0]
    candidates = record
    if kind == "single":
        own = np.sort(rng.choice(record, min(int(rng.choice(SINGLE_DAYS)), len(record) // 2), replace=False))
        candidates = np.setdiff1d(record, own)
    elif kind == "stretch":
        start, length = int(rng.integers(0, len(record))), int(rng.choice(STRETCHES))
        stretch = record[start : start + length]
        apart = record[(record < stretch[0] - APART) | (record > stretch[-1] + APART)]
        if len(apart) >= TARGETS:
            own = np.sort(rng.choice(stretch, min(MOST_OF_STRETCH, len(stretch)), replace=False))
            candidates = apart
    days = np.sort(rng.choice(candidates, min(TARGETS, len(candidates)), replace=False))
    return days, own, np.ones((len(days), len(own)), bool), lags[: len(days)]


def fit_correction(head: EvidenceHead, ground: Ground, steps: int, seed: int) -> None:
    """Fit the correction to squared errors, weighted as basin-averaged NSE weights them (Kratzert et al. 2019)."""
    known = np.where(ground.days, ground.table.observed, np.nan)[ground.targets]
    spread = torch.full((len(ground.donors),), torch.nan)
    spread[ground.targets] = torch.from_numpy(np.nanstd(known, axis=1)).float()
    weight = 1 / (spread + 0.05 * spread.nanmean()) ** 2

    def loss(_: Ground, evidence: Evidence, simulated: Tensor, observed: Tensor, catchments: Tensor) -> Tensor:
        flow = corrected(simulated, head(evidence).error, ground.table.offset)
        return ((flow - observed).square() * weight[catchments]).mean()

    fitted = [value for name, value in head.named_parameters() if not name.startswith("spread")]
    _fit(head, fitted, [ground], loss, steps, seed, "fit the evidence head")


def fit_spread(head: EvidenceHead, grounds: list[Ground], steps: int, seed: int) -> None:
    """Fit the quantiles to the errors that the correction leaves, each step on the next of the grounds with flow."""
    grounds = [ground for ground in grounds if len(ground.gauges)]
    offset = grounds[0].table.offset

    def loss(ground: Ground, evidence: Evidence, simulated: Tensor, observed: Tensor, catchments: Tensor) -> Tensor:
        correction = head(evidence)
        left = torch.log((observed.clamp_min(0) + offset) / (simulated.clamp_min(0) + offset)) - correction.error
        return pinball_loss(correction.quantiles, ground.better * left.detach())

    _fit(head, list(head.spread.parameters()), grounds, loss, steps, seed + 1, "fit the quantiles")


def _fit(
    head: EvidenceHead, fitted: list[torch.nn.Parameter], grounds: list[Ground], loss: Any, steps: int, seed: int,
    what: str,
) -> None:  # fmt: skip
    rng = np.random.default_rng([seed, 8])
    optimiser = torch.optim.AdamW(fitted, PEAK_RATE, weight_decay=WEIGHT_DECAY)
    average = [value.detach().clone() for value in fitted]
    for step in track(range(steps), what):
        rate = min(1.0, (step + 1) / WARMUP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        optimiser.param_groups[0]["lr"] = PEAK_RATE * rate
        optimiser.zero_grad()
        ground = grounds[step % len(grounds)]
        value = loss(ground, *ground.draw(rng, head))
        value.backward()
        torch.nn.utils.clip_grad_norm_(fitted, 1.0)
        optimiser.step()
        for kept, now in zip(average, fitted, strict=True):
            kept.lerp_(now.detach(), min(1.0, AVERAGING / (step + AVERAGING)))
        if (step + 1) % 500 == 0:
            log.info("%s: step %d of %d, loss %.4f", what, step + 1, steps, float(value.detach()))
    with torch.no_grad():
        for kept, now in zip(average, fitted, strict=True):
            now.copy_(kept)
