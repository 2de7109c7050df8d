"""Windows of noise, every cell and every day observed, and random masks of them: what benchmarks and counts feed."""

from __future__ import annotations

import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.masking import TokenMask
from multimodal_mae.moving_averages import carried_size
from multimodal_mae.tasks import Task, WindowTasks, draw_noise, mask_windows

OVERLAPPING = 2
"""Patches that each catchment overlaps."""


def batch_of(config: MAEConfig, days: int, windows: int, catchments: int, grid_days: int | None = None) -> Batch:
    """Return windows with catchments that overlap the first land patches in equal shares.

    Grids have the last ``grid_days`` of their days; None: all.
    """
    assert config.grid is not None
    land = config.grid.land_patches
    carried = carried_size(config.antecedent_state) if config.antecedent_state else 0
    grids = {
        name: torch.randn(windows, grid_days or days, len(land), config.grid.values) for name in config.of_kind("grid")
    }
    series = {name: torch.randn(windows, catchments, days) for name in config.of_kind("series")}
    return Batch(
        grids=grids,
        cells={name: torch.ones(len(land), config.grid.values, dtype=torch.bool) for name in grids},
        series=series,
        static=torch.randn(windows, catchments, config.attributes),
        patch_index=torch.tensor(land[:OVERLAPPING]).expand(windows, catchments, OVERLAPPING),
        patch_weight=torch.full((windows, catchments, OVERLAPPING), 1 / OVERLAPPING),
        past={name: torch.randn(windows, len(land), carried) for name in grids}
        | {name: torch.randn(windows, catchments, carried) for name in series}
        if carried
        else {},
        history={name: torch.randn(windows, catchments, config.past_days) for name in series}
        if config.recurrence
        else {},
        catchment_grid_past={name: torch.randn(windows, catchments, carried) for name in grids} if carried else {},
    )


def masks_of(batch: Batch, config: MAEConfig) -> dict[str, TokenMask]:
    """Return random masks of a batch, always the same."""
    generator = torch.Generator().manual_seed(0)
    windows, catchments = batch.static.shape[:2]
    noise = draw_noise(config, windows=windows, catchments=catchments, days=batch.days, grid_days=batch.grid_days,
                       generator=generator)  # fmt: skip
    return mask_windows(batch, config, WindowTasks.same(Task.RANDOM_MASKING, windows), noise)
