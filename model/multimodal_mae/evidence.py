"""The evidence head: corrects a simulation of flow by its known errors, at other gauges and at the gauge itself.

It attends to errors, never to flow alone, and begins at what is known to work: at other gauges, the error of the day
weighted by inverse distance; at the gauge, errors on days in a like state, shrunk towards none. It learns deviations
from that. What it reads says nothing of which gauge it is: distances, likeness of the two simulations, recent errors,
how wet it is. Without evidence there is no correction.

Errors are ``log((observed + offset) / (simulated + offset))``. The central value is what squared errors ask for; the
quantiles around it are learnt by the pinball loss (Koenker & Bassett 1978, doi:10.2307/1913643).
Shapes: N target days, K donors (other gauges), M days of the gauge itself, Q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Levels of the quantiles; the middle one is the median."""
CONTEXT, STATE, DONOR, OWN = 7, 7, 19, 5
"""Numbers that describe a target day, the state of a gauge on a day, a donor, and a day of the gauge itself."""
MAX_CORRECTION = 2.0
"""Of the logarithm of flow."""
NEVER = -1e9


@dataclass(frozen=True)
class Evidence:
    """What is known of ``N`` target days; entries that are not known are zero."""

    context: Tensor
    """``[N, CONTEXT]``: season, wetness, and how much evidence there may be."""
    state: Tensor
    """``[N, STATE]``: what makes two days of a gauge alike."""
    donors: Tensor
    """``[N, K, DONOR]``."""
    donor_errors: Tensor
    """``[N, K]``: of the day, or what recent errors make of it."""
    donor_distances: Tensor
    """``[N, K]``: logarithm of km + 1."""
    donor_known: Tensor
    """``[N, K]``, bool."""
    own_states: Tensor
    """``[N, M, STATE]``."""
    own_lags: Tensor
    """``[N, M]``: days from the target to the day of the error, negative before it."""
    own_errors: Tensor
    """``[N, M]``."""
    own_known: Tensor
    """``[N, M]``, bool."""
    trained: Tensor
    """``[N]``: 1 where the simulating model was trained on flow of the gauge; only the quantiles depend on it."""


@dataclass(frozen=True)
class Correction:
    """What the evidence says of a simulation."""

    error: Tensor
    """``[N]``: to be added to the logarithm of the simulation plus the offset; zero without evidence."""
    quantiles: Tensor
    """``[N, Q]``: of the error that is left, ascending."""
    from_donors: Tensor
    """``[N]``: share of the donors' errors that is taken, 0 to 1."""
    from_own: Tensor
    """``[N]``: share of the gauge's own errors that is taken, 0 to 1."""


class EvidenceHead(nn.Module):
    """Attends to errors at donors and at the gauge; see the module."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.donor = _deviation(DONOR, hidden, 2)
        self.no_donor = nn.Parameter(torch.tensor(-5.0))
        self.no_donor_by_context = _deviation(CONTEXT, hidden, 1)
        self.distance_power = nn.Parameter(torch.tensor(2.0))
        self.project = nn.Linear(STATE, 12)
        self.likeness = nn.Parameter(torch.tensor(0.3))
        self.own = _deviation(OWN, hidden, 1)
        self.no_own = nn.Parameter(torch.tensor(0.6))
        self.combine = _deviation(10, hidden, 2)
        self.spread = _deviation(CONTEXT + 11, hidden, len(QUANTILES))
        last = self.spread[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.copy_(_initial_spread())

    def forward(self, evidence: Evidence) -> Correction:
        """Return the correction of the target days."""
        by_donors, donor_share, disagreement, far = self._from_donors(evidence)
        by_own, own_share, scatter = self._from_own(evidence)
        pooled = torch.stack(
            (by_donors, donor_share, by_own, own_share, by_donors * own_share, by_own * donor_share,
             donor_share * own_share, disagreement, scatter, evidence.context[:, 0]), dim=-1,
        )  # fmt: skip
        more = 1 + torch.tanh(self.combine(pooled))
        error = (by_donors * more[:, 0] + by_own * more[:, 1]).clamp(-MAX_CORRECTION, MAX_CORRECTION)
        seen = torch.cat(
            (evidence.context, pooled[:, :9].detach(), torch.stack((far.detach(), evidence.trained), -1)), -1
        )
        return Correction(error, _ascending(self.spread(seen)), donor_share, own_share)

    def _from_donors(self, evidence: Evidence) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the weighted error at donors, the weight not left to none, how they disagree, and how far they are."""
        deviation = self.donor(evidence.donors)
        errors = evidence.donor_errors + 0.3 * deviation[..., 1]
        logits = deviation[..., 0] - self.distance_power * evidence.donor_distances
        none = self.no_donor + self.no_donor_by_context(evidence.context)
        weight = torch.cat((logits.masked_fill(~evidence.donor_known, NEVER), none), dim=1).softmax(1)[:, :-1]
        return *_weighted(weight, errors), (weight * evidence.donor_distances).sum(1)

    def _from_own(self, evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same of the days of the gauge itself."""
        distance = (self.project(evidence.state)[:, None] - self.project(evidence.own_states)).square().mean(-1)
        lag = evidence.own_lags
        days = lag.abs()
        described = torch.stack(
            (distance, torch.log1p(days) / 5, torch.exp(-days / 3), torch.cos(days * (2 * torch.pi / 365.25)),
             (lag > 0).to(distance.dtype)), dim=-1,
        )  # fmt: skip
        logits = self.own(described)[..., 0] - self.likeness.abs() * distance
        none = self.no_own.expand(len(logits), 1)
        weight = torch.cat((logits.masked_fill(~evidence.own_known, NEVER), none), dim=1).softmax(1)[:, :-1]
        return _weighted(weight, evidence.own_errors)


def _weighted(weight: Tensor, errors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weighted sum of errors, the sum of the weights, and the weighted deviation of the errors."""
    total, share = (weight * errors).sum(1), weight.sum(1)
    mean = total / share.clamp_min(1e-6)
    deviation = (weight * (errors - mean[:, None]).square()).sum(1) / share.clamp_min(1e-6)
    return total, share, (deviation + 1e-6).sqrt() * (share > 1e-6)


def _deviation(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a small network that returns zero at first."""
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last)


def _initial_spread() -> Tensor:
    """Return what `_ascending` makes into quantiles 0.1 to 0.4 apart."""
    middle = len(QUANTILES) // 2
    bias = torch.full((len(QUANTILES),), -1.5)
    bias[middle] = 0.0
    return bias


def _ascending(raw: Tensor) -> Tensor:
    """Return ascending quantiles ``[N, Q]``: the median, and steps away from it on both sides."""
    middle = raw.shape[-1] // 2
    median, step = raw[..., middle : middle + 1], softplus(raw)
    below = -step[..., :middle].flip(-1).cumsum(-1).flip(-1)
    above = step[..., middle + 1 :].cumsum(-1)
    return torch.cat((median + below, median, median + above), dim=-1)


def pinball_loss(quantiles: Tensor, errors: Tensor) -> Tensor:
    """Return the mean pinball loss of quantiles ``[N, Q]`` of `QUANTILES` for errors ``[N]``: twice it is the CRPS."""
    level = quantiles.new_tensor(QUANTILES)
    missed = errors[:, None] - quantiles
    return torch.maximum(level * missed, (level - 1) * missed).mean()


def corrected(simulated: Tensor, error: Tensor, offset: float) -> Tensor:
    """Return a simulation corrected by the logarithm of an error, never negative."""
    return (torch.exp(torch.log(simulated.clamp_min(0) + offset) + error) - offset).clamp_min(0)
