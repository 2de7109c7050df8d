"""A block of a recurrence whose state is a gated linear recurrence: cheap, as nothing but a multiply-add is sequential.

A day's state holds what the days up to it left behind, ``h(t) = f(t) h(t-1) + (1 - f(t)) u(t)``. Gate f and candidate u
depend on the visible values of the day and on the static attributes, never on h, so that matrix products cover all days
at once and one multiply-add a day is all that is sequential (gated linear recurrences: Martin & Cundy 2018,
arXiv:1709.04057; Qin et al. 2023, arXiv:2311.04823). Gates begin at time constants of 1 to 500 days, as the stores of a
catchment have them: snow, soil, groundwater.
Shapes: S days, of which the first are a warm-up, R rows, D width, F days of issue, L days after each.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

SHORTEST, LONGEST = 1.0, 500.0
"""Time constants in days over which the gates are spread at first."""


def spread_logits(shortest: float, longest: float, width: int) -> Tensor:
    """Return logits ``[D]`` of gates that keep ``exp(-1 / days)``, for days from ``shortest`` to ``longest``."""
    days = torch.exp(torch.linspace(math.log(shortest), math.log(longest), width))
    return -torch.log(torch.expm1(1 / days))


class GatedScan(torch.autograd.Function):
    """States ``[S, R, D]`` of gate logits and candidates, packed as ``[S, R, 2 D]``, from an initial state ``[R, D]``.

    The loops run over views made once and write in place, at the cost of one elementwise operation; a scan in chunks or
    in logarithms passes more often over the data.
    """

    @staticmethod
    def forward(ctx: Any, packed: Tensor, initial: Tensor) -> Tensor:
        """Return the states."""
        logit, candidate = packed.chunk(2, -1)
        gate = torch.sigmoid(logit)
        states = torch.addcmul(candidate, gate, candidate, value=-1)  # (1 - f) u, overwritten by the states
        state = initial
        for gate_of_day, state_of_day in zip(gate.unbind(0), states.unbind(0), strict=True):
            state = state_of_day.addcmul_(gate_of_day, state)
        ctx.save_for_backward(gate, candidate, states, initial)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the packed logits and candidates, and of the initial state."""
        gate, candidate, states, initial = ctx.saved_tensors
        total = gradients[0].clone(
            memory_format=torch.contiguous_format
        )  # through the later days too, once the loop is done
        gates, totals = gate.unbind(0), total.unbind(0)
        for day in range(len(totals) - 2, -1, -1):
            totals[day].addcmul_(gates[day + 1], totals[day + 1])
        packed = total.new_empty(*total.shape[:-1], 2 * total.shape[-1])
        of_logit, of_candidate = packed.chunk(2, -1)
        torch.addcmul(total, total, gate, value=-1, out=of_candidate)
        torch.sub(states[:-1], candidate[1:], out=of_logit[1:])  # h(t-1) - u(t)
        torch.sub(initial, candidate[0], out=of_logit[0])
        of_logit.mul_(gate).mul_(of_candidate)
        return packed, gate[0] * total[0]


def scan(packed: Tensor, initial: Tensor) -> Tensor:
    """Return the states ``[S, ..., D]`` of packed gate logits and candidates; see `GatedScan`."""
    states: Tensor = GatedScan.apply(packed, initial)  # type: ignore[no-untyped-call]
    return states


def balanced_state(packed: Tensor, days: int) -> Tensor:
    """Return the state ``[R, D]`` at which gains and losses of the first ``days`` cancel: no store begins empty.

    ``days`` must not reach beyond the warm-up, or the first days would know later ones.
    """
    logit, candidate = packed[: max(days, 1)].chunk(2, -1)
    gain = torch.sigmoid(-logit)
    return (gain * candidate).sum(0) / gain.sum(0).clamp_min(1e-6)


class GatedLinearBlock(nn.Module):
    """One recurrence and a gated read-out of its state, added to what went in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.recurrence = nn.Linear(width, 2 * width)
        self.read_gate = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    @torch.no_grad()
    def spread_time_constants(self) -> None:
        """Have the gates begin at time constants of `SHORTEST` to `LONGEST` days."""
        width = self.out.out_features
        self.recurrence.bias[:width] = spread_logits(SHORTEST, LONGEST, width)
        self.recurrence.weight[:width] *= 0.5

    def forward(self, x: Tensor, warmup: int, *, keep: int | None = None) -> Tensor:
        """Return ``[S, R, D]`` of ``[S, R, D]``, or its last ``keep`` days; the state settles over ``warmup`` days."""
        normed, packed = self._packed(x)
        states = scan(packed, balanced_state(packed, warmup))
        if keep is not None:
            states, normed, x = states[-keep:], normed[-keep:], x[-keep:]
        return self._with_read_out(x, normed, states)

    def forecast(self, x: Tensor, warmup: int, issued: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``[S, R, D]`` of ``[S, R, D]``, and ``[L, F, R, D]`` of ``ahead``, the days after ``issued`` ``[F]``.

        Each goes on from the state of its day of issue, one of S.
        """
        normed, packed = self._packed(x)
        states = scan(packed, balanced_state(packed, warmup))
        normed_ahead, packed_ahead = self._packed(ahead)
        later = self._with_read_out(ahead, normed_ahead, scan(packed_ahead, states[issued]))
        return self._with_read_out(x, normed, states), later

    def _packed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normed input, and packed gate logits and candidates."""
        normed = self.norm(x)
        # In float32 whatever the precision of the products: a slow store changes by a thousandth a day.
        return normed, self.recurrence(normed).float()

    def _with_read_out(self, x: Tensor, normed: Tensor, states: Tensor) -> Tensor:
        changed: Tensor = x + self.out(states.to(normed.dtype) * silu(self.read_gate(normed)))
        return changed
