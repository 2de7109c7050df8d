"""Pretraining tasks: what a window shows and what it has predicted. One pure function for each task.

A task masks one modality at a time (`ModalityRows`): the function of a task returns its `TokenMask`. `mask_windows` is
the only way to masks of tasks, for training, validation and evaluation.
Shapes: B windows, C catchments in each, R rows (B for grids, B * C for series), N tokens of a row (T days, P patches).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig, ModalityConfig
from multimodal_mae.masking import TokenMask, Tokens, random_mask, tokens


class Task(IntEnum):
    """The pretraining task of a window."""

    RANDOM_MASKING = 0
    """Every modality's tokens that are masked at random."""
    SIMULATION = 1
    """All of one modality, hidden with its past; everything else is shown."""
    FORECAST = 2
    """The last days of one modality; everything else is shown."""
    FORECAST_WITHOUT_FORCING = 3
    """The same, and nothing is known of these days."""
    SPATIAL_MASKING = 4
    """Tubes: every modality at some of its patches or catchments, hidden throughout (a catchment with its past)."""


TARGETED = (Task.SIMULATION, Task.FORECAST, Task.FORECAST_WITHOUT_FORCING)
"""Those that predict one modality."""


@dataclass(frozen=True)
class WindowTasks:
    """The task of each of B windows: ``[B]`` int64 each."""

    task: Tensor
    """A `Task`."""
    target: Tensor
    """Position of the modality that a simulation or forecast predicts."""
    lead_time: Tensor
    """Days of a forecast."""

    @classmethod
    def same(cls, task: Task, windows: int, target: int = 0, lead_time: int = 1) -> WindowTasks:
        """Return one task for all of some windows."""
        return cls(*(torch.full((windows,), value) for value in (int(task), target, lead_time)))

    def rows(self, rows: slice) -> WindowTasks:
        """Return those of some windows."""
        return WindowTasks(self.task[rows], self.target[rows], self.lead_time[rows])


def draw_tasks(
    shares: Mapping[Task, float], targets: Sequence[int], max_lead_time: int, windows: int, generator: torch.Generator
) -> WindowTasks:
    """Draw the tasks of windows: each by its share of them, random masking for what is left over.

    ``targets`` are the positions of the modalities that are predicted, ``max_lead_time`` the most days of a forecast.
    """
    lot, task, before = torch.rand(windows, generator=generator), torch.zeros(windows, dtype=torch.int64), 0.0
    for kind, share in shares.items():
        task[(lot >= before) & (lot < before + share)] = int(kind)
        before += share
    drawn = torch.randint(max(len(targets), 1), (windows,), generator=generator)
    target = torch.tensor(targets)[drawn] if targets else torch.zeros_like(task)
    return WindowTasks(task, target, torch.randint(1, max_lead_time + 1, (windows,), generator=generator))


def draw_noise(
    config: MAEConfig,
    *,
    windows: int,
    catchments: int,
    days: int,
    generator: torch.Generator,
    grid_days: int | None = None,
) -> dict[str, Tensor]:
    """Return uniform noise for every modality's tokens: grids ``[B, G * P]``, series ``[B, C, T]``.

    ``days`` is T, ``grid_days`` is G; None: as many.
    """
    patches = config.grid.patches if config.grid is not None else 0
    grid_days = days if grid_days is None else grid_days
    shapes = {
        "grid": (windows, grid_days * patches),
        "series": (windows, catchments, days),
    }
    return {
        name: torch.rand(shapes[modality.kind], generator=generator) for name, modality in config.modalities.items()
    }


def draw_absent(config: MAEConfig, *, windows: int, catchments: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw where a modality is absent from a window, each by its ``dropout``: grids ``[B]``, series ``[B, C]``.

    Modalities without dropout are left out, and take no random number.
    """
    shapes = {"grid": (windows,), "series": (windows, catchments)}
    return {
        name: torch.rand(shapes[modality.kind], generator=generator) < modality.dropout
        for name, modality in config.modalities.items()
        if modality.dropout
    }


def draw_missing_attributes(
    shape: Sequence[int], probability: float, generator: torch.Generator, sets: Tensor | None = None
) -> Tensor:
    """Draw which attributes ``[B, C, A]`` are missing: each by itself, and by the same probability all at once.

    ``sets`` ``[S, A]`` bool are attributes that may be missing together. Each is drawn by the same probability again,
    and so are all of them at once.
    """
    each = torch.rand(tuple(shape), generator=generator) < probability
    all_at_once = torch.rand((*shape[:-1], 1), generator=generator) < probability
    missing = each | all_at_once
    if sets is None or not len(sets):
        return missing
    of_set = torch.rand((*shape[:-1], len(sets)), generator=generator) < probability
    every_set = torch.rand((*shape[:-1], 1), generator=generator) < probability
    return missing | ((of_set | every_set).float() @ sets.float() > 0)


@dataclass(frozen=True)
class ModalityRows:
    """Rows of one modality, as a task sees them."""

    modality: ModalityConfig
    days: int
    tokens: Tokens
    """What is there, ``[R, N]`` each."""
    is_target: Tensor
    """``[R, 1]`` bool: the row's window predicts this modality."""
    lead_time: Tensor
    """``[R, 1]`` days of a forecast."""
    noise: Tensor
    """``[R, N]``, uniform; ``[R, 0]`` where no task needs it."""
    kept_mask_ratio: float | None = None

    def rows(self, rows: Tensor) -> ModalityRows:
        """Return some of the rows."""
        return replace(
            self,
            tokens=Tokens(self.tokens.observed[rows], self.tokens.complete[rows]),
            is_target=self.is_target[rows],
            lead_time=self.lead_time[rows],
            noise=self.noise[rows],
        )

    def without(self, absent: Tensor) -> ModalityRows:
        """Return the rows, of which those in ``absent`` ``[R]`` have no token."""
        present = ~absent[:, None]
        return replace(self, tokens=Tokens(self.tokens.observed & present, self.tokens.complete & present))

    @property
    def places(self) -> int:
        """Tokens of a day: P patches of a grid, 1 of a series."""
        return self.tokens.observed.shape[1] // max(self.days, 1)

    @property
    def is_forecast_day(self) -> Tensor:
        """``[R, N]`` bool: the token is of one of the last ``lead_time`` days."""
        token = torch.arange(self.tokens.observed.shape[1], device=self.lead_time.device)
        return token // self.places >= self.days - self.lead_time

    def mask(self, hidden: Tensor, target: Tensor, hidden_past: Tensor | None = None) -> TokenMask:
        """Return the mask that shows all but ``hidden`` ``[R, N]`` and predicts ``target`` ``[R, N]``.

        ``hidden_past`` ``[R]`` are rows whose days before the window are hidden too; None: there are none.
        """
        past = torch.ones_like(self.is_target[:, 0]) if hidden_past is None else ~hidden_past
        return TokenMask(self.tokens.complete & ~hidden, self.tokens.observed & target, past)


def random_masking(rows: ModalityRows) -> TokenMask:
    """Hide and predict a share of every modality's tokens, drawn one by one (He et al. 2022, arXiv 2111.06377)."""
    mask = random_mask(rows.tokens, rows.modality.mask_ratio, rows.kept_mask_ratio, rows.noise)
    return replace(mask, past=torch.ones_like(rows.is_target[:, 0]))


def simulation(rows: ModalityRows) -> TokenMask:
    """Hide and predict the whole of the target, its past hidden too, as at a river without a gauge."""
    return rows.mask(hidden=rows.is_target, target=rows.is_target, hidden_past=rows.is_target[:, 0])


def forecast(rows: ModalityRows) -> TokenMask:
    """Hide and predict the last days of the target; what drives it is known on these days, as if observed."""
    ahead = rows.is_target & rows.is_forecast_day
    return rows.mask(hidden=ahead, target=ahead)


def forecast_without_forcing(rows: ModalityRows) -> TokenMask:
    """Hide the last days of every modality and predict those of the target.

    A grid that is read on fewer days than a forecast has is hidden with its past, which reaches into these days.
    """
    ahead = rows.is_forecast_day
    return rows.mask(ahead, ahead & rows.is_target, hidden_past=rows.lead_time[:, 0] > rows.days)


def spatial_masking(rows: ModalityRows) -> TokenMask:
    """Hide and predict whole patches, or whole catchments with their past, throughout the window.

    Tubes, as of Tong et al. 2022 (VideoMAE, arXiv 2203.12602): the noise of a place's first day decides for all days.
    """
    tube = rows.noise[:, : rows.places] < rows.modality.mask_ratio
    hidden = tube.repeat(1, rows.days)
    return rows.mask(hidden, hidden, tube[:, 0] if rows.modality.kind == "series" else None)


MASKS: dict[Task, Callable[[ModalityRows], TokenMask]] = {
    Task.RANDOM_MASKING: random_masking,
    Task.SIMULATION: simulation,
    Task.FORECAST: forecast,
    Task.FORECAST_WITHOUT_FORCING: forecast_without_forcing,
    Task.SPATIAL_MASKING: spatial_masking,
}
"""What masks the rows of a task."""
DRAWN = (Task.RANDOM_MASKING, Task.SPATIAL_MASKING)
"""Tasks whose masks are drawn from noise."""


def mask_windows(
    batch: Batch,
    config: MAEConfig,
    tasks: WindowTasks,
    noise: Mapping[str, Tensor] | None = None,
    absent: Mapping[str, Tensor] | None = None,
) -> dict[str, TokenMask]:
    """Return the masks of every modality, by the task of each window.

    Parameters
    ----------
    batch
        The windows.
    config
        The modalities, their order and their mask ratios.
    tasks
        The task of each window.
    noise
        What `draw_noise` returned: it alone decides, so that equal noise gives equal masks on any device. Only masks
        of random and spatial masking need it.
    absent
        What `draw_absent` returned: there a modality counts as missing with its past, save in windows that predict it.

    Raises
    ------
    ValueError
        If there is no noise for masks that are drawn.
    """
    if noise is None and any(bool((tasks.task == task).any()) for task in DRAWN):
        raise ValueError("noise: random and spatial masking need it; draw it with draw_noise")
    masks = {}
    for name in config.modalities:
        task, rows = _rows_of(name, batch, config, tasks, None if noise is None else noise[name])
        if absent and name in absent:
            is_absent = absent[name].flatten().to(task.device) & ~_is_predicted(task, rows)
            mask = _mask(task, rows.without(is_absent))
            assert mask.past is not None
            masks[name] = replace(mask, past=mask.past & ~is_absent)
        else:
            masks[name] = _mask(task, rows)
    return masks


def _is_predicted(task: Tensor, rows: ModalityRows) -> Tensor:
    """Return the rows ``[R]`` of windows that simulate or forecast this modality."""
    return rows.is_target[:, 0] & torch.isin(task, torch.tensor(TARGETED, device=task.device))


def _rows_of(
    name: str, batch: Batch, config: MAEConfig, tasks: WindowTasks, noise: Tensor | None
) -> tuple[Tensor, ModalityRows]:
    """Return the task of each row of a modality, ``[R]``, and the rows."""
    available = tokens(batch, config, name)
    number, device = len(available.observed), available.observed.device
    task, target, lead_time = (
        of_windows.to(device).repeat_interleave(number // batch.windows)
        for of_windows in (tasks.task, tasks.target, tasks.lead_time)
    )
    return task, ModalityRows(
        modality=config.modalities[name],
        days=batch.days_of(config.modalities[name].kind),
        tokens=available,
        is_target=(target == list(config.modalities).index(name))[:, None],
        lead_time=lead_time[:, None],
        noise=torch.empty(number, 0, device=device)
        if noise is None
        else noise.to(device).reshape(available.observed.shape),
        kept_mask_ratio=config.kept_mask_ratio,
    )


def _mask(task: Tensor, rows: ModalityRows) -> TokenMask:
    """Return the masks of rows, each by its own task ``[R]``."""
    visible = torch.zeros_like(rows.tokens.observed)
    target, past = torch.zeros_like(visible), torch.ones_like(rows.is_target[:, 0])
    for kind, mask_rows in MASKS.items():
        chosen = task == kind
        if bool(chosen.any()):
            mask = mask_rows(rows.rows(chosen))
            assert mask.past is not None
            visible[chosen], target[chosen], past[chosen] = mask.visible, mask.target, mask.past
    return TokenMask(visible, target, past)
