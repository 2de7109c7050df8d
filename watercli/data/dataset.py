"""Reads windows of a store as the model's batches, and draws their masks.

Shapes: B windows, C catchments in each, T days, Y X cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import zarr
from multimodal_mae.antecedent_state import MIN_WEIGHT
from multimodal_mae.batch import Batch
from multimodal_mae.config import AntecedentStateConfig, GridConfig, MAEConfig, ModalityConfig
from multimodal_mae.layers import patchify
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import (
    TARGETED,
    Task,
    TokenMask,
    WindowTasks,
    apply_tasks,
    draw_noise,
    draw_tasks,
    mask_batch,
)
from numpy.typing import NDArray
from torch.nn.functional import pad
from torch.utils.data import Dataset

from watercli.config import Config, LayersByKind
from watercli.data.scaling import Scaling, held_out_catchments
from watercli.data.state_cache import History
from watercli.data.windows import Indices, Windows, derived_seed, draw_catchments, draw_starts
from watercli.errors import ConfigError
from watercli.store import Store


def model_config(config: Config, grid: GridConfig | None, attributes: int) -> MAEConfig:
    """Return the model's structure for a configuration and the domain's size.

    Raises
    ------
    ConfigError
        If the structure is not possible.
    """
    section = config.model
    layers = section.use_fm_layers
    if isinstance(layers, tuple):
        # A plain list is meant for the (deeper) grid encoders, as in the method's own experiments.
        layers = LayersByKind(grid=layers)
    try:
        return MAEConfig(
            modalities={
                name: ModalityConfig(
                    one.kind,
                    one.mask_ratio,
                    one.loss_weight,
                    non_negative=one.is_non_negative,
                    feeds_catchments=one.feeds_catchments,
                )
                for name, one in config.modalities.items()
            },
            grid=grid,
            attributes=attributes,
            fm_layers=None if layers is None else {"grid": layers.grid, "series": layers.series},
            antecedent_state=AntecedentStateConfig(**section.antecedent_state.model_dump())
            if section.antecedent_state
            else None,
            **section.model_dump(exclude={"use_fm_layers", "antecedent_state"}),
        )
    except ValueError as error:
        raise ConfigError(f"Setting model.{error}") from error


def store_model_config(config: Config, store: Store) -> MAEConfig:
    """Return the model's structure for a configuration and a store's grid and attributes."""
    grid = None
    if config.of_kind("grid") and store.grid_shape is not None:
        land = tuple(int(patch) for patch in store.land_patches)
        grid = GridConfig(store.grid_shape, store.patch_size, land)
    return model_config(config, grid, len(store.attribute_names))


SCALE_WINDOWS = 256
"""Training windows over which `standardise_antecedent_state` looks."""


class WindowReader:
    """Reads standardised windows of a store."""

    def __init__(self, store: Store, config: Config, scaling: Scaling) -> None:
        self.store = store
        self.days = config.window_days
        self.scaling = scaling
        self._names = list(config.modalities)
        self._static = torch.from_numpy(scaling.static(store))
        hidden = config.train.held_out_gauges
        self._series, self._targets, self._basin_std = {}, {}, {}
        for name, modality in config.of_kind("series").items():
            values = store.dataset[name].values.astype(np.float32)
            if hidden and hidden.target == name:
                values[held_out_catchments(store, config)] = np.nan
            self._series[name] = torch.from_numpy(scaling.modalities[name].forward(values))
            if modality.loss == "basin_averaged_nse":
                scaled = scaling.predicted(name).forward(values)
                self._targets[name] = torch.from_numpy(scaled)
                self._basin_std[name] = torch.from_numpy(basin_std(scaled[:, store.period("train")]))
        self._grids = {
            name: _Grid(store, name, scaling, config.train.grid_cache_gib) for name in config.of_kind("grid")
        }
        self._patch_index = self._patch_weight = None
        if self._grids and self.catchments:
            patches, shares = overlapping_patches(store.patch_weight)
            self._patch_index, self._patch_weight = torch.from_numpy(patches), torch.from_numpy(shares)
        self._cells = {
            name: torch.from_numpy(store.dataset["coverage"].sel(grid=name).values > 0) for name in self._grids
        }
        self._land = len(store.land_patches)
        self._past: dict[str, History] = {}
        self._catchment_grid_past: dict[str, History] = {}
        if config.model.antecedent_state:
            self._remember(config, AntecedentStateConfig(**config.model.antecedent_state.model_dump()))

    def _remember(self, config: Config, memory: AntecedentStateConfig) -> None:
        self._past |= {name: History(one, memory) for name, one in self._series.items()}
        for name, grid in self._grids.items():
            means = grid.patch_means(self.store)
            self._past[name] = History(means, memory)
            if self._patch_index is not None and config.modalities[name].feeds_catchments:
                values, weight = self._over_catchments(means)
                self._catchment_grid_past[name] = History(values, memory, weight)

    def _over_catchments(self, means: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return daily means of the patches that each catchment overlaps, and the shares observed, ``[C, D]`` each."""
        assert self._patch_index is not None
        assert self._patch_weight is not None
        land = torch.from_numpy(self.store.land_patches)
        patches = int(max(land.max(), self._patch_index.max())) + 1
        share = torch.zeros(self.catchments, patches + 1)
        share.scatter_(1, torch.where(self._patch_index >= 0, self._patch_index, patches), self._patch_weight)
        total = share[:, land] @ torch.isfinite(means).to(means.dtype)
        return share[:, land] @ means.nan_to_num(0.0) / total.clamp_min(MIN_WEIGHT), total

    @property
    def catchments(self) -> int:
        """Number of catchments in the store."""
        return len(self._static)

    @property
    def held_bytes(self) -> int:
        """Bytes of the grids that are held in memory."""
        return sum(grid.held_bytes for grid in self._grids.values())

    def with_target(self, starts: Indices, asked: WindowTasks) -> NDArray[np.bool_]:
        """Return ``[B, C]``: which catchments have an answer to what each window asks.

        Where a simulation or forecast of a series is asked for, those with a value of it in the window; else all.
        """
        found = np.ones((len(starts), self.catchments), dtype=bool)
        for row, (start, kind, of) in enumerate(zip(starts, asked.kind, asked.target, strict=True)):
            name = self._names[int(of)]
            if Task(int(kind)) in TARGETED and name in self._series:
                window = self._series[name][:, start : start + self.days]
                found[row] = torch.isfinite(window).any(1).numpy()
        return found

    def read(self, starts: Indices, catchments: Indices) -> Batch:
        """Return the windows that start at day indices ``[B]`` with catchments ``[B, C]`` (positions in the store).

        What lies beyond the store's last day is missing.
        """
        days = torch.from_numpy(starts)[:, None] + torch.arange(self.days)
        which = torch.from_numpy(catchments)
        last = len(self.store.times) - 1
        rows = which[..., None], days.clamp_max(last)[:, None]
        beyond = (days > last)[:, None]
        first, land = torch.from_numpy(starts), torch.arange(self._land).expand(len(starts), -1)
        return Batch(
            grids={
                name: torch.stack([grid.window(int(start), self.days) for start in starts])
                for name, grid in self._grids.items()
            },
            cells=self._cells,
            series={name: one[rows].masked_fill(beyond, torch.nan) for name, one in self._series.items()},
            static=self._static[which] if self.catchments else torch.empty(len(starts), 0, 0),
            patch_index=self._patch_index[which] if self._patch_index is not None else None,
            patch_weight=self._patch_weight[which] if self._patch_weight is not None else None,
            past={name: one.before(first, which if name in self._series else land) for name, one in self._past.items()},
            catchment_grid_past={name: one.before(first, which) for name, one in self._catchment_grid_past.items()},
            targets={name: one[rows].masked_fill(beyond, torch.nan) for name, one in self._targets.items()},
            basin_std={name: one[which] for name, one in self._basin_std.items()},
        )


def basin_std(training: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what each catchment's errors are divided by, ``[C]``, of its scaled training days ``[C, T]``.

    Its standard deviation and a twentieth of that of all catchments, so that a river that hardly varies does not
    outweigh the others; for a catchment with less than two days of its own, the median of the others.
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

    The largest come first. Where a catchment has fewer than K, patches are -1 and shares 0; shares are those of the
    patches listed, and so sum to 1.
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


class _Grid:
    """One grid modality: decoded into memory once if it fits, else read window by window."""

    def __init__(self, store: Store, name: str, scaling: Scaling, grid_cache_gib: float) -> None:
        array = zarr.open_group(store.path, mode="r")[name]
        assert isinstance(array, zarr.Array)
        self._array = array
        self._scale = scaling.modalities[name]
        self._memory: NDArray[np.float32] | None = None
        if array.size * 4 <= grid_cache_gib * 2**30:
            self._memory = self._scale.forward(np.asarray(array[:]))

    @property
    def held_bytes(self) -> int:
        """Bytes held in memory."""
        return 0 if self._memory is None else self._memory.nbytes

    def patch_means(self, store: Store, block: int = 360) -> torch.Tensor:
        """Return ``[L, D]``: means of the land patches, NaN where no cell is observed."""
        land = torch.from_numpy(store.land_patches)
        blocks = []
        for first in range(0, self._array.shape[0], block):
            fields = self.window(first, min(block, self._array.shape[0] - first))
            blocks.append(patchify(fields[None], store.patch_size)[0][:, land].nanmean(-1))
        return torch.cat(blocks).T.contiguous()

    def window(self, start: int, days: int) -> torch.Tensor:
        """Return ``[T, Y, X]``; NaN beyond the last day."""
        if self._memory is not None:
            found = torch.from_numpy(self._memory[start : start + days])
        else:
            found = torch.from_numpy(self._scale.forward(np.asarray(self._array[start : start + days])))
        beyond = days - len(found)
        return found if not beyond else pad(found, (0, 0, 0, 0, 0, beyond), value=torch.nan)


@dataclass(frozen=True)
class Step:
    """One process's part of a step."""

    batch: Batch
    masks: dict[str, TokenMask]

    def parts(self, number: int) -> list[Step]:
        """Cut into ``number`` micro-batches of equal size."""
        size = self.batch.windows // number
        found = []
        for first in range(0, self.batch.windows, size):
            rows = slice(first, first + size)
            masks = {}
            for name, mask in self.masks.items():
                factor = mask.visible.shape[0] // self.batch.windows
                masks[name] = mask.rows(slice(rows.start * factor, rows.stop * factor))
            found.append(Step(self.batch.rows(rows), masks))
        return found

    def to(self, device: torch.device | str) -> Step:
        """Return the step on another device."""
        return Step(self.batch.to(device), {name: mask.to(device) for name, mask in self.masks.items()})


def share_of_step(config: Config, world: int) -> int:
    """Return how many of a step's windows each of ``world`` processes takes.

    Raises
    ------
    ConfigError
        If the windows cannot be shared out equally over processes and micro-batches.
    """
    windows, parts = config.train.batch_size, world * config.train.gradient_accumulation
    if windows % parts:
        raise ConfigError(
            f"Setting 'train.batch_size' ({windows}) must be a multiple of processes x train.gradient_accumulation "
            f"({world} x {config.train.gradient_accumulation})"
        )
    return windows // world


class Steps(Dataset[Step]):
    """Training steps by number: what a process reads for a step depends on seed, step and rank only.

    The whole step's random numbers are drawn everywhere and each process takes its rows, so that the same windows and
    masks make up a step whatever the number of processes.
    """

    def __init__(
        self,
        reader: WindowReader,
        windows: Windows,
        config: Config,
        structure: MAEConfig,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        share = share_of_step(config, world)
        self._reader, self._windows, self._config, self._structure = reader, windows, config, structure
        self._rows = slice(rank * share, (rank + 1) * share)

    def __len__(self) -> int:
        return self._config.train.steps

    def __getitem__(self, step: int) -> Step:
        train, seed = self._config.train, self._config.seed
        starts = draw_starts(self._windows, step=step, batch=train.batch_size, seed=seed)
        generator = torch.Generator().manual_seed(derived_seed(seed, 2, step))
        asked = draw_tasks(*task_shares(self._config), train.tasks.max_lead_time, train.batch_size, generator)
        with_target = self._reader.with_target(starts, asked)
        catchments = draw_catchments(with_target, train.catchments_per_window, np.random.default_rng([seed, step]))
        batch = self._reader.read(starts[self._rows], catchments[self._rows])
        noise = draw_noise(
            self._structure,
            windows=train.batch_size,
            catchments=catchments.shape[1],
            days=self._reader.days,
            generator=generator,
        )
        mine = {name: one[self._rows] for name, one in noise.items()}
        masks = apply_tasks(
            batch, self._structure, mask_batch(batch, self._structure, mine), asked.rows(self._rows), mine
        )
        if train.attribute_noise_std:
            shape = (train.batch_size, *batch.static.shape[1:])
            blur = train.attribute_noise_std * torch.randn(shape, generator=generator)
            batch = replace(batch, static=batch.static + blur[self._rows])
        return Step(batch, masks)


def standardise_antecedent_state(model: MultiModalMAE, reader: WindowReader, config: Config) -> None:
    """Give a new model the scale of what its memory reads: that of the first training windows and their masks.

    It is the same on every process, however many they are.
    """
    assert model.antecedent_state is not None
    steps = Steps(
        reader, Windows.within(reader.store.period("train"), config.window_days, "train"), config, model.config
    )
    enough = min(-(-SCALE_WINDOWS // config.train.batch_size), config.train.steps)
    device = next(model.parameters()).device
    for_all = (steps[number].to(device) for number in range(enough))
    model.antecedent_state.standardise((step.batch, step.masks) for step in for_all)


def task_shares(config: Config) -> tuple[dict[Task, float], list[int]]:
    """Return the share of each question, and the positions of the modalities that are asked for."""
    questions = config.train.tasks
    shares: dict[Task, float] = {
        one: float(getattr(questions, one.name.lower())) for one in Task if one is not Task.RANDOM
    }
    return shares, [list(config.modalities).index(name) for name in questions.targets if name in config.modalities]


def fixed_steps(
    reader: WindowReader, starts: Indices, config: Config, structure: MAEConfig, *, catchments: int, size: int
) -> list[Step]:
    """Return windows with fixed masks, ``size`` windows in each step, for validation.

    They ask what those of training ask, and catchments are drawn for them in the same way.
    """
    steps, seed = [], config.seed
    for first in range(0, len(starts), size):
        some = starts[first : first + size]
        generator = torch.Generator().manual_seed(derived_seed(seed, 4, first))
        asked = draw_tasks(*task_shares(config), config.train.tasks.max_lead_time, len(some), generator)
        which = draw_catchments(reader.with_target(some, asked), catchments, np.random.default_rng([seed, 3, first]))
        batch = reader.read(some, which)
        noise = draw_noise(
            structure, windows=len(some), catchments=which.shape[1], days=reader.days, generator=generator
        )
        masks = apply_tasks(batch, structure, mask_batch(batch, structure, noise), asked, noise)
        steps.append(Step(batch, masks))
    return steps
