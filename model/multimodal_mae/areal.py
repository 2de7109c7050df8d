"""Grids as catchments and land patches see them: daily means of patches, and of catchments over visible patches.

Shapes: B windows, C catchments in each, G days of grids, L land patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multimodal_mae.batch import Batch
from multimodal_mae.config import GridConfig
from multimodal_mae.masking import TokenMask

MIN_WEIGHT = 1e-6
"""Total weight below which a mean is taken as unknown."""


def land_means(batch: Batch, name: str, mask: TokenMask, grid: GridConfig) -> tuple[Tensor, Tensor]:
    """Return a grid's land patches, means over the observed cells, and which are visible, ``[B, G, L]`` each."""
    land = list(grid.land_patches)
    values = batch.grids[name].nanmean(-1).nan_to_num(0.0)
    return values, mask.visible.unflatten(1, (batch.grid_days, grid.patches))[:, :, land].to(values.dtype)


def catchment_means(batch: Batch, name: str, mask: TokenMask, grid: GridConfig) -> tuple[Tensor, Tensor]:
    """Return a grid's means over the visible patches of each catchment, and their weights, ``[B * C, G]`` each."""
    share = _catchment_shares(batch, grid)
    values, weight = land_means(batch, name, mask, grid)
    total = torch.einsum("btl,bcl->bct", weight, share).flatten(0, 1)
    sums = torch.einsum("btl,bcl->bct", weight * values, share).flatten(0, 1)
    return sums / total.clamp_min(MIN_WEIGHT), total


def _catchment_shares(batch: Batch, grid: GridConfig) -> Tensor:
    """Return the catchments' shares in the land patches, ``[B, C, L]``."""
    if batch.patch_index is None or batch.patch_weight is None:
        raise ValueError("patch_index and patch_weight: a grid that feeds catchments needs those of each catchment")
    b, c, _ = batch.patch_index.shape
    full = batch.patch_weight.new_zeros(b, c, grid.patches + 1)
    full.scatter_(2, torch.where(batch.patch_index >= 0, batch.patch_index, grid.patches), batch.patch_weight)
    return full[..., list(grid.land_patches)]
