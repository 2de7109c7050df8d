"""A typed batch that validates itself on construction.

Shapes: B windows, C catchments in each window, T days, G days of grids, L land patches, V cells of a patch, A static
attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from multimodal_mae.config import Kind


@dataclass(frozen=True)
class Batch:
    """Windows of all land patches, and some catchments in each; standardised values, NaN where missing.

    A grid is encoded once for a window, however many catchments it has.
    """

    grids: Mapping[str, Tensor]
    """``[B, G, L, V]`` each, patches in the order of `multimodal_mae.config.GridConfig.land_patches`, cells row by row:
    the last G days of the windows, which may be fewer than T where series are read."""
    cells: Mapping[str, Tensor]
    """``[L, V]`` bool: cells that the modality ever observes; the others (sea) are no part of it."""
    series: Mapping[str, Tensor]
    """``[B, C, T]`` each."""
    static: Tensor
    """``[B, C, A]``, NaN where missing; ``[B, 0, 0]`` where there are no catchments."""
    patch_index: Tensor | None = None
    """``[B, C, K]`` int64: patches that a catchment overlaps, -1 where there are fewer."""
    patch_weight: Tensor | None = None
    """``[B, C, K]``: shares of the catchment in these patches; rows sum to 1."""
    past: Mapping[str, Tensor] = field(default_factory=dict)
    """What the days before the window leave to the antecedent state, as `multimodal_mae.moving_averages.carry` returns
    it: series ``[B, C, G]``, grids ``[B, L, G]`` (means of the L land patches)."""
    catchment_grid_past: Mapping[str, Tensor] = field(default_factory=dict)
    """The same of grids on the patches that each catchment overlaps, ``[B, C, G]``."""
    history: Mapping[str, Tensor] = field(default_factory=dict)
    """Daily values of the H days before the window, ``[B, C, H]``, NaN where missing, for a recurrence. Of grids the
    means over the patches that each catchment overlaps, up to the day before the G days that are read: ``[B, C, H + T -
    G]``."""
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    """``[B, C, T]`` of a series whose predictions are in another space than what encoders see."""
    basin_std: Mapping[str, Tensor] = field(default_factory=dict)
    """``[B, C]``: what a catchment's errors are divided by before they are squared; 1 where there is none."""

    def __post_init__(self) -> None:
        windows, catchments, _ = self._dims("static", self.static, 3)
        days: int | None = None
        grid_days: int | None = None
        for name, grid in self.grids.items():
            b, t, *cells = self._dims(name, grid, 4)
            if name not in self.cells or list(self.cells[name].shape) != cells:
                raise ValueError(f"cells: '{name}' needs a mask of shape {cells}")
            grid_days = self._agree(name, (b, t), (windows, t if grid_days is None else grid_days))
        for name, series in self.series.items():
            b, c, t = self._dims(name, series, 3)
            if c != catchments:
                raise ValueError(f"'{name}' has {c} catchments, static has {catchments}")
            days = self._agree(name, (b, t), (windows, days or t))
        if self.patch_index is not None and tuple(self.patch_index.shape[:2]) != (windows, catchments):
            raise ValueError(
                f"patch_index: is of {tuple(self.patch_index.shape[:2])}, static of {(windows, catchments)}"
            )
        if days is None and grid_days is None:
            raise ValueError("a batch needs at least one modality")
        if days is not None and grid_days is not None and grid_days > days:
            raise ValueError(f"grids: have {grid_days} days, more than the {days} of the window")
        if bool(torch.isinf(self.static).any()):
            raise ValueError("static: has infinite values; mend the attribute or its transform")

    @staticmethod
    def _dims(name: str, tensor: Tensor, dims: int) -> tuple[int, ...]:
        if tensor.ndim != dims:
            raise ValueError(f"'{name}' has shape {list(tensor.shape)}, which is not of {dims} dimensions")
        return tuple(tensor.shape)

    @staticmethod
    def _agree(name: str, have: tuple[int, int], want: tuple[int, int]) -> int:
        if have != want:
            raise ValueError(f"'{name}' has (windows, days) = {have}, the batch has {want}")
        return have[1]

    @property
    def windows(self) -> int:
        """B."""
        return self.static.shape[0]

    @property
    def days(self) -> int:
        """T."""
        return next(iter(self.series.values())).shape[2] if self.series else self.grid_days

    @property
    def grid_days(self) -> int:
        """G; 0 where there are no grids."""
        return next(iter(self.grids.values())).shape[1] if self.grids else 0

    def days_of(self, kind: Kind) -> int:
        """Return the days of the window of a kind of modality: T, or G."""
        return self.grid_days if kind == "grid" else self.days

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        return replace(moved, cells={name: mask.to(device, non_blocking=True) for name, mask in self.cells.items()})

    def rows(self, rows: slice | Tensor) -> Batch:
        """Return some of the windows."""
        return self._each(lambda tensor: tensor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with every tensor that has a row for each window changed."""

        def all_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: change(tensor) for name, tensor in tensors.items()}

        return replace(
            self,
            grids=all_of(self.grids),
            series=all_of(self.series),
            static=change(self.static),
            patch_index=None if self.patch_index is None else change(self.patch_index),
            patch_weight=None if self.patch_weight is None else change(self.patch_weight),
            past=all_of(self.past),
            catchment_grid_past=all_of(self.catchment_grid_past),
            history=all_of(self.history),
            targets=all_of(self.targets),
            basin_std=all_of(self.basin_std),
        )
