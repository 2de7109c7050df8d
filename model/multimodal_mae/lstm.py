"""A block of a recurrence whose state is an LSTM's: its gates read the state too.

So a catchment answers to rain by how wet it is (Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; for
rivers, Kratzert et al. 2019, doi:10.5194/hess-23-5089-2019). Matrix products go day by day, which takes longer than a
gated linear recurrence and learns more in a step. Forget gates begin at time constants of 3 to 500 days, and input
gates at what they leave (Tallec & Ollivier 2018, arXiv:1804.11188).
Shapes: S days, of which the first are a warm-up, R rows, D width, F days of issue, L days after each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multimodal_mae.gated_linear import LONGEST, spread_logits

SHORTEST = 3.0
"""Days from which on the time constants of the forget gates are spread at first."""

State = tuple[Tensor, Tensor]
"""Outputs and cells ``[1, R, D]`` of a day."""


class LSTM(nn.LSTM):
    """An LSTM in float32, whatever the precision of the rest: a slow store changes by a thousandth a day."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    @torch.no_grad()
    def spread_time_constants(self) -> None:
        """Draw the weights, and have the forget gates begin at time constants of `SHORTEST` days and more."""
        self.reset_parameters()
        width = self.hidden_size
        kept = spread_logits(SHORTEST, LONGEST, width)
        bias = self.get_parameter("bias_ih_l0")
        bias.zero_()
        self.get_parameter("bias_hh_l0").zero_()
        bias[:width], bias[width : 2 * width] = -kept, kept

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:  # type: ignore[override]
        """Return the outputs ``[S, R, D]`` of ``[S, R, D]``, and the state of the last day; None begins empty."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        weights = [self.get_parameter(name).float() for name in names]
        if state is None:
            empty = weights[0].new_zeros(1, x.shape[1], self.hidden_size)
            state = empty, empty
        with torch.autocast(x.device.type, enabled=False):
            outputs, *last = torch.lstm(x.float(), state, weights, True, 1, 0.0, self.training, False, False)
        return outputs.to(x.dtype), (last[0], last[1])


class LSTMBlock(nn.Module):
    """One LSTM and a linear read-out of its state, added to what went in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.recurrence = LSTM(width)
        self.out = nn.Linear(width, width)

    def spread_time_constants(self) -> None:
        """Have the gates begin at time constants of `SHORTEST` days and more."""
        self.recurrence.spread_time_constants()

    def forward(self, x: Tensor, warmup: int, *, keep: int | None = None) -> Tensor:
        """Return ``[S, R, D]`` of ``[S, R, D]``, or its last ``keep`` days. The state begins empty."""
        states, _ = self.recurrence(self.norm(x))
        if keep is not None:
            states, x = states[-keep:], x[-keep:]
        changed: Tensor = x + self.out(states)
        return changed

    def forecast(self, x: Tensor, warmup: int, issued: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``[S, R, D]`` of ``[S, R, D]``, and ``[L, F, R, D]`` of ``ahead``, the days after ``issued`` ``[F]``.

        Each goes on from the state of its day of issue, one of S.
        """
        normed = self.norm(x)
        stops, order = (issued + 1).unique(return_inverse=True)
        parts, at_stops, state = [], [], None
        for part in normed.tensor_split(stops.tolist()):
            if len(part):
                states, state = self.recurrence(part, state)
                parts.append(states)
            at_stops.append(state)
        outputs, cells = (torch.cat(of_stops)[order] for of_stops in zip(*at_stops[: len(stops)], strict=True))
        begun = (outputs.flatten(0, 1)[None], cells.flatten(0, 1)[None])  # [1, F * R, D]
        later, _ = self.recurrence(self.norm(ahead).flatten(1, 2), begun)
        return x + self.out(torch.cat(parts)), ahead + self.out(later.unflatten(1, ahead.shape[1:3]))
