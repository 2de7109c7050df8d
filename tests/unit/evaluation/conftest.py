"""One evaluation of the tiny run, made once in a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from watercli.config import Config, Evaluate, with_overrides
from watercli.evaluation.evaluate import judge, target_of, write
from watercli.evaluation.results import Outcome
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.store import Store

MORE = (
    "evaluate.probe_stride=8",
    "evaluate.min_training_rows=20",
    f"evaluate.methods={list(Evaluate().methods)}",
)


@pytest.fixture(scope="session")
def checkpoint(tiny_run: Path) -> Checkpoint:
    return open_run(tiny_run)


@pytest.fixture(scope="session")
def config(checkpoint: Checkpoint) -> Config:
    return with_overrides(checkpoint.config, MORE)


@pytest.fixture(scope="session")
def outcome(checkpoint: Checkpoint, tiny_store: Store, config: Config, tiny_run: Path) -> Outcome:
    """By all default methods and protocols."""
    return judge(checkpoint, tiny_store, config, run=tiny_run)


@pytest.fixture(scope="session")
def out(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is written to."""
    folder = tmp_path_factory.mktemp("out") / "evaluation"
    write(outcome, target_of(folder, overwrite=False))
    return folder
