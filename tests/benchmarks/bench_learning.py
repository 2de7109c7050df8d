"""Speed of learning: targets a second and core of the model, the LSTM and the EMA-MLP, as on CAMELS-US.

A target is an observed day of flow that a step's loss counts. Each method takes whole steps as when it is trained:
forward, backward, optimiser, and for the rivals the drawing of their samples. The rate of matrix products is measured
in the same rounds, so that a foreign load meets it as well.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import count_targets
from multimodal_mae.tasks import Task, WindowTasks, draw_noise, mask_windows
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.peak import interleaved, product_rate
from watercli.baselines import ema_mlp, lstm, mlp
from watercli.config import Config, load, with_overrides
from watercli.data.steps import Step
from watercli.data.structure import model_config
from watercli.log import log
from watercli.training.engine import TorchEngine
from watercli.training.loop import train_step
from watercli.training.size import sized_for

GAUGES, TRAINING_DAYS, ATTRIBUTES = 531, 9 * 365, 27
"""Of CAMELS-US: what the sizes of the model follow from."""
FEW, DAYS = 32, 6 * 365
"""Gauges and days that the rivals draw their samples from; a step costs the same with more."""
LSTM_STEPS, EMA_MLP_STEPS = 3, 200
"""Steps that are timed together, as the rivals are fitted from the first step to the last."""


@dataclass(frozen=True)
class Learner:
    """A method, and what a step of it does."""

    run: Callable[[], object]
    """Takes ``steps`` steps."""
    targets: int
    """Of a step."""
    flops: float
    """Of a step: products of matrices, forward and backward."""
    steps: int = 1


def model_of(config: Config) -> Learner:
    """Return a model of series alone: windows of a year after a year of warm-up, all flow hidden."""
    structure = model_config(config, None, ATTRIBUTES)
    step = simulation_step(config, structure)
    engine = TorchEngine(MultiModalMAE(structure), config.train)
    with FlopCounterMode(display=False) as counter:
        train_step(engine, step, 0, config, structure)
    return Learner(
        run=lambda: train_step(engine, step, 1, config, structure),
        targets=int(count_targets(step.batch, structure, step.masks).sum()),
        flops=float(counter.get_total_flops()) + lstm_flops(config, structure),
    )


def lstm_flops(config: Config, structure: MAEConfig) -> float:
    """Return the products of an LSTM's blocks in a step, which the counter does not see; 0 without."""
    cell = structure.recurrence
    if cell is None or cell.cell != "lstm":
        return 0.0
    sequences = config.train.batch_size * config.train.catchments_per_window
    days = structure.past_days + config.window_days
    # As of the rival: four gates read inputs and state; backward costs twice as much as forward.
    return 3 * 2 * 4 * structure.width * 2 * structure.width * sequences * days * cell.blocks


def simulation_step(config: Config, structure: MAEConfig) -> Step:
    """Return a step of noise, every day observed, whose windows all simulate river flow."""
    target = config.evaluate.target
    windows, catchments, days = config.train.batch_size, config.train.catchments_per_window, config.window_days
    generator = torch.Generator().manual_seed(0)
    shape = windows, catchments, days

    def noise(*dims: int) -> torch.Tensor:
        return torch.randn(*dims, generator=generator)

    batch = Batch(
        grids={},
        cells={},
        series={name: noise(*shape) for name in structure.modalities},
        static=noise(windows, catchments, ATTRIBUTES),
        history={name: noise(windows, catchments, structure.past_days) for name in structure.modalities},
        targets={target: noise(*shape).abs()},
        basin_std={target: torch.ones(windows, catchments)},
    )
    tasks = WindowTasks.same(Task.SIMULATION, windows, list(structure.modalities).index(target))
    drawn = draw_noise(structure, windows=windows, catchments=catchments, days=days, generator=generator)
    return Step(batch, mask_windows(batch, structure, tasks, drawn))


def rivals(config: Config) -> dict[str, Learner]:
    """Return the LSTM and the EMA-MLP on the same modalities and attributes, with their own sizes of a step."""
    rng = np.random.default_rng(0)
    weather = rng.standard_normal((len(config.modalities) - 1, FEW, DAYS)).astype(np.float32)
    flow = rng.gamma(0.5, 2.0, (FEW, DAYS))
    regional = mlp.Regional(rng.standard_normal((FEW, ATTRIBUTES)), flow, slice(0, DAYS), noise=0.05, seed=0)
    features = mlp.KeptFeatures(np.stack(list(ema_mlp.AveragedWeather(weather).during(slice(0, DAYS)))))
    first_day = slice(0, 1)
    inputs = len(weather) + ATTRIBUTES
    return {
        "LSTM": Learner(
            run=lambda: lstm.fit(weather, regional, LSTM_STEPS),
            targets=lstm.SEQUENCES * lstm.SCORED,
            # Four gates read inputs and state; backward costs twice as much as forward.
            flops=3 * 2 * 4 * lstm.WIDTH * (inputs + lstm.WIDTH) * lstm.SEQUENCES * (lstm.WARM_UP + lstm.SCORED),
            steps=LSTM_STEPS,
        ),
        "EMA-MLP": Learner(
            run=lambda: mlp.fit_network(features, regional, EMA_MLP_STEPS, first_day, "moving averages"),
            targets=mlp.SAMPLES,
            flops=3 * 2 * mlp.SAMPLES * mlp.WIDTH * (features.size + ATTRIBUTES + 2 * mlp.WIDTH + 1),
            steps=EMA_MLP_STEPS,
        ),
    }


def measure(learners: dict[str, Learner], rounds: int) -> tuple[dict[str, float], float]:
    """Return the median seconds of a step by method, and the rate of matrix products in GFLOP/s of the same rounds."""
    rates: list[float] = []
    tasks = {name: learner.run for name, learner in learners.items()}
    seconds = interleaved({**tasks, "product": lambda: rates.append(product_rate(torch.float32))}, rounds)
    return {name: seconds[name] / learners[name].steps for name in learners}, float(np.median(rates))


def show_learning(console: Console, rounds: int) -> None:
    """Print targets a second and core, seconds a step, and the share of the peak, of each method."""
    log.setLevel(logging.WARNING)
    config = sized_for(load("camels-us"), GAUGES, TRAINING_DAYS)
    linear = with_overrides(config, ["model.recurrence.cell=linear"])
    learners = {"linear recurrence": model_of(linear), "LSTM as recurrence": model_of(config), **rivals(config)}
    seconds, peak = measure(learners, rounds)
    cores = torch.get_num_threads()
    table = Table("", "targets/s and core", "targets a step", "s a step", "GFLOP a step", "share of the peak",
                  title=f"Speed of learning, CAMELS-US, width {config.model.width}, {cores} threads; "
                  f"matrix products at {peak:.0f} GFLOP/s",
                  title_justify="left")  # fmt: skip
    for name, learner in learners.items():
        table.add_row(
            name,
            f"{learner.targets / seconds[name] / cores:,.0f}",
            f"{learner.targets:,}",
            f"{seconds[name]:.3g}",
            f"{learner.flops / 1e9:.3g}",
            f"{learner.flops / seconds[name] / 1e9 / peak:.0%}",
        )
    console.print(table)


if __name__ == "__main__":
    start = time.perf_counter()
    console = Console(width=110)
    show_learning(console, 5)
    console.print(f"{time.perf_counter() - start:.0f} s")
