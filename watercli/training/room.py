"""What a training needs at least, compared with what the machine has, before any of it is taken."""

from __future__ import annotations

import math
import os

import torch
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import MultiModalMAE

from watercli.config import Config
from watercli.errors import ConfigError
from watercli.output.sizes import in_bytes
from watercli.store import Store
from watercli.training.launch import Processes

BYTES_OF_PARAMETER = 4
BYTES_OF_VALUE = 4


def machine_bytes() -> int | None:
    """Return the main memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def count_parameters(structure: MAEConfig) -> int:
    """Return the number of a model's parameters, without the memory for them."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in MultiModalMAE(structure).parameters())


def step_bytes(config: Config, store: Store, world: int) -> int:
    """Return the bytes of the values that a process reads for a step."""
    cells = len(config.of_kind("grid")) * math.prod(store.grid_shape or (0,))
    places = min(config.train.catchments_per_window, len(store.gauge_ids))
    values = cells * config.grid_days + len(config.of_kind("series")) * places * config.window_days
    return -(-config.train.batch_size // world) * values * BYTES_OF_VALUE


def check_room(config: Config, structure: MAEConfig, store: Store, processes: Processes) -> None:
    """Refuse what this machine cannot hold.

    Raises
    ------
    ConfigError
        If the weights, or the values of a step, need more than its main memory.
    """
    memory = machine_bytes()
    step = step_bytes(config, store, processes.world)
    if memory is not None and step > memory:
        raise ConfigError(
            f"A step of {config.train.batch_size:,} windows of {config.window_days:,} days needs {in_bytes(step)} in "
            f"each process, and this machine has {in_bytes(memory)}; lower train.batch_size or window_days"
        )
    parameters = count_parameters(structure)
    if memory is not None and parameters * BYTES_OF_PARAMETER > memory:
        raise ConfigError(
            f"A model of {parameters:,} parameters needs {in_bytes(parameters * BYTES_OF_PARAMETER)} for its weights, "
            f"and this machine has {in_bytes(memory)}; lower model.width or the number of layers"
        )
