"""The optimisers: AdamW for every weight, or Muon for the matrices between hidden layers and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from multimodal_mae.mae import MultiModalMAE
from torch import Tensor

from watercli.config import Train

SMALLEST_SIDE = 64
"""Rows and columns that a matrix must have for Muon: smaller ones are inputs and outputs, not hidden layers."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95


class Muon(torch.optim.AdamW):
    """AdamW, but for groups that are marked ``orthogonal``: their weights move along orthogonalised momentum.

    All directions of a matrix then learn at one pace, where AdamW follows the few in which gradients are large (Jordan
    et al. 2024, kellerjordan.github.io/posts/muon; a step is as long as AdamW's, Liu et al. 2025, arXiv:2502.16982). It
    needs matrices that are not spread over processes. The momentum is kept as AdamW's first moment.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step."""
        groups = self.param_groups
        for group in groups:
            if group["orthogonal"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._move(weight, weight.grad, group)
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), device=weight.device)
            state["exp_avg"] = torch.zeros_like(weight)
        state["step"] += 1
        momentum = state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
        direction = torch.cat([orthogonalised(part) for part in matrices_of(gradient.lerp(momentum, MOMENTUM))])
        length = 0.2 * max(matrices_of(weight)[0].shape) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"] * length)


def matrices_of(weight: Tensor) -> tuple[Tensor, ...]:
    """Return the square matrices stacked in a weight, such as a gate's and its candidate's; otherwise the weight."""
    rows, columns = weight.shape
    return weight.split(columns) if rows > columns and rows % columns == 0 else (weight,)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return nearly the nearest matrix with orthonormal rows or columns, by Newton-Schulz iterations in float32."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / (x.norm() + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    direction: Tensor = (x.T if tall else x).to(matrix.dtype)
    return direction


def optimiser(model: MultiModalMAE, train: Train) -> torch.optim.AdamW:
    """Return the optimiser of the weights that a run trains; norms, biases, positions and mask tokens do not decay."""
    decayed: list[torch.nn.Parameter] = []
    free: list[torch.nn.Parameter] = []
    hidden: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2 or "position" in name:
            free.append(parameter)
        elif train.optimiser == "muon" and parameter.ndim == 2 and min(parameter.shape) >= SMALLEST_SIDE:
            hidden.append(parameter)
        else:
            decayed.append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": train.weight_decay, "orthogonal": False},
        {"params": free, "weight_decay": 0.0, "orthogonal": False},
    ]
    if train.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=train.learning_rate, betas=train.betas, fused=True)
    groups.append({"params": hidden, "weight_decay": train.weight_decay, "orthogonal": True})
    return Muon([group for group in groups if group["params"]], lr=train.learning_rate, betas=train.betas, fused=True)
