"""Reads windows of a store as the model's batches.

Shapes: B windows, C catchments in each, T days of a window, G of them with grids, D days of the store, L land patches,
K patches that a catchment overlaps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from multimodal_mae.areal import MIN_WEIGHT
from multimodal_mae.batch import Batch
from multimodal_mae.tasks import TARGETED, Task, WindowTasks
from numpy.typing import NDArray
from torch import Tensor

from watercli.config import Config, Modality
from watercli.data.grid_cache import GridCache
from watercli.data.held_out import held_out_catchments
from watercli.data.land_patches import on_land
from watercli.data.scaling import Scaling
from watercli.data.state_cache import History
from watercli.data.windows import Indices
from watercli.store import Store


class WindowReader:
    """Reads standardised windows of a store.

    On ``unseen`` days the series of ``train.tasks.targets`` count as missing. They are a test period before training,
    whose flow would otherwise be the past of the first training windows. With ``make_files``, grids that exceed
    ``train.grid_cache_gib`` are decoded into files, which all readers of the store then use.
    """

    def __init__(
        self,
        store: Store,
        config: Config,
        scaling: Scaling,
        unseen: slice | None = None,
        *,
        make_files: bool = False,
    ) -> None:
        self.store, self.scaling = store, scaling
        self.days = config.window_days
        self.grid_days = config.grid_days
        self._names = list(config.modalities)
        self._static = torch.from_numpy(scaling.static(store))
        self.attribute_sets = _lacked_together(self._static)
        self._land = torch.from_numpy(store.land_patches)
        self._series: dict[str, Tensor] = {}
        self._targets: dict[str, Tensor] = {}
        self._basin_std: dict[str, Tensor] = {}
        for name, modality in config.of_kind("series").items():
            self._take_series(name, modality, config, unseen)
        self._grids = {
            name: GridCache(store, name, scaling.modalities[name], config.train.grid_cache_gib, make_file=make_files)
            for name in config.of_kind("grid")
        }
        self._cells = {
            name: torch.from_numpy(on_land(store, store.dataset["coverage"].sel(grid=name).values > 0))
            for name in self._grids
        }
        self._patch_index: Tensor | None = None
        self._patch_weight: Tensor | None = None
        if self._grids and self.catchments:
            self._patch_index, self._patch_weight = map(torch.from_numpy, overlapping_patches(store.patch_weight))
        self._past: dict[str, History] = {}
        self._catchment_grid_past: dict[str, History] = {}
        self._warmup = config.model.recurrence.warmup_days if config.model.recurrence else 0
        self._daily = self._daily_values(config) if self._warmup else {}
        if config.model.antecedent_state:
            self._keep_past(config, partial(History, config=config.model.antecedent_state))

    def _take_series(self, name: str, modality: Modality, config: Config, unseen: slice | None) -> None:
        """Standardise a series ``[C, D]`` as an input, and as a target where that is in another space."""
        values = self.store.dataset[name].values.astype(np.float32)
        held_out = config.train.held_out_gauges
        if held_out and held_out.target == name:
            values[held_out_catchments(self.store, config)] = np.nan
        if unseen is not None and name in config.train.tasks.targets:
            values[:, unseen] = np.nan
        self._series[name] = torch.from_numpy(self.scaling.modalities[name].forward(values))
        if modality.loss == "basin_averaged_nse":
            targets = self.scaling.predicted(name).forward(values)
            self._targets[name] = torch.from_numpy(targets)
            self._basin_std[name] = torch.from_numpy(basin_std(targets[:, self.store.period("train")]))

    def _keep_past(self, config: Config, history: Callable[..., History]) -> None:
        """Keep the antecedent states before any window: of series, land patches, and catchments' own patches.

        ``history`` makes them from daily values ``[places, D]``, and from their weights where these are not all 1.
        """
        if not self._warmup:  # a recurrence has a state of its own of all that catchments see
            self._past |= {name: history(values) for name, values in self._series.items()}
        for name, grid in self._grids.items():
            means = grid.patch_means()
            self._past[name] = history(means)
            if self._patch_index is not None and config.modalities[name].feeds_catchments and not self._warmup:
                catchment_means, observed = self._over_catchments(means)
                self._catchment_grid_past[name] = history(catchment_means, weight=observed)

    def _daily_values(self, config: Config) -> dict[str, Tensor]:
        """Return the daily inputs of a recurrence, ``[C, D]``: series, and areal means of grids that feed them."""
        daily = dict(self._series)
        for name, grid in self._grids.items():
            if self._patch_index is not None and config.modalities[name].feeds_catchments:
                means, observed = self._over_catchments(grid.patch_means())
                daily[name] = torch.where(observed > 0, means, torch.nan)
        return daily

    def _over_catchments(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return daily means over the patches that each catchment overlaps, and the shares observed, ``[C, D]`` both.

        ``means`` are those of land patches, ``[L, D]``. Unlike `watercli.hydrology.areal_mean`, a mean of less than
        half is kept: the model reads the share too, and weighs the day by it.
        """
        assert self._patch_index is not None
        assert self._patch_weight is not None
        patches = int(max(self._land.max(), self._patch_index.max())) + 1
        share = torch.zeros(self.catchments, patches + 1)
        share.scatter_(1, torch.where(self._patch_index >= 0, self._patch_index, patches), self._patch_weight)
        total = share[:, self._land] @ torch.isfinite(means).to(means.dtype)
        return share[:, self._land] @ means.nan_to_num(0.0) / total.clamp_min(MIN_WEIGHT), total

    @property
    def catchments(self) -> int:
        """Number of catchments in the store."""
        return len(self._static)

    @property
    def held_bytes(self) -> int:
        """Bytes of the grids that are held in memory."""
        return sum(grid.held_bytes for grid in self._grids.values())

    def with_target(self, starts: Indices, tasks: WindowTasks) -> NDArray[np.bool_]:
        """Return the catchments that can be scored in each window, ``[B, C]``.

        Where the window's task is to simulate or forecast a series, they are those with a value of it; otherwise all.
        """
        scored = np.ones((len(starts), self.catchments), dtype=bool)
        for row, (start, task, target) in enumerate(zip(starts, tasks.task, tasks.target, strict=True)):
            name = self._names[int(target)]
            if Task(int(task)) in TARGETED and name in self._series:
                window = self._series[name][:, start : start + self.days]
                scored[row] = torch.isfinite(window).any(1).numpy()
        return scored

    def read(self, starts: Indices, catchments: Indices, *, with_grids: bool = True, days: int | None = None) -> Batch:
        """Return the windows that start at day indices ``[B]`` with catchments ``[B, C]`` (positions in the store).

        Days after the store's last are missing. ``with_grids``: False reads no field, G = 0; a recurrence needs none,
        as it reads their areal means. ``days``: T; None for ``window_days``.
        """
        first, positions = torch.from_numpy(starts), torch.from_numpy(catchments)
        grid_days = self.grid_days if with_grids else 0
        days = days or self.days
        skipped = days - grid_days
        return Batch(
            grids={name: grid.windows(starts + skipped, grid_days) for name, grid in self._grids.items()},
            cells=self._cells,
            series=self._windows(self._series, first, positions, days),
            static=self._static[positions] if self.catchments else torch.empty(len(starts), 0, 0),
            patch_index=self._patch_index[positions] if self._patch_index is not None else None,
            patch_weight=self._patch_weight[positions] if self._patch_weight is not None else None,
            past={
                name: self._before(name, first + (skipped if name in self._grids else 0), positions)
                for name in self._past
                if with_grids or name in self._series
            },
            catchment_grid_past={
                name: history.before(first, positions) for name, history in self._catchment_grid_past.items()
            },
            history={
                name: self._history(name, first, positions, skipped if name in self._grids else 0)
                for name in self._daily
            },
            targets=self._windows(self._targets, first, positions, days),
            basin_std={name: std[positions] for name, std in self._basin_std.items()},
        )

    def ahead(self, catchments: Indices, days: Indices) -> dict[str, Tensor]:
        """Return what a recurrence reads of catchments ``[C]`` on days ``[F, L]`` of the store, ``[1, C, F, L]`` each.

        NaN where missing, and after the store's last day.
        """
        last, index = len(self.store.times) - 1, torch.from_numpy(days)
        at = torch.from_numpy(catchments)[:, None, None], index.clamp_max(last)
        return {name: values[at].masked_fill(index > last, torch.nan)[None] for name, values in self._daily.items()}

    def _windows(self, series: dict[str, Tensor], first: Tensor, catchments: Tensor, days: int) -> dict[str, Tensor]:
        """Return windows ``[B, C, T]`` of each series ``[C, D]``; T is ``days``."""
        dates = first[:, None] + torch.arange(days)
        last = len(self.store.times) - 1
        index = catchments[..., None], dates.clamp_max(last)[:, None]
        beyond = (dates > last)[:, None]
        return {name: values[index].masked_fill(beyond, torch.nan) for name, values in series.items()}

    def _history(self, name: str, first: Tensor, catchments: Tensor, skipped: int) -> Tensor:
        """Return the days before windows, and their first ``skipped`` days, ``[B, C, H + skipped]``.

        NaN before the store's first day and after its last.
        """
        days = first[:, None] + torch.arange(-self._warmup, skipped)
        last = len(self.store.times) - 1
        values = self._daily[name][catchments[..., None], days.clamp(0, last)[:, None]]
        return values.masked_fill(((days < 0) | (days > last))[:, None], torch.nan)

    def _before(self, name: str, first: Tensor, catchments: Tensor) -> Tensor:
        """Return the antecedent states of a series ``[B, C, G]`` or a grid's patches ``[B, L, G]`` before windows."""
        land = torch.arange(len(self._land)).expand(len(first), -1)
        return self._past[name].before(first, catchments if name in self._series else land)


def _lacked_together(static: Tensor) -> Tensor:
    """Return sets of attributes that the same catchments lack, ``[S, A]`` bool, as they come from one table.

    ``static`` are the attributes ``[C, A]``. Those that no catchment lacks are in no set.
    """
    if not static.numel():
        return torch.zeros(0, static.shape[1], dtype=torch.bool)
    lacking = torch.isnan(static)
    patterns: Tensor = torch.unique(lacking, dim=1)
    sets = (lacking[:, None, :] == patterns[:, :, None]).all(0)
    return sets[patterns.any(0)]


def basin_std(training: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the divisor of each catchment's errors, ``[C]``, from its scaled training days ``[C, T]``.

    It is the catchment's standard deviation plus 0.05, a twentieth of that of all catchments. So a river that hardly
    varies does not outweigh the rest. A catchment with fewer than two observed days has the median of all catchments.
    """
    count = np.isfinite(training).sum(1)
    own = np.full(len(training), np.nan)
    own[count > 1] = np.nanstd(training[count > 1].astype(np.float64), axis=1)
    usual = np.nanmedian(own) if np.isfinite(own).any() else 1.0
    return (np.where(np.isfinite(own), own, usual) + 0.05).astype(np.float32)


def overlapping_patches(
    patch_weight: NDArray[np.float32], share: float = 0.9
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the patches that together hold ``share`` of each catchment, and its shares in them, ``[C, K]`` each.

    The largest shares come first, and sum to 1 over the patches listed. Where a catchment has fewer than K patches, the
    rest are -1, with share 0.
    """
    order = np.argsort(-patch_weight, axis=1, kind="stable")
    sorted_weight = np.take_along_axis(patch_weight, order, axis=1)
    before = np.cumsum(sorted_weight, axis=1) - sorted_weight
    needed = (before < share) & (sorted_weight > 0)
    most = max(int(needed.sum(1).max()), 1)
    kept = np.where(needed, sorted_weight, 0)[:, :most]
    total = kept.sum(1, keepdims=True)
    shares = np.divide(kept, total, out=np.zeros_like(kept), where=total > 0)
    return np.where(needed, order, -1)[:, :most].astype(np.int64), shares.astype(np.float32)
