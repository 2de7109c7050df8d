"""The devices of an export: this process, or several that work through numbered tasks, on GPUs or on the CPU.

Processes end when the one that started them does, however it ends; a task that was not finished is then not done.
"""

from __future__ import annotations

import _thread
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Event
from typing import Any, Protocol

from watercli.errors import ConfigError, RunError

POLL = 0.5
"""Seconds between two looks whether the starting process still lives."""
INTERRUPT = signal.SIGUSR1
"""Ends a task within a process; SIGTERM still ends the process."""


class Worker(Protocol):
    """Does a task and returns its size."""

    def __call__(self, number: int) -> int:
        """Do a task."""
        ...


@dataclass
class _Process:
    """One of the processes, as it knows itself."""

    make: Callable[[], Worker]
    stop: Event
    worker: Worker | None = None
    busy: bool = False


_own: _Process | None = None


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
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("i", 0), context.Event()
    threads = max((os.cpu_count() or 1) // number, 1)
    executor = ProcessPoolExecutor(
        number, context, initializer=_begin, initargs=(make, counter, stop, os.getpid(), threads, gpus)
    )
    try:
        for done in as_completed([executor.submit(_do, task) for task in tasks]):
            yield done.result()
    except BrokenProcessPool as error:
        raise RunError(
            "A process was killed (out of memory?); give the same command again, which goes on from what is done, "
            "with fewer processes or a smaller embed.batch_size"
        ) from error
    except BaseException:
        stop.set()  # what the processes are at is not waited for
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(make: Callable[[str], Worker], counter: Any, stop: Event, parent: int, threads: int, gpus: bool) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the starting process, which says what happens
    torch.set_num_threads(threads)
    with counter.get_lock():
        own = counter.value
        counter.value += 1
    global _own
    _own = _Process(partial(make, f"cuda:{own}" if gpus else "cpu"), stop)
    signal.signal(INTERRUPT, signal.default_int_handler)
    threading.Thread(target=_watch, args=(_own, parent), daemon=True).start()


def _watch(own: _Process, parent: int) -> None:
    """End the task when the starting process says so, and this process when that one is no more."""
    while os.getppid() == parent:
        if own.stop.wait(POLL):
            if own.busy:
                _thread.interrupt_main(INTERRUPT)
            return
    os._exit(1)


def _do(task: int) -> int:
    assert _own is not None
    if _own.stop.is_set():
        raise KeyboardInterrupt
    _own.busy = True
    try:
        if _own.worker is None:  # made here, and not at the beginning, so that its errors reach the starting process
            _own.worker = _own.make()
        return _own.worker(task)
    finally:
        _own.busy = False
