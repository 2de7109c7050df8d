"""Pretraining: `pretrain`, and its memory and time beforehand."""

from __future__ import annotations

from pathlib import Path

from watercli.api.arguments import RUNS, Settings, StrPath, as_config, as_overrides
from watercli.api.run import Run, resolve_store
from watercli.config import Config
from watercli.store import Store
from watercli.training import pretrain as training
from watercli.training.launch import Processes
from watercli.training.size import fitted


def pretrain(
    store: Store | StrPath | None = None,
    run: StrPath | None = None,
    *,
    steps: int | None = None,
    config: Config | StrPath | None = None,
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
    best = training.pretrain(experiment, opened, directory, resume=resume, overwrite=overwrite, processes=all_processes)
    return Run(directory, best)


def preview_pretrain(
    store: Store | StrPath | None = None,
    run: StrPath | None = None,
    *,
    steps: int | None = None,
    config: Config | StrPath | None = None,
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
    opened, _, experiment = _experiment(store, run, config, _with_steps(settings, steps), resume=resume)
    experiment = fitted(experiment, opened)
    training.check(experiment, opened, all_processes)
    show(estimate(experiment, opened, all_processes), experiment, all_processes)


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
