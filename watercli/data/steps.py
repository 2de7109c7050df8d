"""Steps of training and validation: their windows, catchments and masks.

Shapes: B windows, C catchments in each, T days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import TokenMask
from multimodal_mae.tasks import (
    Task,
    WindowTasks,
    draw_absent,
    draw_missing_attributes,
    draw_noise,
    draw_tasks,
    mask_windows,
)
from torch import Tensor
from torch.utils.data import Dataset

from watercli.config import Config
from watercli.data.reader import WindowReader
from watercli.data.windows import Indices, Windows, derived_seed, draw_catchments, draw_starts
from watercli.errors import ConfigError

SCALE_WINDOWS = 256
"""Training windows whose scale `standardise_antecedent_state` takes."""


@dataclass(frozen=True)
class Step:
    """A process's part of a step."""

    batch: Batch
    masks: dict[str, TokenMask]

    def parts(self, number: int) -> list[Step]:
        """Cut into ``number`` micro-batches of equal size."""
        size = self.batch.windows // number
        return [self._windows(first, first + size) for first in range(0, self.batch.windows, size)]

    def _windows(self, first: int, stop: int) -> Step:
        masks = {}
        for name, mask in self.masks.items():
            rows = len(mask.visible) // self.batch.windows
            masks[name] = mask.rows(slice(first * rows, stop * rows))
        return Step(self.batch.rows(slice(first, stop)), masks)

    def to(self, device: torch.device | str) -> Step:
        """Return the step on another device."""
        return Step(self.batch.to(device), {name: mask.to(device) for name, mask in self.masks.items()})


@dataclass(frozen=True)
class StepDraw:
    """All random choices of a step, drawn before it is read."""

    starts: Indices
    """First days of the windows, ``[B]``."""
    catchments: Indices
    """Positions in the store, ``[B, C]``."""
    tasks: WindowTasks
    noise: Mapping[str, Tensor]
    """Noise that masks are drawn from; see `multimodal_mae.tasks.draw_noise`."""
    absent: Mapping[str, Tensor] = field(default_factory=dict)
    """Where a modality counts as absent; see `multimodal_mae.tasks.draw_absent`."""

    @classmethod
    def of(
        cls,
        reader: WindowReader,
        config: Config,
        structure: MAEConfig,
        starts: Indices,
        catchments: int,
        generator: torch.Generator,
        rng: np.random.Generator,
    ) -> StepDraw:
        """Draw the tasks and masks of windows from ``generator``, and ``catchments`` for each from ``rng``."""
        tasks = draw_tasks(*task_shares(config), config.train.tasks.max_lead_time, len(starts), generator)
        drawn = draw_catchments(reader.with_target(starts, tasks), catchments, rng)
        noise = draw_noise(
            structure,
            windows=len(starts),
            catchments=drawn.shape[1],
            days=reader.days,
            grid_days=reader.grid_days,
            generator=generator,
        )
        return cls(starts, drawn, tasks, noise)

    def read(self, reader: WindowReader, structure: MAEConfig, rows: slice = slice(None)) -> Step:
        """Read and mask the windows of ``rows``."""
        batch = reader.read(self.starts[rows], self.catchments[rows])
        noise, absent = ({name: values[rows] for name, values in drawn.items()} for drawn in (self.noise, self.absent))
        return Step(batch, mask_windows(batch, structure, self.tasks.rows(rows), noise, absent))


def task_shares(config: Config) -> tuple[dict[Task, float], list[int]]:
    """Return the share of each task but random masking, and the positions of the modalities that are predicted."""
    tasks = config.train.tasks
    shares: dict[Task, float] = {
        task: float(getattr(tasks, task.name.lower())) for task in Task if task is not Task.RANDOM_MASKING
    }
    return shares, [list(config.modalities).index(name) for name in tasks.targets if name in config.modalities]


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
    """Training steps by number: a process's part of a step depends only on seed, step and rank.

    Every process draws all random numbers of a step, and takes its rows. So the same windows and masks make up a step
    whatever the number of processes.
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
        generator = torch.Generator().manual_seed(derived_seed(seed, 2, step))
        draw = StepDraw.of(
            self._reader,
            self._config,
            self._structure,
            draw_starts(self._windows, step=step, batch=train.batch_size, seed=seed),
            train.catchments_per_window,
            generator,
            np.random.default_rng([seed, step]),
        )
        change = self._attribute_change(draw, generator)
        windows, catchments = draw.catchments.shape
        absent = draw_absent(self._structure, windows=windows, catchments=catchments, generator=generator)
        step_read = replace(draw, absent=absent).read(self._reader, self._structure, self._rows)
        if change is None:
            return step_read
        batch = step_read.batch
        return replace(step_read, batch=replace(batch, static=batch.static + change[self._rows]))

    def _attribute_change(self, draw: StepDraw, generator: torch.Generator) -> Tensor | None:
        """Draw what is added to the attributes ``[B, C, A]``: noise, and NaN for those that are taken as missing."""
        train, shape = self._config.train, (*draw.catchments.shape, self._structure.attributes)
        if not train.attribute_noise_std and not train.attribute_dropout:
            return None
        change = torch.zeros(shape)
        if train.attribute_noise_std:
            change = train.attribute_noise_std * torch.randn(shape, generator=generator)
        if train.attribute_dropout:
            missing = draw_missing_attributes(shape, train.attribute_dropout, generator, self._reader.attribute_sets)
            change = change.masked_fill(missing, torch.nan)
        return change


def fixed_steps(
    reader: WindowReader, starts: Indices, config: Config, structure: MAEConfig, *, catchments: int, size: int
) -> list[Step]:
    """Return windows with fixed masks, ``size`` windows in each step, for validation.

    Their tasks and catchments are drawn as those of training are.
    """
    steps, seed = [], config.seed
    for first in range(0, len(starts), size):
        generator = torch.Generator().manual_seed(derived_seed(seed, 4, first))
        rng = np.random.default_rng([seed, 3, first])
        draw = StepDraw.of(reader, config, structure, starts[first : first + size], catchments, generator, rng)
        steps.append(draw.read(reader, structure))
    return steps


def standardise_antecedent_state(model: MultiModalMAE, reader: WindowReader, config: Config) -> None:
    """Give a new model the scale of its antecedent states: that of the first training windows and their masks.

    It is the same on every process, whatever their number.
    """
    assert model.antecedent_state is not None
    training = Windows.within(reader.store.period("train"), config.window_days, "train")
    steps = Steps(reader, training, config, model.config)
    number = min(-(-SCALE_WINDOWS // config.train.batch_size), config.train.steps)
    device = next(model.parameters()).device
    on_device = (steps[step].to(device) for step in range(number))
    model.antecedent_state.standardise((step.batch, step.masks) for step in on_device)
