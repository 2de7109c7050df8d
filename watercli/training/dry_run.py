"""``watercli pretrain --dry-run``: the memory and time of a training, estimated from a few steps."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from multimodal_mae.mae import MultiModalMAE
from rich.console import Console
from rich.table import Table

from watercli.config import Config, Train
from watercli.data.reader import WindowReader
from watercli.data.steps import Steps, fixed_steps
from watercli.data.windows import Windows
from watercli.output.sizes import duration, in_bytes
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store
from watercli.training.display import peak_memory
from watercli.training.engine import TorchEngine
from watercli.training.failures import in_a_sentence
from watercli.training.finetune import freeze
from watercli.training.launch import Processes
from watercli.training.loop import train_step, validate
from watercli.training.pretrain import showings, structure_and_scaling
from watercli.training.series_validation import SeriesValidation

MEASURED = 4
"""Steps that are done; the first, which also sets things up, is not timed."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of a modality in a step, over all processes: the mean of the measured steps."""

    encoded: float
    """Visible, so seen by the encoder."""
    decoded: float
    """Targets, so queries of the decoder."""


@dataclass(frozen=True)
class Estimate:
    """Memory and time of a training: sizes in bytes, times in seconds."""

    parameters: int
    tokens: dict[str, Tokens]
    state: dict[str, float]
    """Weights, gradients and optimiser, of one process."""
    data: int
    """Grids that each process holds in memory."""
    peak: int
    """Most memory that this process held while it did the steps, data and libraries included."""
    step_seconds: float
    read_seconds: float
    """To read a process's share of a step: hidden behind the steps as long as it is shorter."""
    validation_seconds: float
    epoch_steps: float
    """Steps in which each training window comes once."""
    showings: float
    """How often the run shows each training day, of each catchment if there are any."""
    checkpoint: int


def state_bytes(parameters: int, train: Train, world: int) -> dict[str, float]:
    """Return the bytes of fp32 weights, their average, gradients and moments in a process, by the ZeRO stage."""
    stage = train.deepspeed.zero_stage if world > 1 else 0
    size = 4.0 * parameters
    return {
        "weights": size / (world if stage >= 3 else 1),
        **({} if train.weight_averaging is None else {"average": size}),
        "gradients": size / (world if stage >= 2 else 1),
        "optimiser": 2 * size / (world if stage >= 1 else 1),
    }


def _seconds(series: SeriesValidation, engine: TorchEngine) -> float:
    """Return how long the simulation of a series takes, by its first pass through the model."""
    begun = time.perf_counter()
    series.simulate(engine, series.parts[0])
    return (time.perf_counter() - begun) * len(series.parts)


def estimate(config: Config, store: Store, processes: Processes, parent: Checkpoint | None = None) -> Estimate:
    """Do a few steps of one process's share, write nothing, and estimate the training.

    Raises
    ------
    RunError
        If memory runs out.
    """
    structure, scaling = structure_and_scaling(config, store, parent)
    reader = WindowReader(store, config, scaling)
    training = Windows.within(store.period("train"), config.window_days, "train")
    validation = Windows.within(store.period("validation"), config.window_days, "validation")
    world = processes.world
    steps = Steps(reader, training, config, structure, 0, world)
    with in_a_sentence(None):
        model = MultiModalMAE(structure)
        freeze(model, config.finetune.layers)
        engine = TorchEngine(model, config.train, "cuda" if processes.gpus else "cpu")
        reads, times, encoded, decoded = [], [], [], []
        for number in range(min(MEASURED, config.train.steps)):
            begun = time.perf_counter()
            step = steps[number]
            read = time.perf_counter()
            train_step(engine, step, number, config, structure)
            times.append(time.perf_counter() - read)
            reads.append(read - begun)
            encoded.append([int(step.masks[name].visible.sum()) * world for name in structure.modalities])
            decoded.append([int(step.masks[name].target.sum()) * world for name in structure.modalities])
        starts = validation.spread(config.train.validation_windows)
        validation_steps = fixed_steps(reader, starts, config, structure, catchments=config.train.catchments_per_window,
                               size=config.train.batch_size)[:1]  # fmt: skip
        begun = time.perf_counter()
        validate(engine, validation_steps, 0, structure)
        validating = time.perf_counter() - begun
        simulating = sum(_seconds(series, engine) for series in SeriesValidation.of_run(reader, config, structure))
    parameters = sum(weight.numel() for weight in engine.model.parameters())
    means = (torch.tensor(counts, dtype=torch.float64).mean(0).tolist() for counts in (encoded, decoded))
    return Estimate(
        parameters=parameters,
        tokens={name: Tokens(*pair) for name, pair in zip(structure.modalities, zip(*means, strict=True), strict=True)},
        state=state_bytes(parameters, config.train, world),
        data=reader.held_bytes,
        peak=peak_memory(engine.device),
        step_seconds=statistics.median(times[1:] or times),
        read_seconds=statistics.median(reads[1:] or reads),
        validation_seconds=validating * len(starts) / min(len(starts), config.train.batch_size) + simulating,
        epoch_steps=len(training) / config.train.batch_size,
        showings=showings(config, store),
        checkpoint=(12 if config.train.weight_averaging is None else 16) * parameters,
    )


def show(estimate: Estimate, config: Config, processes: Processes) -> None:
    """Print an estimate on standard output."""
    train, console = config.train, Console()
    if not console.is_terminal:
        console = Console(width=120)
    table = Table("tokens in a step", *estimate.tokens, "all")
    for title, kind in (("encoded", "encoded"), ("decoded", "decoded")):
        numbers = [getattr(tokens, kind) for tokens in estimate.tokens.values()]
        table.add_row(title, *(f"{number:,.0f}" for number in (*numbers, sum(numbers))))
    console.print(table)
    step = max(estimate.step_seconds, estimate.read_seconds)
    validations = -(-train.steps // train.validate_every)
    seconds = step * train.steps + estimate.validation_seconds * validations
    parts = ", ".join(f"{name} {in_bytes(size)}" for name, size in estimate.state.items())
    rows = {
        "parameters": f"{estimate.parameters:,}",
        "memory of a process": f"{in_bytes(sum(estimate.state.values()))} ({parts}), "
        f"grids {in_bytes(estimate.data)}, and activations",
        "memory measured": f"at most {in_bytes(estimate.peak)}, with all libraries, and without ZeRO",
        "step": f"{estimate.step_seconds:.3g} s of computation; reading takes {estimate.read_seconds:.2g} s, "
        + ("at the same time" if train.prefetch or train.workers else "before it"),
        "epoch": f"{estimate.epoch_steps:,.1f} steps, {duration(estimate.epoch_steps * step)}",
        "training": f"{train.steps:,} steps, {train.steps / estimate.epoch_steps:,.2f} epochs, {duration(seconds)} "
        f"with {validations} validations",
        "data": f"each training day is shown {estimate.showings:.1f} times, of each catchment if there are any",
        "checkpoint": f"{in_bytes(estimate.checkpoint)}; {train.keep_checkpoints + 1} are kept at most",
    }
    plain = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        plain.add_row(name, text)
    console.print(plain)
    if processes.world > 1:
        console.print(
            f"The share of one of {processes.world} processes was measured, alone on this machine. Communication, and "
            "competition for cores and the disk, come on top."
        )
