"""What lies at a path: `inspect` prints it, `describe` returns it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from watercli.api.arguments import Settings, StrPath, as_overrides
from watercli.inspection import show


def inspect(what: StrPath, settings: Settings = ()) -> None:
    """Print what a configuration, a store, a run directory or an export holds; of a model, its parameters.

    Parameters
    ----------
    what
        A shipped configuration's name, or a path.
    settings
        Changes of single settings of a configuration or a run, as in ``{"model.width": 256}``.

    Raises
    ------
    ConfigError
        If it is nothing that watercli knows, or ``settings`` are given for data.
    DataError
        If a folder is neither a run nor a Zarr store.
    """
    show.show(os.fspath(what), as_overrides(settings))


def describe(path: StrPath) -> dict[str, Any]:
    """Return what a store holds, whole or half-made, as plain types.

    Raises
    ------
    ConfigError
        If there is no store at ``path``.
    """
    return show.describe(Path(path))
