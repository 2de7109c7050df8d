"""Steps of training and validation: which windows and catchments, and what is masked of them.

Shapes: B windows, C catchments in each, T days.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import Task, TokenMask, apply_tasks, draw_noise, draw_tasks, mask_batch
from torch.utils.data import Dataset

from watercli.config import Config
from watercli.data.reader import WindowReader
from watercli.data.windows import Indices, Windows, derived_seed, draw_catchments, draw_starts
from watercli.errors import ConfigError

SCALE_WINDOWS = 256
"""Training windows over which `standardise_antecedent_state` looks."""


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
