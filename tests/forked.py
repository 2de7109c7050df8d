"""Processes that start at once: they are forked from one that has imported PyTorch, DeepSpeed and watercli."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Listener
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from watercli.cli import main
from watercli.training import launch, pretrain, worker
from watercli.training.display import Display
from watercli.training.launch import LAUNCHER_LOG, LOGS, Processes

EPOCH = "0"
"""The time at which commands say that they made something, so that what they make is the same each time."""
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["tests.preloaded"])


@dataclass(frozen=True)
class Started:
    """A command in a process of its own."""

    process: ForkServerProcess
    stderr: Path

    @property
    def pid(self) -> int:
        """Return the number of its process."""
        assert self.process.pid is not None
        return self.process.pid

    def runs(self) -> bool:
        """Return whether it has not ended."""
        return self.process.exitcode is None

    def said(self) -> str:
        """Return its standard error."""
        return self.stderr.read_text(encoding="utf-8")

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        self.process.join(120)
        assert self.process.exitcode is not None, "it hangs"
        return self.process.exitcode


def _command(arguments: list[str], limit: int | None, stderr: str, folder: Path) -> None:
    os.setsid()  # a terminal's Ctrl-C reaches a group of processes
    os.chdir(folder)
    os.environ["SOURCE_DATE_EPOCH"] = EPOCH
    _redirect_stderr(Path(stderr), "w")
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["watercli", *arguments]
    main.main()


def _redirect_stderr(file: Path, mode: str) -> None:
    with file.open(mode, encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)


def start(arguments: list[str], stderr: Path, limit: int | None = None, folder: Path | None = None) -> Started:
    """Start a command in a folder; none of its files may be longer than ``limit`` bytes."""
    process = START.Process(target=_command, args=(arguments, limit, str(stderr), folder or Path.cwd()))
    process.start()
    return Started(process, stderr)


PROGRAM = """#!{python}
# Has the test fork a command.
import os, sys
from multiprocessing.connection import Client
with Client({address!r}) as test:
    test.send((os.getcwd(), sys.argv[1:]))
    code, said = test.recv()
sys.stderr.write(said)
sys.exit(code)
"""


@contextlib.contextmanager
def program(path: Path, stderr: Path) -> Iterator[None]:
    """Make a program that does what ``watercli`` does, in forked processes, as long as the context lasts."""
    with Listener() as listener:
        path.write_text(PROGRAM.format(python=sys.executable, address=listener.address), encoding="utf-8")
        path.chmod(0o755)
        threading.Thread(target=_serve, args=(listener, stderr), daemon=True).start()
        yield


def _serve(listener: Listener, stderr: Path) -> None:
    with contextlib.suppress(OSError):  # the listener is closed
        while True:
            with listener.accept() as script:
                folder, arguments = script.recv()
                command = start(arguments, stderr, folder=Path(folder))
                script.send((command.end(), command.said()))


def _worker(run: Path, rank: int, world: int, port: int, launcher: str) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()}
    _redirect_stderr(run / LOGS / LAUNCHER_LOG, "a")
    sys.argv = ["worker", "--run", str(run), "--launcher", launcher, "--accelerator", "cpu", "--threads", "1"]
    sys.exit(worker.main())


def without_launcher(run: Path, processes: Processes, display: Display) -> None:
    """Do what `watercli.training.launch.launch` does, but start the workers without DeepSpeed's launcher."""
    (run / LOGS).mkdir(exist_ok=True)
    port, launcher = launch._free_port(), f"{socket.gethostname()}:{os.getpid()}"
    workers = [
        START.Process(target=_worker, args=(run.resolve(), rank, processes.world, port, launcher))
        for rank in range(processes.world)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join(300)
    failure = launch._failure(run / LOGS)
    if failure:
        raise failure
    log = (run / LOGS / LAUNCHER_LOG).read_text(encoding="utf-8")
    assert [process.exitcode for process in workers] == [0] * processes.world, log


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training in several processes in this test start its workers without DeepSpeed's launcher."""
    monkeypatch.setattr(pretrain, "launch", without_launcher)
