"""The average of the weights over training: it generalises better than the last weights, at next to no cost.

Polynomial-decay averaging (Shamir and Zhang 2013, Stochastic gradient descent for non-smooth optimization,
arXiv:1212.1824): the weights after update n count as about n**power, whatever the number of steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from watercli.config import Train

EVERY = 4
"""Steps between two updates of the average."""
PREFIX = "weights/"
"""Before the names of the weights as they were trained, in the optimiser's file."""


class Average:
    """The running average; empty before its first update, when the weights themselves stand for it."""

    def __init__(self, power: float, values: Mapping[str, Tensor] | None = None) -> None:
        self.power = power
        self.values: dict[str, Tensor] = dict(values or {})

    @classmethod
    def of(cls, train: Train, values: Mapping[str, Tensor] | None = None) -> Average | None:
        """Return the average that ``train.weight_averaging`` sets, going on from ``values``; None if it sets none."""
        return None if train.weight_averaging is None else cls(train.weight_averaging, values)

    def update(self, model: nn.Module, number: int) -> None:
        """Take in the weights as update ``number``, 1 being the first."""
        share = (self.power + 1) / (number + self.power)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name in self.values:
                    self.values[name].lerp_(weight.float(), share)
                else:
                    self.values[name] = weight.detach().float().clone()

    def exchange(self, model: nn.Module) -> None:
        """Put the average into the model, and keep the model's weights in its place: twice changes nothing."""
        with torch.no_grad():
            for name, weight in model.named_parameters():
                own = weight.detach().clone()
                weight.copy_(self.values[name])
                self.values[name] = own
