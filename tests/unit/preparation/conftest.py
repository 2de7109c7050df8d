from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import factory
from tests.conftest import Once
from watercli.config import load
from watercli.preparation.prepare import prepare
from watercli.store import Store


@pytest.fixture(scope="session")
def data_template(once: Once) -> Path:
    return once("data", factory.data_folder)


@pytest.fixture
def data(data_template: Path, tmp_path: Path) -> Path:
    """Return a data folder of the test's own."""
    return Path(shutil.copytree(data_template, tmp_path / "data"))


@pytest.fixture
def build(data: Path, tmp_path: Path) -> Callable[..., Store]:
    """Prepare the synthetic recipe, with settings changed."""

    def run(**changes: Any) -> Store:
        return prepare(factory.config(**changes), tmp_path / "store.zarr", data=data, overwrite=True)

    return run


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what the program logs."""
    logging.getLogger("watercli").propagate = True
    caplog.set_level(logging.INFO, "watercli")
    return caplog


@pytest.fixture(scope="session")
def demo(once: Once) -> Store:
    """The demo domain in its full size; do not write to it."""
    return Store.open(once("demo.zarr", lambda path: prepare(load("demo"), path, data=None)))
