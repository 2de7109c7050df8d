"""The training loop, from top to bottom."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch.utils.data import DataLoader

from model.config import MAEConfig
from model.mae import total_loss
from model.masking import count_targets
from watercli import checkpoint as checkpoints
from watercli.checkpoint import ENGINE, Checkpoint
from watercli.config import Config, Train
from watercli.data.dataset import Step, Steps, WindowReader, fixed_steps
from watercli.data.scaling import Scaling
from watercli.data.windows import Windows, derived_seed
from watercli.errors import RunError
from watercli.log import log, progress
from watercli.store import Store
from watercli.training.engine import Engine, TorchEngine
from watercli.training.gradients import gradient_shares
from watercli.training.metrics_log import MetricsLog, by_modality

SHARE_STEPS = 2
"""Validation steps over which the modalities' shares of the gradient are measured."""
LINE_EVERY = 15.0
"""Seconds between two log lines where there is no terminal to draw a progress bar on."""


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
    parts = [part.to(engine.device) for part in step.parts(config.train.accumulate)]
    counts = engine.sum(torch.stack([count_targets(part.batch, structure, part.masks) for part in parts]).sum(0))
    errors = torch.zeros_like(counts)
    for part in parts:
        predictions = engine.forward(part)
        engine.backward(total_loss(predictions, structure, counts))
        errors += torch.stack([one.squared_error.detach() for one in predictions.values()]).double()
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
    weights = torch.tensor([one.loss_weight for one in structure.modalities.values()]).to(losses)
    return float((weights * losses.nan_to_num(0.0)).sum())


def _check_finite(
    losses: torch.Tensor, counts: torch.Tensor, number: int, structure: MAEConfig, what: str = ""
) -> None:
    wrong = ~torch.isfinite(losses) & (counts > 0)
    names = [name for name, bad in zip(structure.modalities, wrong, strict=True) if bad]
    if names:
        raise RunError(
            f"The {what}loss of '{names[0]}' is not finite at step {number + 1}; lower train.learning_rate or "
            f"look at '{names[0]}' in the store"
        )


def validate(engine: Engine, steps: list[Step], number: int, structure: MAEConfig) -> dict[str, float]:
    """Return the losses over fixed windows with fixed masks, after step ``number``.

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
            errors += torch.stack([one.squared_error for one in predictions]).double().cpu()
            counts += torch.stack([one.count for one in predictions]).double().cpu()
    losses = errors / counts
    _check_finite(losses, counts, number, structure, "validation ")
    return {"loss": _total(losses, structure), **by_modality(list(structure.modalities), losses)}


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """Yield a list that a first Ctrl-C or SIGTERM adds to; the step under way is finished, the second one breaks."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        log.warning("Stopping after this step; once more to stop at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(job: Job, engine: Engine) -> None:
    """Train to ``train.steps``, validating, logging and saving on the way.

    Raises
    ------
    RunError
        If a loss is not finite, or the run was interrupted (a checkpoint is saved first).
    """
    config, structure = job.config, job.structure
    reader = WindowReader(job.store, config, job.scaling)
    training = Windows.within(job.store.period("train"), config.window, "train")
    validation = Windows.within(job.store.period("validation"), config.window, "validation")
    steps = Steps(reader, training, config, structure, engine.rank, engine.world)
    held_out = fixed_steps(
        reader,
        validation.spread(config.train.validation_windows),
        config,
        structure,
        catchments=config.train.catchments,
        size=config.train.windows,
    )
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=range(job.start, config.train.steps),
        num_workers=config.train.workers,
        # A forked worker would inherit zarr's event loop in an unknown state.
        multiprocessing_context="spawn" if config.train.workers else None,
    )
    if engine.rank == 0:
        with MetricsLog(job.run, job.start) as metrics, progress("loss") as display:
            _loop(job, engine, loader, held_out, _Reporter(metrics, display, job))
    else:
        _loop(job, engine, loader, held_out, None)


def _loop(job: Job, engine: Engine, loader: DataLoader[Step], held_out: list[Step], reporter: _Reporter | None) -> None:
    train = job.config.train
    clock = _Clock(job.start)
    with _stop_on_signal() as received:
        for number, step in enumerate(loader, start=job.start):
            clock.data_ready()
            values = train_step(engine, step, number, job.config, job.structure)
            clock.step_done()
            done = number + 1
            last = done == train.steps
            if reporter and (done % train.log_every == 0 or done == 1 or last):
                reporter.training(done, values, clock.report(done, train.windows))
            scores = None
            if done % train.validate_every == 0 or last:
                scores = validate(engine, held_out, number, job.structure)
                if isinstance(
                    engine, TorchEngine
                ):  # where weights are spread over processes, none has a whole gradient
                    scores |= gradient_shares(engine, held_out[:SHARE_STEPS], job.structure)
                if reporter:
                    reporter.validation(done, scores)
            if done % train.checkpoint_every == 0 or last or (received and engine.world == 1):
                _save(job, engine, done, scores["loss"] if scores else None)
            if received and not last:
                raise RunError(f"Stopped after step {done}; continue with 'watercli pretrain --run {job.run} --resume'")
            clock.restart()


def _save(job: Job, engine: Engine, done: int, validation_loss: float | None) -> None:
    place = checkpoints.staging(job.run, done)
    weights = engine.save(place / ENGINE)
    if engine.rank == 0 and weights is not None:
        meta = Checkpoint(
            done,
            job.config,
            job.scaling,
            job.structure.grid,
            job.store.fingerprint,
            validation_loss,
            gauges=tuple(job.store.gauge_ids),
            splits=json.loads(job.store.dataset.attrs["splits"]),
        )
        checkpoints.save(job.run, meta, weights)
        checkpoints.prune(job.run, job.config.train.keep_checkpoints)
    # No process may go on to write into a checkpoint's place before the others are done with it.
    engine.sum(torch.zeros(1))


class _Clock:
    """Time spent on steps and on waiting for data since the last report."""

    def __init__(self, start: int) -> None:
        self._reported = start
        self._waited = self._worked = 0.0
        self.restart()

    def restart(self) -> None:
        self._mark = time.perf_counter()

    def data_ready(self) -> None:
        now = time.perf_counter()
        self._waited += now - self._mark
        self._mark = now

    def step_done(self) -> None:
        now = time.perf_counter()
        self._worked += now - self._mark
        self._mark = now

    def report(self, done: int, windows: int) -> dict[str, float]:
        """Return windows per second and the share of time spent waiting for data, then start anew."""
        spent = self._waited + self._worked
        steps = done - self._reported
        values = {"windows_per_second": steps * windows / spent, "data_share": self._waited / spent}
        self._reported, self._waited, self._worked = done, 0.0, 0.0
        return values


class _Reporter:
    """Writes metrics and shows progress, on rank 0."""

    def __init__(self, metrics: MetricsLog, display: object, job: Job) -> None:
        from rich.progress import Progress

        assert isinstance(display, Progress)
        self._metrics, self._display, self._steps = metrics, display, job.config.train.steps
        self._task = display.add_task("pretrain", total=self._steps, completed=job.start, loss="")
        self._spoke = 0.0

    def training(self, done: int, values: dict[str, float], timing: dict[str, float]) -> None:
        self._metrics.write(done, "train", values | timing)
        losses = " ".join(
            f"{name.removeprefix('loss/')} {value:.3f}" for name, value in values.items() if name.startswith("loss")
        )
        self._display.update(self._task, completed=done, loss=losses)
        if self._display.disable and (time.monotonic() - self._spoke > LINE_EVERY or done == self._steps):
            self._spoke = time.monotonic()
            rate = timing["windows_per_second"]
            log.info("step %d/%d  %s  (%.1f windows/s)", done, self._steps, losses, rate)

    def validation(self, done: int, values: dict[str, float]) -> None:
        self._metrics.write(done, "validation", values)
        log.info("step %d/%d  validation loss %.4f", done, self._steps, values["loss"])
