"""The training loop, from top to bottom."""

from __future__ import annotations

import contextlib
import json
import math
import signal
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import torch
import zarr
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import total_loss
from multimodal_mae.masking import count_targets
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader

from watercli.config import Config, Train
from watercli.data.held_out import held_out_catchments
from watercli.data.prefetch import read_ahead
from watercli.data.reader import WindowReader
from watercli.data.scaling import Scaling
from watercli.data.steps import Step, Steps, fixed_steps, standardise_antecedent_state
from watercli.data.windows import Windows, derived_seed
from watercli.errors import RunError
from watercli.log import log
from watercli.run import checkpoint as checkpoints
from watercli.run import directory
from watercli.run.checkpoint import Checkpoint
from watercli.run.view import View
from watercli.store import Store
from watercli.training.display import Display
from watercli.training.engine import Engine, TorchEngine
from watercli.training.gradients import gradient_shares
from watercli.training.metrics_log import MetricsLog, by_modality
from watercli.training.reporting import Clock, Reporter
from watercli.training.series_validation import SeriesValidation, chosen_by
from watercli.training.stop import Stop

SHARE_STEPS = 2
"""Validation steps over which the modalities' shares of the gradient are measured."""


@dataclass(frozen=True)
class Job:
    """All that a process needs to train."""

    config: Config
    structure: MAEConfig
    store: Store
    scaling: Scaling
    run: Path
    start: int
    """Steps done before."""
    new: bool = False
    """The model has random weights: its antecedent states are still to be standardised."""


def learning_rate(step: int, train: Train) -> float:
    """Return the rate of a step (0 is the first): linear warm-up, then a cosine down to the minimum."""
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    done = (step - train.warmup_steps) / max(train.steps - train.warmup_steps, 1)
    swing = 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    return train.min_learning_rate + (train.learning_rate - train.min_learning_rate) * swing


def train_step(engine: Engine, step: Step, number: int, config: Config, structure: MAEConfig) -> dict[str, float]:
    """Do one step; return the losses, the learning rate and the gradient's norm.

    A modality's loss is the mean over all its targets in the whole step, over every part and process.

    Raises
    ------
    RunError
        If a loss is not finite; the modality is named.
    """
    engine.model.train()
    torch.manual_seed(derived_seed(config.seed, 5, number, engine.rank))
    parts = [part.to(engine.device) for part in step.parts(config.train.gradient_accumulation)]
    counts = engine.sum(torch.stack([count_targets(part.batch, structure, part.masks) for part in parts]).sum(0))
    errors = torch.zeros_like(counts)
    for part in parts:
        predictions = engine.forward(part)
        engine.backward(total_loss(predictions, structure, counts))
        errors += torch.stack([prediction.squared_error.detach() for prediction in predictions.values()]).double()
    losses = engine.sum(errors) / counts
    _check_finite(losses, counts, number, structure)
    rate = learning_rate(number, config.train)
    norm = engine.update(rate)
    return {
        "loss": _total(losses, structure),
        **by_modality(list(structure.modalities), losses),
        "learning_rate": rate,
        "gradient_norm": norm,
    }


def _total(losses: torch.Tensor, structure: MAEConfig) -> float:
    """Return the weighted sum over the modalities that had a target."""
    weights = torch.tensor([modality.loss_weight for modality in structure.modalities.values()]).to(losses)
    return float((weights * losses.nan_to_num(0.0)).sum())


def _check_finite(
    losses: torch.Tensor, counts: torch.Tensor, number: int, structure: MAEConfig, split: str = ""
) -> None:
    wrong = ~torch.isfinite(losses) & (counts > 0)
    names = [name for name, bad in zip(structure.modalities, wrong, strict=True) if bad]
    if names:
        raise RunError(
            f"The {split}loss of '{names[0]}' is not finite at step {number + 1}; lower train.learning_rate or "
            f"look at '{names[0]}' in the store"
        )


def validate(engine: Engine, steps: list[Step], number: int, structure: MAEConfig) -> dict[str, float]:
    """Return the losses over fixed windows with fixed masks after step ``number``: the validation losses.

    Raises
    ------
    RunError
        If a loss is not finite; the modality is named.
    """
    engine.model.eval()
    errors = torch.zeros(len(structure.modalities), dtype=torch.float64)
    counts = torch.zeros_like(errors)
    with torch.no_grad():
        # Every process goes through every step where weights are spread over processes (ZeRO 3), so all do.
        for step in steps:
            predictions = engine.forward(step.to(engine.device)).values()
            errors += torch.stack([prediction.squared_error for prediction in predictions]).double().cpu()
            counts += torch.stack([prediction.count for prediction in predictions]).double().cpu()
    losses = errors / counts
    _check_finite(losses, counts, number, structure, "validation ")
    return {"loss": _total(losses, structure), **by_modality(list(structure.modalities), losses)}


def train(job: Job, engine: Engine, display: Display, stop: Stop) -> None:
    """Train to ``train.steps``, validating, logging and saving on the way.

    Raises
    ------
    RunError
        If a loss is not finite, the store changes, or the run is stopped (a checkpoint is saved first).
    """
    config, structure = job.config, job.structure
    if structure.recurrence:
        # Gradients fade over the warm-up into numbers too small to be normal, on which a processor is thrice as slow.
        torch.set_flush_denormal(True)
    reader = WindowReader(job.store, config, job.scaling, unseen=job.store.period("test"), make_files=True)
    if job.new and structure.antecedent_state:
        if engine.rank == 0:
            log.info("Standardising the antecedent states over the first training windows")
        standardise_antecedent_state(engine.model, reader, config)
    training = Windows.within(job.store.period("train"), config.window_days, "train")
    validation = Windows.within(job.store.period("validation"), config.window_days, "validation")
    steps = Steps(reader, training, config, structure, engine.rank, engine.world)
    validation_steps = fixed_steps(
        reader,
        validation.spread(config.train.validation_windows),
        config,
        structure,
        catchments=config.train.catchments_per_window,
        size=config.train.batch_size,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop)
        reporter = None
        if engine.rank == 0:
            metrics = stack.enter_context(MetricsLog(job.run, config, job.start))
            shown = stack.enter_context(display)
            reporter = Reporter(metrics, shown, engine.device, job.start, config.train.steps)
        data = stack.enter_context(contextlib.closing(read_steps(steps, job.start, config.train)))
        series = SeriesValidation.of_run(reader, config, structure)
        _loop(job, engine, data, validation_steps, series, reporter, stop)


def read_steps(steps: Steps, start: int, train: Train) -> Generator[Step]:
    """Yield steps from ``start`` on, read ahead by worker processes or by a thread."""
    order = range(start, train.steps)
    if not train.workers:
        yield from read_ahead((steps[number] for number in order), train.prefetch)
        return
    yield from DataLoader(
        steps,
        batch_size=None,
        sampler=order,
        num_workers=train.workers,
        prefetch_factor=max(train.prefetch, 1),
        # A forked worker would inherit zarr's event loop in an unknown state.
        multiprocessing_context="spawn",
        worker_init_fn=_set_up_worker,
    )


def _set_up_worker(number: int) -> None:
    """Leave the cores to the model, and Ctrl-C and SIGTERM, which reach a whole group, to the training process."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})
    threadpool_limits(1)


def _loop(
    job: Job,
    engine: Engine,
    data: Iterable[Step],
    validation_steps: list[Step],
    series: list[SeriesValidation],
    reporter: Reporter | None,
    stop: Stop,
) -> None:
    train = job.config.train

    def validated(done: int) -> dict[str, float]:
        scores = _scores(job, engine, validation_steps, series, done)
        if reporter:
            reporter.validation(done, scores)
        return scores

    if job.start == 0 and not job.new:
        # Where fine-tuning makes nothing better, the parent itself is the best checkpoint.
        _save(job, engine, 0, validated(0))
    clock = Clock(job.start)
    for number, step in enumerate(data, start=job.start):
        clock.data_ready()
        values = train_step(engine, step, number, job.config, job.structure)
        clock.step_done()
        done = number + 1
        engine.take_into_average(done)
        last = done == train.steps
        if reporter and (done % train.log_every == 0 or done == 1 or last):
            reporter.training(done, values, clock.report(done, train.batch_size))
        scores = validated(done) if done % train.validate_every == 0 or last else None
        # A request to stop reaches one process, but all save together.
        stopped = bool(engine.sum(torch.tensor(float(stop.requested))) > 0) and not last
        if done % train.checkpoint_every == 0 or last or stopped:
            _save(job, engine, done, scores)
        if stopped:
            raise RunError(f"Stopped after step {done}; continue with 'watercli pretrain --run {job.run} --resume'")
        clock.restart()


def _scores(job: Job, engine: Engine, steps: list[Step], series: list[SeriesValidation], done: int) -> dict[str, float]:
    """Return all that is measured after step ``done``: losses, efficiencies, and shares of the gradient."""
    with engine.averaged():
        scores = validate(engine, steps, done - 1, job.structure)
        for simulation in series:
            scores |= simulation.scores(engine)
    if isinstance(engine, TorchEngine):  # where weights are spread over processes, none has all of a gradient
        scores |= gradient_shares(engine, steps[:SHARE_STEPS], job.structure)
    return scores


def _save(job: Job, engine: Engine, done: int, scores: dict[str, float] | None) -> None:
    if engine.rank == 0:
        _check_store(job)
    state = engine.checkpoint()
    if state is not None:
        held_out = held_out_catchments(job.store, job.config)
        meta = Checkpoint(
            done,
            job.config,
            job.scaling,
            job.structure.grid,
            job.store.fingerprint,
            validation_loss=scores["loss"] if scores else None,
            validation_nse=chosen_by(scores) if scores else None,
            gauges=tuple(job.store.gauge_ids),
            held_out_gauges=tuple(compress(job.store.gauge_ids, held_out)),
            splits=json.loads(job.store.dataset.attrs["splits"]),
        )
        checkpoints.save(job.run, meta, state.weights, state.optimiser)
        directory.prune(job.run, job.config.train.keep_checkpoints)
    engine.sum(torch.zeros(1))  # wait: when a process ends early, the launcher would end rank 0 while it writes


def _check_store(job: Job) -> None:
    """Refuse to save what was learnt from a store that changed while it was read."""
    path = job.store.path
    try:
        fingerprint = zarr.open_group(path, mode="r").attrs["fingerprint"]
    except Exception:
        fingerprint = None
    expected = job.store.stored_fingerprint if isinstance(job.store, View) else job.store.fingerprint
    if fingerprint != expected:
        change = "is gone" if fingerprint is None else "holds other data"
        raise RunError(
            f"{path} {change} since training began, so the steps since the last checkpoint are not kept; put it back "
            f"and continue with 'watercli pretrain --run {job.run} --resume', or train anew"
        )
