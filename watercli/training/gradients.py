"""How much of a step's gradient each modality has: one that has nearly all drowns the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from multimodal_mae.config import MAEConfig
from torch import Tensor

from watercli.data.steps import Step
from watercli.training.engine import Engine


def gradient_shares(engine: Engine, steps: Sequence[Step], structure: MAEConfig) -> dict[str, float]:
    """Return ``gradient_share/<modality>``: the norm of its loss's gradient over the sum of all such norms.

    Measured on whole steps, over all weights, with dropout off; losses carry their weights. NaN for a modality without
    a target.
    """
    parameters = [one for one in engine.model.parameters() if one.requires_grad]
    gradients: dict[str, list[Tensor]] = {}
    engine.model.eval()
    for step in steps:
        predictions = engine.forward(step.to(engine.device))
        for name, one in predictions.items():
            if not int(one.count):
                continue
            loss = structure.modalities[name].loss_weight * one.squared_error / one.count
            found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            known = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
            before = gradients.get(name)
            gradients[name] = known if before is None else [a + b for a, b in zip(before, known, strict=True)]
    norms = {name: float(torch.stack([one.norm() for one in found]).norm()) for name, found in gradients.items()}
    total = sum(norms.values())
    return {f"gradient_share/{name}": norms[name] / total if name in norms and total else float("nan")
            for name in structure.modalities}  # fmt: skip
