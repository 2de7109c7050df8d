"""Several processes at numbered tasks: whatever one of them suffers, the starting process goes on to say it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass

import pytest

from watercli.errors import DataError, RunError
from watercli.inference.processes import in_processes


@dataclass(frozen=True)
class Doubles:
    """Doubles the task's number, unless the task is the one that ends badly."""

    device: str
    killed_at: int | None = None
    refused_at: int | None = None

    def __call__(self, number: int) -> int:
        if number == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.refused_at:
            raise DataError("The store holds no such block")
        return 2 * number


@dataclass(frozen=True)
class Maker:
    """Makes workers; its ballast is more than a pipe takes at once, as that of a model is."""

    killed_at: int | None = None
    refused_at: int | None = None
    ballast: bytes = bytes(2**20)

    def __call__(self, device: str) -> Doubles:
        return Doubles(device, self.killed_at, self.refused_at)


@pytest.mark.slow
def test_every_task_is_done_once() -> None:
    assert sorted(in_processes(2, Maker(), range(7), gpus=False)) == [0, 2, 4, 6, 8, 10, 12]
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize("task", [0, 5])
def test_a_killed_process_ends_the_work(task: int) -> None:
    """Also the first task's, which may be done while another process is only beginning."""
    began = time.monotonic()
    with pytest.raises(RunError, match="A process was killed"):
        list(in_processes(2, Maker(killed_at=task), range(8), gpus=False))
    assert not multiprocessing.active_children()
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_an_error_of_a_process_is_its_starter_s() -> None:
    with pytest.raises(DataError, match="holds no such block") as failed:
        list(in_processes(2, Maker(refused_at=3), range(8), gpus=False))
    assert any("__call__" in note for note in failed.value.__notes__), "where it came from is lost"
    assert not multiprocessing.active_children()
