"""Each modality's share of a step's gradient: a modality with nearly all of it drowns the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from multimodal_mae.config import MAEConfig
from torch import Tensor

from watercli.data.steps import Step
from watercli.training.engine import Engine


def gradient_shares(engine: Engine, steps: Sequence[Step], structure: MAEConfig) -> dict[str, float]:
    """Return ``gradient_share/<modality>``: the norm of its loss's gradient over the sum of all such norms.

    Measured on steps that are not cut into micro-batches, over all weights, with dropout off. Losses carry their
    weights. NaN for a modality without a target.
    """
    parameters = [weight for weight in engine.model.parameters() if weight.requires_grad]
    gradients: dict[str, list[Tensor]] = {}
    engine.model.eval()
    for step in steps:
        predictions = engine.forward(step.to(engine.device))
        for name, prediction in predictions.items():
            if not int(prediction.count):
                continue
            loss = structure.modalities[name].loss_weight * prediction.squared_error / prediction.count
            by_weight = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            gradient = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, by_weight, strict=True)]
            before = gradients.get(name)
            gradients[name] = gradient if before is None else [a + b for a, b in zip(before, gradient, strict=True)]
    norms = {name: float(torch.stack([g.norm() for g in gradient]).norm()) for name, gradient in gradients.items()}
    total = sum(norms.values())
    return {f"gradient_share/{name}": norms[name] / total if name in norms and total else float("nan")
            for name in structure.modalities}  # fmt: skip
