"""``watercli pretrain``: sets up a run directory, then trains in this process or has DeepSpeed start others."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import MultiModalMAE

from watercli.config import Config, Finetune, abilities, difference, parse
from watercli.config.loading import read_text
from watercli.data.scaling import Scaling
from watercli.data.steps import share_of_step
from watercli.data.structure import store_model_config
from watercli.data.windows import Windows, derived_seed
from watercli.errors import ConfigError, RunError
from watercli.hydrology.flow_attributes import check_attributes
from watercli.log import log
from watercli.output.atomic import partial_of, restore, write_text, written_folder
from watercli.output.lock import locked
from watercli.run import checkpoint as checkpoints
from watercli.run import directory
from watercli.run.checkpoint import OPTIMISER, Checkpoint
from watercli.run.evidence import copy_evidence, has_evidence
from watercli.run.hardware import hardware
from watercli.run.parent import FOLDER, RECORD, Parent, adopt, parent_of
from watercli.store import Store
from watercli.training.deepspeed_engine import deepspeed_config
from watercli.training.display import Display, display
from watercli.training.engine import Engine, TorchEngine, load_trained
from watercli.training.evidence_phase import fit_evidence
from watercli.training.failures import in_a_sentence
from watercli.training.finetune import check_parent, freeze
from watercli.training.launch import Processes, launch
from watercli.training.loop import Job, train
from watercli.training.members import lacking_members, train_members
from watercli.training.metrics_log import check_loggers
from watercli.training.room import check_room
from watercli.training.size import fitted
from watercli.training.stop import Stop
from watercli.training.weight_averaging import Average, Kept

CONFIG = "config.yaml"
BEFORE_CONFIG = {RECORD, FOLDER, partial_of(Path(FOLDER)).name}
"""What a run directory may hold before its configuration."""
THIS_PROCESS = Processes()
FREE_ON_RESUME = (
    "description",
    "recipe.datasets",
    "train.steps",
    "train.gradient_accumulation",
    "train.activation_checkpointing",
    "train.deepspeed",
    "train.members",
    "train.evidence",
    "train.validate_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.log_every",
    "train.loggers",
    "train.workers",
    "train.prefetch",
    "train.grid_cache_gib",
    "embed.",
    "simulate.",
    "evaluate.",
)
"""Settings that may change when a run is resumed; any other would make it another experiment."""


def set_up(
    config: Config, store: Store, run: Path, *, resume: bool, overwrite: bool, parent: Parent | None = None
) -> None:
    """Make a run directory, with a copy of its parent if it has one, or check that an existing one may be continued.

    One that is replaced stays until the new one stands in its place.

    Raises
    ------
    ConfigError
        If the directory is taken, is no run, or holds a run of another configuration or store.
    """
    restore(run)
    if resume:
        if reason := another_experiment(config, store, run):
            raise ConfigError(f"{reason}; give the same settings and --store, or choose another --run")
        _describe(run, config, store, parent)
    elif _is_free(run):
        _describe(run, config, store, parent)
    elif not overwrite:
        raise ConfigError(f"{run} exists; continue it with --resume, replace it with --overwrite or choose --run")
    elif not (run / CONFIG).is_file():
        raise ConfigError(f"{run} is no run directory, so --overwrite leaves it alone; choose another --run")
    else:
        with written_folder(run.resolve()) as partial:
            _describe(partial, config, store, parent)


def _is_free(run: Path) -> bool:
    """Return whether nothing stands at a path but, at most, an empty folder or a run of which no setting was kept.

    Raises
    ------
    ConfigError
        If it is a link to nothing.
    """
    if run.is_symlink() and not run.exists():
        raise ConfigError(f"{run} is a link to nothing ({run.readlink()}); remove it, or choose another --run")
    return not run.exists() or (run.is_dir() and {file.name for file in run.iterdir()} <= BEFORE_CONFIG)


def _describe(run: Path, config: Config, store: Store, parent: Parent | None) -> None:
    """Write what a run directory says of itself: last the configuration, by which it is known as one."""
    run.mkdir(parents=True, exist_ok=True)
    if parent is not None and parent.checkpoint.path != run / FOLDER:
        adopt(parent, run)
    record = {
        "store": str(store.path.resolve()),
        "fingerprint": store.fingerprint,
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": checkpoints.versions(),
        "hardware": hardware(),
        **({"parent": parent.record} if parent else {}),
    }
    write_text(run / RECORD, json.dumps(record, indent=1))
    write_text(run / CONFIG, config.to_yaml())


def run_config(run: Path) -> Config:
    """Return the configuration of a run directory."""
    file = run / CONFIG
    if not file.is_file():
        raise ConfigError(f"{run} is no run directory; start one with 'watercli pretrain --run {run}'")
    return parse(read_text(file), origin=str(file))


def another_experiment(config: Config, store: Store, run: Path) -> str | None:
    """Return why training in a run directory would not continue the run in it, as a sentence; None if it would."""
    changed = [
        line
        for line in difference(run_config(run).model_dump(mode="json"), config.model_dump(mode="json"))
        if not line.startswith(FREE_ON_RESUME)
    ]
    if changed:
        return f"{run} was trained with another configuration ({changed[0]})"
    if any(last.fingerprint != store.fingerprint for last in directory.all_checkpoints(run)[-1:]):
        return f"{store.path} is not the data that {run} was trained on"
    return None


def make_job(config: Config, store: Store, run: Path) -> tuple[Job, Checkpoint | None]:
    """Return the training that is left, and what it goes on from: the newest checkpoint, or the run's parent."""
    newest = directory.newest(run)
    if newest and newest.step >= config.train.steps:
        raise ConfigError(f"{run} already has {newest.step} steps; raise train.steps to go on")
    parent = parent_of(run)
    structure, scaling = structure_and_scaling(config, store, parent.checkpoint if parent else newest)
    origin = newest or (parent.checkpoint if parent else None)
    return Job(config, structure, store, scaling, run, newest.step if newest else 0, new=origin is None), origin


def structure_and_scaling(config: Config, store: Store, origin: Checkpoint | None) -> tuple[MAEConfig, Scaling]:
    """Return those of the model that training begins with, otherwise those that a store gives."""
    if origin is None:
        return store_model_config(config, store), Scaling.of(store, config)
    return replace(origin, config=config).structure, origin.scaling.widened(store, config)


def work(
    config: Config,
    store: Store,
    run: Path,
    make_engine: Callable[[MultiModalMAE], Engine],
    *,
    display: Display,
    stop: Stop,
) -> None:
    """Train in this process, from the newest checkpoint or the parent if the run has one."""
    job, origin = make_job(config, store, run)
    torch.manual_seed(derived_seed(config.seed, 6))
    model = MultiModalMAE(job.structure)
    parameters = sum(weight.numel() for weight in model.parameters())
    average: dict[str, torch.Tensor] = {}
    optimiser = origin.path / OPTIMISER if origin and OPTIMISER in origin.files else None
    if origin:
        origin.load_weights(model)
    if optimiser:
        average = load_trained(model, optimiser)
    freeze(model, config.finetune.layers)
    with in_a_sentence(run):
        engine = make_engine(model)
        if optimiser:
            engine.load(optimiser)
        engine.average = Average.of(
            config.train, {name: weight.to(engine.device) for name, weight in average.items()}, _kept(config, run)
        )
        if engine.rank == 0:
            log.info("%s parameters, %d modalities, step %d of %d; in all, each training day %sis shown %.1f times",
                     f"{parameters:,}", len(config.modalities), job.start, config.train.steps,
                     "of a catchment " if store.gauge_ids else "", showings(config, store))  # fmt: skip
        train(job, engine, display, stop)


def _kept(config: Config, run: Path) -> Kept | None:
    """Return what of its parent's weights a run keeps."""
    parent = parent_of(run)
    if parent is None or not config.finetune.parent_share:
        return None
    weights = {name: weight.detach() for name, weight in parent.checkpoint.model().named_parameters()}
    return Kept(config.finetune.parent_share, weights)


def showings(config: Config, store: Store) -> float:
    """Return how often a run shows each day of its training period, of each catchment if there are any."""
    train, windows = config.train, Windows.within(store.period("train"), config.window_days, "train")
    return windows.showings(train.steps * train.batch_size, train.catchments_per_window, len(store.gauge_ids))


def check(config: Config, store: Store, processes: Processes, parent: Parent | None = None) -> None:
    """Raise for what is wrong with configuration, store and machine, before the run directory is touched."""
    gpus = torch.cuda.device_count()
    if processes.gpus > gpus and not processes.hostfile:
        raise ConfigError(f"--gpus is {processes.gpus}, but this machine has {gpus}; give no more")
    if parent:
        check_parent(parent.checkpoint, config, store)
    elif config.finetune != Finetune():
        raise ConfigError("The section 'finetune' is set, but there is no parent; use it with 'watercli finetune'")
    structure, _ = structure_and_scaling(config, store, parent.checkpoint if parent else None)
    check_room(config, structure, store, processes)
    if store.config.recipe:
        check_attributes(config, store.config.recipe.catchments)
    for split in ("train", "validation"):
        Windows.within(store.period(split), config.window_days, split)
    share_of_step(config, processes.world)
    check_loggers(config)
    if processes.several:
        deepspeed_config(config.train, processes.world)
    if config.train.precision == "fp16" and not processes.several:
        raise ConfigError("Setting 'train.precision' is fp16, which needs --gpus; use fp32 or bf16 here")


def pretrain(
    config: Config,
    store: Store,
    run: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    processes: Processes = THIS_PROCESS,
    parent: Parent | None = None,
) -> Checkpoint:
    """Pretrain, or fine-tune a parent, and return the best checkpoint.

    Parameters
    ----------
    config, store
        What to train, and on what. Sizes that the configuration leaves out follow from the store.
    run
        The run directory: made new, or continued with ``resume``, or replaced with ``overwrite``.
    processes
        What DeepSpeed's launcher starts; by default nothing, and this process trains.
    parent
        The model that training begins with; None for random weights. A run that is resumed keeps its own.

    Raises
    ------
    ConfigError
        If configuration, store, run and machine do not fit each other.
    RunError
        If training fails or is interrupted.
    """
    parent = parent_of(run) if resume else parent
    store = parent.read(store) if parent else store
    config = fitted(config, store)
    check(config, store, processes, parent)
    for line in abilities(config, len(store.gauge_ids)):
        log.info(line)
    run.absolute().parent.mkdir(parents=True, exist_ok=True)
    with locked(run):
        set_up(config, store, run, resume=resume, overwrite=overwrite, parent=parent)
        if _has_all_steps(config, run):
            log.info("%s has all its steps, and gets what it lacks besides", run)
        else:
            _train(config, store, run, processes)
        best = directory.open_run(run)
        if best.validation_loss is None:
            raise RunError(f"{run} ended without a validated checkpoint; set train.validate_every below train.steps")
        train_beside = functools.partial(_train_beside, parent=parent)
        with in_a_sentence(run):
            train_members(config, best, store, run, train_beside)
            fit_evidence(config, best, store, run, train_beside)
            if _lacks_head_of_parent(config, best, parent):
                assert parent is not None
                copy_evidence(parent.checkpoint, best)
                log.info("The evidence head is the parent's; train.evidence fits a new one")
    return best


def _train(config: Config, store: Store, run: Path, processes: Processes) -> None:
    """Train in this process, or in those that DeepSpeed starts."""
    if processes.several:
        with in_a_sentence(run):
            launch(run, processes, display())
        newest = directory.all_checkpoints(run)[-1:]
        if not newest or newest[0].step < config.train.steps:
            raise RunError(f"{run} ended before its last step; continue with 'watercli pretrain --run {run} --resume'")
    else:
        work(config, store, run, lambda model: TorchEngine(model, config.train), display=display(), stop=Stop())


def _lacks_head_of_parent(config: Config, best: Checkpoint, parent: Parent | None) -> bool:
    """Return whether a run is to have the evidence head of its parent, and lacks it."""
    if parent is None or config.train.evidence is not None:
        return False
    return has_evidence(parent.checkpoint) and not has_evidence(best)


def _has_all_steps(config: Config, run: Path) -> bool:
    """Return whether a run has all its steps, but lacks members or an evidence head."""
    newest = directory.newest(run)
    if newest is None or newest.step < config.train.steps:
        return False
    best = directory.open_run(run)
    lacks_own_head = bool(config.train.evidence) and not has_evidence(best)
    return bool(lacking_members(config, best)) or lacks_own_head or _lacks_head_of_parent(config, best, parent_of(run))


def _train_beside(config: Config, store: Store, run: Path, parent: Parent | None = None) -> Checkpoint:
    """Train a further model of the same parent here, or go on with it, and return its best checkpoint."""
    continued = (run / CONFIG).is_file() and another_experiment(config, store, run) is None
    set_up(config, store, run, resume=continued, overwrite=True, parent=parent)
    newest = directory.newest(run)
    if newest is not None and newest.step >= config.train.steps:
        return directory.open_run(run)
    work(config, store, run, lambda model: TorchEngine(model, config.train), display=display(), stop=Stop())
    return directory.open_run(run)
