"""The devices of an export: this process, or several that work through numbered tasks, on GPUs or on the CPU.

Each process has a pipe of its own to the one that started it, and shares nothing with the others: no lock can stay
taken by one that is killed. Processes end when the starting one does, however it ends; a task that was not finished is
then not done.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from watercli.errors import ConfigError, RunError


class Worker(Protocol):
    """Does a task and returns its size."""

    def __call__(self, number: int) -> int:
        """Do a task."""
        ...


def choose_device(processes: int, gpus: int) -> str:
    """Return the device that this process works on itself.

    Raises
    ------
    ConfigError
        If both are given, or this machine has fewer GPUs.
    """
    import torch

    if processes and gpus:
        raise ConfigError("--gpus and --processes exclude each other; --processes is for CPU")
    if gpus > torch.cuda.device_count():
        raise ConfigError(f"--gpus {gpus} given, but this machine has {torch.cuda.device_count()}; give no more")
    return "cuda:0" if gpus == 1 else "cpu"


def in_processes(number: int, make: Callable[[str], Worker], tasks: Sequence[int], *, gpus: bool) -> Iterator[int]:
    """Yield the size of each task as it is done, in ``number`` processes.

    ``make`` makes a worker in each process, for a device: ``cuda:0`` and so on, or ``cpu``; it must be picklable.

    Raises
    ------
    RunError
        If a process is killed.
    """
    threads = max((os.cpu_count() or 1) // number, 1)
    processes = [_start(f"cuda:{own}" if gpus else "cpu", threads) for own in range(number)]
    try:
        yield from _hand_out(make, tasks, [connection for _, connection in processes])
    except (EOFError, ConnectionError) as error:
        raise RunError(
            "A process was killed (out of memory?); give the same command again, which goes on from what is done, "
            "with fewer processes or a smaller embed.batch_size"
        ) from error
    finally:
        for process, connection in processes:
            process.terminate()  # what it is at is not waited for
            connection.close()
        for process, _ in processes:
            process.join()


def _start(device: str, threads: int) -> tuple[SpawnProcess, Connection]:
    """Return a process that waits for a maker and for tasks, and the connection that takes them."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, device, threads), daemon=True)
    process.start()
    there.close()
    return process, here


def _hand_out(make: Callable[[str], Worker], tasks: Sequence[int], connections: list[Connection]) -> Iterator[int]:
    """Give each process a task, and another when it has done one, until none is left; yield their sizes."""
    left = iter(tasks)
    busy = []
    for connection in connections:
        connection.send(make)
        if (task := next(left, None)) is not None:
            connection.send(task)
            busy.append(connection)
    while busy:
        for connection in _ready(busy):
            result = connection.recv()
            if isinstance(result, BaseException):
                raise result
            yield result
            if (task := next(left, None)) is None:
                busy.remove(connection)
            else:
                connection.send(task)


def _ready(connections: Sequence[Connection]) -> list[Connection]:
    return [connection for connection in wait(connections) if isinstance(connection, Connection)]


def _work(tasks: Connection, device: str, threads: int) -> None:
    """Do tasks as they come, with a worker that is made at the first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the starting process, which says what happens
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    with suppress(EOFError, ConnectionError):  # the starting process is no more
        make = cache(tasks.recv())
        while True:
            tasks.send(_outcome(make, device, tasks.recv()))


def _outcome(make: Callable[[str], Worker], device: str, number: int) -> int | Exception:
    """Do a task; return its size, or what went wrong with its traceback as a note."""
    try:
        return make(device)(number)
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error


def _end_with_parent() -> None:
    """End this process, in the middle of a task too, when the one that started it is no more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
