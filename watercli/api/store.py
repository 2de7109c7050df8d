"""Configurations and stores: `load_config`, `prepare`, `open_store`."""

from __future__ import annotations

from pathlib import Path

from watercli.api.arguments import STORE, Settings, StrPath, as_config
from watercli.config import Config
from watercli.store import Store


def load_config(name: StrPath, settings: Settings = ()) -> Config:
    """Read a configuration.

    Parameters
    ----------
    name
        A shipped configuration's name (``"demo"``, ``"gb"``) or the path of a YAML file.
    settings
        Changes of single settings, as in ``{"train.steps": 400}``.

    Raises
    ------
    ConfigError
        If there is no such configuration, or a setting is unknown or out of range.
    """
    return as_config(name, settings)


def open_store(path: StrPath = STORE) -> Store:
    """Open a store; its ``dataset`` is an `xarray.Dataset`, read lazily.

    Raises
    ------
    ConfigError
        If ``path`` does not exist.
    DataError
        If it is no finished store of this version.
    """
    return Store.open(Path(path))


def prepare(
    config: Config | StrPath | None = None,
    out: StrPath = STORE,
    *,
    data: StrPath | None = None,
    settings: Settings = (),
    overwrite: bool = False,
    append: bool = False,
    strict: bool = False,
    scheduler: str | None = None,
) -> Store:
    """Make the store that a configuration's recipe describes: grids, catchment series and attributes.

    Parameters
    ----------
    config
        A configuration, its shipped name or the path of its YAML file. By default the built-in demo domain; with
        ``append`` the store's own.
    out
        Path of the store; it appears there only once it is complete.
    data
        Folder of the recipe's files; None for recipes that read no files.
    settings
        Changes of single settings, as in ``{"recipe.period.end": "2015-09-30"}``.
    overwrite
        Replace the store at ``out``, once the new one is complete.
    append
        Add later days to the store at ``out``; without a day to add, nothing is changed.
    strict
        Make no store if a check of the data finds anything.
    scheduler
        Address of a dask scheduler whose workers write the grids; None for the threads of this process.

    Raises
    ------
    ConfigError
        If ``out`` may not be written, or a setting does not fit.
    DataError
        If a source file does not hold what the recipe says.
    RunError
        If the disk is full, or ``strict`` and there are findings; the same call goes on from there.
    """
    from watercli.output.atomic import recover
    from watercli.preparation import prepare as preparation

    folder = None if data is None else Path(data)
    if append:
        recover(Path(out))
        own = Store.open(Path(out)).config if config is None else config
        return preparation.append(as_config(own, settings), Path(out), data=folder, strict=strict, scheduler=scheduler)
    return preparation.prepare(
        as_config(config or "demo", settings),
        Path(out),
        data=folder,
        overwrite=overwrite,
        strict=strict,
        scheduler=scheduler,
    )


def preview_prepare(
    config: Config | StrPath = "demo",
    out: StrPath = STORE,
    *,
    data: StrPath | None = None,
    settings: Settings = (),
    overwrite: bool = False,
) -> None:
    """Print what `prepare` would read and make, with estimates of size, time and memory; write nothing.

    Raises
    ------
    ConfigError, DataError
        Those of `prepare` that can be met without reading the data.
    """
    from watercli.inspection.show import wide_console
    from watercli.preparation.prepare import dry_run

    folder = None if data is None else Path(data)
    dry_run(as_config(config, settings), Path(out), data=folder, console=wide_console(), overwrite=overwrite)
