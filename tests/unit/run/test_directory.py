"""Paths that name a run or a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from watercli.errors import ConfigError
from watercli.run.directory import open_run
from watercli.store import Store


def test_a_path_may_be_text(tiny_run: Path, tiny_store: Store) -> None:
    assert open_run(str(tiny_run)) == open_run(tiny_run)
    opened = Store.open(os.fspath(tiny_store.path))
    assert opened.path == tiny_store.path
    assert opened.fingerprint == tiny_store.fingerprint


def test_nothing_there() -> None:
    with pytest.raises(ConfigError, match=r"^none is no run directory; make one with"):
        open_run("none")
    with pytest.raises(ConfigError, match=r"^No store at none.zarr; make one with"):
        Store.open("none.zarr")
