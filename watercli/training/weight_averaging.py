"""The average of the weights over training: it generalises better than the last weights, at next to no cost.

Polynomial-decay averaging (Shamir and Zhang 2013, Stochastic gradient descent for non-smooth optimization,
arXiv:1212.1824): the weights after update n count as about n**power, whatever the number of steps.

A fine-tuning may keep a share of its parent's weights in it (Wortsman et al. 2022, Robust fine-tuning of zero-shot
models, arXiv:2109.01903).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from watercli.config import Train

EVERY = 4
"""Steps between two updates of the average."""
PREFIX = "weights/"
"""Before the names of the weights as they were trained, in the optimiser's file."""


@dataclass(frozen=True)
class Kept:
    """What a fine-tuning keeps of its parent. An average of mixtures is the mixture of the average."""

    share: float
    weights: Mapping[str, Tensor]
    """The parent's, by name."""

    def mixed(self, name: str, weight: Tensor) -> Tensor:
        """Return the weighted mean of a trained weight and the parent's."""
        return weight.lerp(self.weights[name].to(weight), self.share)


class Average:
    """The running average; empty before its first update, when the weights themselves stand for it."""

    def __init__(self, power: float, values: Mapping[str, Tensor] | None = None, kept: Kept | None = None) -> None:
        self.power = power
        self.values: dict[str, Tensor] = dict(values or {})
        self.kept = kept

    @classmethod
    def of(cls, train: Train, values: Mapping[str, Tensor] | None = None, kept: Kept | None = None) -> Average | None:
        """Return the average that ``train.weight_averaging`` sets, going on from ``values``; None if it sets none."""
        return None if train.weight_averaging is None else cls(train.weight_averaging, values, kept)

    def update(self, model: nn.Module, number: int) -> None:
        """Take in the weights as update ``number``, 1 being the first."""
        share = (self.power + 1) / (number + self.power)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                trained = weight.detach().float()
                taken = trained if self.kept is None else self.kept.mixed(name, trained)
                if name in self.values:
                    self.values[name].lerp_(taken, share)
                else:
                    self.values[name] = taken.clone()

    def exchange(self, model: nn.Module) -> None:
        """Put the average into the model, and keep the model's weights in its place: twice changes nothing."""
        with torch.no_grad():
            for name, weight in model.named_parameters():
                own = weight.detach().clone()
                weight.copy_(self.values[name])
                self.values[name] = own
