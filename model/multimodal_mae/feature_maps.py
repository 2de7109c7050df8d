"""Weighted feature maps: each decoder layer reads its own learned mixture of encoder layers.

Shapes: R rows, L tokens, D width, K encoder layers, M decoder layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WeightedFeatureMaps(nn.Module):
    """A bias-free Linear(K, M) over layers, then a LayerNorm for each of the M maps (CrossMAE, arXiv 2401.14391)."""

    def __init__(self, layers: int, maps: int, width: int) -> None:
        super().__init__()
        # A parameter of this module, not a Linear's: what shards weights over processes gathers a module's own
        # parameters around its forward, and the Linear's forward would never be called.
        self.weight = nn.Parameter(torch.empty(maps, layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(maps))
        self.reset()

    def reset(self) -> None:
        """Draw the layer weights from N(0, 1/sqrt(K)), the standard deviation being 1/sqrt(K)."""
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)

    def mix(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the M weighted sums ``[R, L, D]`` of K layers ``[R, L, D]``, before their norms.

        A running sum: no stacked copy of all layers is made.
        """
        if len(features) != self.weight.shape[1]:
            raise ValueError(f"{len(features)} layers given, {self.weight.shape[1]} expected")
        sums = []
        for weights in self.weight:
            total = features[0] * weights[0]
            for feature, weight in zip(features[1:], weights[1:], strict=True):
                total = torch.addcmul(total, feature, weight.to(feature.dtype))
            sums.append(total)
        return sums

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return one normed map ``[R, L, D]`` for each decoder layer."""
        return [norm(total) for norm, total in zip(self.norms, self.mix(features), strict=True)]
