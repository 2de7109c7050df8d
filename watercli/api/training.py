"""Training: `pretrain` and `finetune`, and their memory and time beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from watercli.api.arguments import RUNS, Settings, StrPath, as_config, as_overrides
from watercli.api.run import Pretrained, Run, load_model, open_run, resolve_store
from watercli.config import Config
from watercli.errors import ConfigError
from watercli.run.parent import Parent, parent_of
from watercli.run.view import as_read_by
from watercli.store import Store
from watercli.training import pretrain as training
from watercli.training.finetune import fine_tuning, with_size_of
from watercli.training.forgetting import measure_forgetting
from watercli.training.launch import Processes
from watercli.training.size import fitted


def pretrain(
    store: Store | StrPath | None = None,
    run: StrPath | None = None,
    *,
    steps: int | None = None,
    config: Config | StrPath | None = None,
    parent: Pretrained | StrPath | None = None,
    settings: Settings = (),
    gpus: int = 0,
    processes: int = 0,
    hostfile: StrPath | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Pretrain the masked autoencoder on a store.

    Parameters
    ----------
    store
        The store, or its path; by default that of the run to resume, otherwise ``store.zarr``.
    run
        The run directory; by default ``runs/NAME`` of the configuration.
    steps
        Optimiser steps: ``train.steps``.
    config
        A configuration, its shipped name or the path of its YAML file; by default the store's, or with ``resume`` the
        run's own.
    parent
        A trained model whose weights and scaling training begins with, as `finetune` takes it, but with all steps of
        the configuration; None for random weights. Sizes of the model that the configuration leaves out are its own.
    settings
        Changes of single settings, as in ``{"train.learning_rate": 3e-4}``.
    gpus, processes
        Number of processes that DeepSpeed starts on each machine, on GPUs or on the CPU; 0 trains in this process.
    hostfile
        The machines to train on, in DeepSpeed's format; None for this one.
    resume
        Go on from the newest complete checkpoint.
    overwrite
        Replace the run at ``run``.

    Raises
    ------
    ConfigError
        If configuration, store, run and machine do not fit each other.
    RunError
        If training fails or is interrupted.
    """
    all_processes = Processes(gpus, processes, None if hostfile is None else Path(hostfile))
    opened, directory, experiment = _experiment(store, run, config, _with_steps(settings, steps), resume=resume)
    origin, opened, experiment = _with_parent(parent, opened, directory, experiment, resume=resume)
    best = training.pretrain(
        experiment, opened, directory, resume=resume, overwrite=overwrite, processes=all_processes, parent=origin
    )
    return Run(directory, best)


def preview_pretrain(
    store: Store | StrPath | None = None,
    run: StrPath | None = None,
    *,
    steps: int | None = None,
    config: Config | StrPath | None = None,
    parent: Pretrained | StrPath | None = None,
    settings: Settings = (),
    gpus: int = 0,
    processes: int = 0,
    hostfile: StrPath | None = None,
    resume: bool = False,
) -> None:
    """Print the memory and time that `pretrain` would take, from a few steps; write nothing.

    Raises
    ------
    ConfigError
        If configuration, store, run and machine do not fit each other.
    """
    from watercli.training.dry_run import estimate, show

    all_processes = Processes(gpus, processes, None if hostfile is None else Path(hostfile))
    opened, directory, experiment = _experiment(store, run, config, _with_steps(settings, steps), resume=resume)
    origin, opened, experiment = _with_parent(parent, opened, directory, experiment, resume=resume)
    experiment = fitted(experiment, opened)
    training.check(experiment, opened, all_processes, origin)
    begun_with = origin.checkpoint if origin else None
    show(estimate(experiment, opened, all_processes, begun_with), experiment, all_processes)


def finetune(
    model: Pretrained | StrPath | None = None,
    store: Store | StrPath | None = None,
    run: StrPath | None = None,
    *,
    names: Mapping[str, str] | None = None,
    steps: int | None = None,
    settings: Settings = (),
    gpus: int = 0,
    processes: int = 0,
    hostfile: StrPath | None = None,
    resume: bool = False,
    overwrite: bool = False,
    parent_store: Store | StrPath | None = None,
) -> Run:
    """Fine-tune a trained model on a store; the parent itself is kept where no step is better in validation.

    Weights, structure and scaling are the parent's. The result is a run like any other.

    Parameters
    ----------
    model
        The parent: what `load_model` or `open_run` return, a model's name, folder or URL, or a run directory.
        With ``resume`` it may be left out.
    store
        The store, or its path; by default that of the run to resume, otherwise ``store.zarr``.
    run
        The new run directory; by default ``runs/NAME-finetuned``, by the name of the parent's configuration.
    names
        The store's name of a modality or an attribute, by the model's: ``{"precip": "rain"}``.
    steps
        Optimiser steps: ``train.steps``; by default 200 to 600, by the days of the store's gauges.
    settings
        Changes of single settings of the parent's configuration, as in ``{"finetune.layers": "last"}``.
    gpus, processes, hostfile
        See `pretrain`.
    resume
        Go on from the newest complete checkpoint.
    overwrite
        Replace the run at ``run``.
    parent_store
        A store of the parent's gauges, on whose test period forgetting is measured; None measures none.

    Raises
    ------
    ConfigError
        If parent, store, settings, run and machine do not fit each other.
    RunError
        If training fails or is interrupted.
    """
    all_processes = Processes(gpus, processes, None if hostfile is None else Path(hostfile))
    chosen = _with_steps(settings, steps)
    if resume:
        parent, opened, directory, config = _resumed(model, store, run, chosen)
    else:
        parent, opened, directory, config = _begun(model, store, run, names, chosen)
    old = None if parent_store is None else as_read_by(parent.checkpoint, resolve_store(parent_store))
    best = training.pretrain(
        config, opened, directory, resume=resume, overwrite=overwrite, processes=all_processes, parent=parent
    )
    if old is not None:
        measure_forgetting(parent, best, old, directory)
    return Run(directory, best)


def preview_finetune(
    model: Pretrained | StrPath | None = None,
    store: Store | StrPath | None = None,
    run: StrPath | None = None,
    *,
    names: Mapping[str, str] | None = None,
    steps: int | None = None,
    settings: Settings = (),
    gpus: int = 0,
    processes: int = 0,
    hostfile: StrPath | None = None,
    resume: bool = False,
) -> None:
    """Print the memory and time that `finetune` would take, from a few steps; write nothing.

    Raises
    ------
    ConfigError
        If parent, store, settings, run and machine do not fit each other.
    """
    from watercli.training.dry_run import estimate, show

    all_processes = Processes(gpus, processes, None if hostfile is None else Path(hostfile))
    chosen = _with_steps(settings, steps)
    experiment = _resumed(model, store, run, chosen) if resume else _begun(model, store, run, names, chosen)
    parent, opened, _, config = experiment
    training.check(config, opened, all_processes, parent)
    show(estimate(config, opened, all_processes, parent.checkpoint), config, all_processes)


def _with_parent(
    parent: Pretrained | StrPath | None, store: Store, run: Path, config: Config, *, resume: bool
) -> tuple[Parent | None, Store, Config]:
    """Return the parent of a pretraining, the store as it reads it, and the configuration with its model's size."""
    if resume:
        if parent is not None:
            raise ConfigError(f"{run} keeps the parent that it began with; leave --from out when it is resumed")
        own = parent_of(run)
        return own, own.read(store) if own else store, config
    if parent is None:
        return None, store, config
    opened = _opened(parent)
    _check_apart(opened, run)
    origin, read = parent_for(opened, store, None)
    return origin, read, with_size_of(origin.checkpoint, config)


def _begun(
    model: Pretrained | StrPath | None,
    store: Store | StrPath | None,
    run: StrPath | None,
    names: Mapping[str, str] | None,
    settings: list[str],
) -> tuple[Parent, Store, Path, Config]:
    """Return the parent, the store as it reads it, the run directory and the configuration of a new fine-tuning."""
    if model is None:
        raise ConfigError("Fine-tuning needs a parent; give --model, a name that 'watercli models' lists or a run")
    opened = _opened(model)
    parent, read = parent_for(opened, store, names)
    config = fine_tuning(parent, read, settings)
    directory = RUNS / config.name if run is None else Path(run)
    _check_apart(opened, directory)
    return parent, read, directory, config


def parent_for(
    model: Pretrained | StrPath, store: Store | StrPath | None, names: Mapping[str, str] | None
) -> tuple[Parent, Store]:
    """Return a model as the parent of another, and the store as it reads it."""
    opened = _opened(model)
    parent = Parent(_name(opened), opened.checkpoint, {**opened.names, **(names or {})})
    return parent, parent.read(resolve_store(store))


def _check_apart(parent: Pretrained, run: Path) -> None:
    """Refuse a run directory that holds its own parent."""
    if parent.path.resolve().is_relative_to(run.resolve()):
        raise ConfigError(f"{run} holds the parent; choose another --run for its child")


def _resumed(
    model: Pretrained | StrPath | None, store: Store | StrPath | None, run: StrPath | None, settings: list[str]
) -> tuple[Parent, Store, Path, Config]:
    """Return the same of a fine-tuning that is continued."""
    if run is None:
        raise ConfigError("Say with --run which fine-tuning is to be resumed")
    directory = Path(run)
    config = as_config(training.run_config(directory), settings)
    parent = parent_of(directory)
    if parent is None:
        raise ConfigError(f"{directory} is no fine-tuning; continue it with 'watercli pretrain --run {run} --resume'")
    if model is not None:
        given = Parent("", _opened(model).checkpoint).record["weights_fingerprint"]
        if given != parent.record["weights_fingerprint"]:
            raise ConfigError(f"{directory} was begun with another parent, {parent.name}; leave --model out")
    return parent, parent.read(resolve_store(store, directory)), directory, config


def _opened(model: Pretrained | StrPath) -> Pretrained:
    """Return a trained model that is given itself, or by a run directory or as `load_model` takes it."""
    if isinstance(model, Pretrained):
        return model
    return open_run(model) if (Path(model) / training.CONFIG).is_file() else load_model(model)


def _name(model: Pretrained) -> str:
    """Return the name of a model, of a run that of its directory."""
    from watercli.library import folder

    return model.path.resolve().name if model.run is not None else str(folder.about(model.path)["name"])


def _with_steps(settings: Settings, steps: int | None) -> list[str]:
    return as_overrides(settings) + ([] if steps is None else [f"train.steps={steps}"])


def _experiment(
    store: Store | StrPath | None,
    run: StrPath | None,
    config: Config | StrPath | None,
    settings: list[str],
    *,
    resume: bool,
) -> tuple[Store, Path, Config]:
    """Return the store, the run directory and the configuration of an experiment."""
    opened = resolve_store(store, Path(run) if run is not None and resume else None)
    base = opened.config if config is None else as_config(config)
    directory = RUNS / base.name if run is None else Path(run)
    if config is None and resume:
        base = training.run_config(directory)
    return opened, directory, as_config(base if config is None else config, settings)
