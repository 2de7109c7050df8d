from __future__ import annotations

from pathlib import Path

import pytest

import watercli as wc


@pytest.fixture(scope="session")
def shared_model(recurrent_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recurrent run as a model's folder; do not write to it."""
    return wc.open_run(recurrent_run).export(tmp_path_factory.mktemp("models") / "creek")
