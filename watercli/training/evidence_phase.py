"""The last part of pretraining: the evidence head is fitted to the errors of the best checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from multimodal_mae import evidence
from numpy.typing import NDArray

from watercli.config import Config, EvidenceHead, HeldOutGauges
from watercli.data.evidence import FlowErrors, Network, offset_of
from watercli.data.held_out import held_out_catchments
from watercli.data.windows import derived_seed
from watercli.log import log
from watercli.run.checkpoint import Checkpoint
from watercli.run.evidence import FittedEvidence, has_evidence, save_evidence
from watercli.run.simulator import simulate
from watercli.store import Store
from watercli.training.evidence import TARGETS, Ground, fit_correction, fit_spread

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
WITHHELD = "without"
"""The folder of a run that holds its second model."""
MIN_GAUGES = 4
"""With `TARGETS` days of flow in the training period; with fewer, there is no evidence to learn from."""

TrainRun = Callable[[Config, Store, Path], Checkpoint]
"""Trains a configuration in a run directory, or goes on with it, and returns its best checkpoint."""


def fit_evidence(config: Config, checkpoint: Checkpoint, store: Store, run: Path, train_run: TrainRun) -> None:
    """Fit the evidence head of a run's best checkpoint, if the run is to have one and lacks it.

    Parameters
    ----------
    config
        Of the run, as it is continued: a run that is complete gets a head by ``train.evidence``.
    checkpoint, store, run
        The trained model, the store that it was trained on, and the run directory.
    train_run
        Trains the second model.

    Raises
    ------
    RunError
        If it was asked to stop, or the disk is full.
    """
    settings = config.train.evidence
    if settings is None or has_evidence(checkpoint):
        return
    if settings.target not in config.modalities or not checkpoint.structure.reads_others(settings.target):
        log.info("No evidence head: the model cannot simulate '%s' from anything other than itself", settings.target)
        return
    observed = _seen_flow(checkpoint, store, settings.target)
    train, validation = (_days(store, name) for name in ("train", "validation"))
    lengths = (np.isfinite(observed) & train).sum(axis=1)
    known, gauges = lengths > 0, np.flatnonzero(lengths >= TARGETS)
    if len(gauges) < MIN_GAUGES:
        log.info("No evidence head: %d gauges with %d days of flow are fewer than %d", len(gauges), TARGETS, MIN_GAUGES)
        return
    seed = derived_seed(checkpoint.config.seed, 9)
    torch.manual_seed(seed)
    head = evidence.EvidenceHead()
    table = _errors(checkpoint, store, settings.target, observed, known)
    fit_correction(head, Ground(table, gauges, known, train), settings.steps, seed)
    withheld = _withheld(gauges, settings.withheld)
    second = train_run(_without(config, store, settings, withheld), store, run / WITHHELD)
    without = known.copy()
    without[withheld] = False
    unseen = _errors(second, store, settings.target, observed, without)
    grounds = [
        Ground(unseen, withheld, without, train, _better(table, unseen, without, validation)),
        Ground(table, gauges, known, validation),
    ]
    fit_spread(head, grounds, settings.quantile_steps, seed)
    save_evidence(checkpoint, FittedEvidence(head, settings.target, table.offset))
    log.info("The evidence head is fitted to the errors of step %d at %d gauges", checkpoint.step, len(gauges))


def _seen_flow(checkpoint: Checkpoint, store: Store, target: str) -> Floats:
    """Return the flow ``[C, N]`` of the gauges and days that the run may know: NaN elsewhere."""
    observed = store.dataset[target].values.astype(np.float32)
    may_know = _days(store, "train") | _days(store, "validation")
    held_out = checkpoint.config.train.held_out_gauges
    hidden = np.zeros(len(observed), dtype=bool)
    if held_out is not None and held_out.target == target:
        hidden = held_out_catchments(store, checkpoint.config)
    return np.where(may_know & ~hidden[:, None], observed, np.nan)


def _days(store: Store, split: str) -> Flags:
    days = np.zeros(len(store.times), dtype=bool)
    days[store.period(split)] = True
    return days


def _errors(checkpoint: Checkpoint, store: Store, target: str, observed: Floats, trained: Flags) -> FlowErrors:
    simulated = simulate(checkpoint, store, target, slice(0, len(store.times)))
    day_of_year = store.times.dayofyear.to_numpy().astype(np.float64)
    offset = offset_of(np.where(_days(store, "train"), observed, np.nan))
    return FlowErrors(Network.of(store), simulated, observed, day_of_year, offset, trained)


def _better(table: FlowErrors, second: FlowErrors, gauges: Flags, days: Flags) -> float:
    """Return the errors of the model as a share of those of the second, over days that neither was trained on."""
    sizes = [np.abs(errors.errors[gauges][:, days]) for errors in (table, second)]
    if not np.isfinite(sizes[0]).any():
        return 1.0
    return min(float(np.nanmean(sizes[0]) / np.nanmean(sizes[1])), 1.0)


def _withheld(gauges: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return every so many of the gauges, so that they lie among the others as ungauged rivers do."""
    return gauges[:: max(round(1 / share), 2)]


def _without(config: Config, store: Store, settings: EvidenceHead, withheld: NDArray[np.int64]) -> Config:
    """Return the configuration of the second model: shorter, without the withheld gauges and those held out anyway."""
    train = config.train
    hidden = held_out_catchments(store, config)
    hidden[withheld] = True
    gauges = tuple(gauge for gauge, out in zip(store.gauge_ids, hidden, strict=True) if out)
    steps = max(round(train.steps * settings.withheld_steps), 1)
    changes: dict[str, Any] = {
        "steps": steps,
        "warmup_steps": min(train.warmup_steps, steps // 5),
        "validate_every": steps,
        "checkpoint_every": max(steps // 2, 1),
        "held_out_gauges": HeldOutGauges(target=settings.target, gauges=gauges),
        "evidence": None,
    }
    return config.model_copy(update={"train": train.model_copy(update=changes)})
