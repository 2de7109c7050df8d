"""What the tests of training share: a run of eight steps that nothing interrupts, and its readings."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Trained
from watercli.config import Config, with_overrides
from watercli.log import log
from watercli.run import checkpoint as checkpoints
from watercli.training.metrics_log import read_metrics

TIMES = {"windows_per_second", "data_share", "peak_memory_gib"}
"""What depends on the clock and the machine."""


LONGER = ("train.steps=8", "train.checkpoint_every=4", "train.log_every=1")


def rows(run: Path) -> list[dict[str, Any]]:
    """Return the metrics without what depends on the clock."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in read_metrics(run)]


def longer(config: Config, *changes: str) -> Config:
    return with_overrides(config, [*LONGER, *changes])


def same_losses(one: Path, other: Path, rel: float = 1e-5) -> None:
    """Assert that two runs have the same rows, with losses equal within a tolerance."""
    left, right = rows(one), rows(other)
    assert [(row["step"], row["split"]) for row in left] == [(row["step"], row["split"]) for row in right]
    assert [row["loss"] for row in right] == pytest.approx([row["loss"] for row in left], rel=rel)


def halved(run: Path, to: Path) -> Path:
    """Return a copy of a run that has come to step 4."""
    shutil.copytree(run, to)
    shutil.rmtree(checkpoints.folder_of(to, 8))
    return to


@pytest.fixture(scope="session")
def uninterrupted(trained: Trained) -> Path:
    """A run of eight steps with checkpoints at 4 and 8; do not write to it."""
    return trained("uninterrupted", *LONGER)


@pytest.fixture
def copied(uninterrupted: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(uninterrupted, tmp_path / "copied"))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What watercli logs."""
    before = log.level, log.propagate
    log.addHandler(caplog.handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # to the root, where pytest listens as well
    yield caplog
    log.removeHandler(caplog.handler)
    log.setLevel(before[0])
    log.propagate = before[1]
