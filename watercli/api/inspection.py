"""Contents of a path: `inspect` prints them, `describe` returns them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from watercli.api.arguments import Settings, StrPath, as_overrides
from watercli.inspection import show


def inspect(what: StrPath, settings: Settings = ()) -> None:
    """Print the contents of a configuration, a store, a run directory or an export; of a model, its parameters.

    Parameters
    ----------
    what
        A shipped configuration's or model's name, or a path.
    settings
        Changes of single settings of a configuration or a run, as in ``{"model.width": 256}``.

    Raises
    ------
    ConfigError
        If ``what`` is of no known kind, or ``settings`` are given for data.
    DataError
        If a folder is neither a run nor a Zarr store.
    """
    show.show(os.fspath(what), as_overrides(settings))


def inspect_model(model: StrPath) -> None:
    """Print the card of a model and the table of its parameters.

    Parameters
    ----------
    model
        A name that `watercli.models` lists, the path of a model's folder, or its URL.

    Raises
    ------
    ConfigError
        If there is no such model.
    RunError
        If it was altered or is torn, or the URL cannot be reached.
    """
    from watercli.library import places

    show.show_model(places.locate(model))


def verify(path: StrPath) -> str:
    """Read every byte of a store, an export or a run, and compare it with its checksum; return what was read.

    Raises
    ------
    DataError, RunError
        If anything is not as it was written; arrays and files are named.
    """
    from watercli.inspection.verify import verify as read_all

    return read_all(Path(path))


def describe(path: StrPath) -> dict[str, Any]:
    """Return the contents of a store, finished or not, as plain types.

    Raises
    ------
    ConfigError
        If there is no store at ``path``.
    """
    return show.describe(Path(path))
