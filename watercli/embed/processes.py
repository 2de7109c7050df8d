"""Several processes that work through numbered tasks, on GPUs or on the CPU.

They end when the process that started them does, however it ends; a task that was not finished is then not done.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.synchronize import Event
from typing import Any, Protocol

from watercli.errors import RunError

POLL = 0.5
"""Seconds between two looks whether the starting process still lives."""


class Worker(Protocol):
    """What does a task and says how much that was."""

    def __call__(self, number: int) -> int:
        """Do a task."""
        ...


_make: Callable[[], Worker] | None = None
_worker: Worker | None = None


def in_processes(number: int, make: Callable[[str], Worker], tasks: Sequence[int], *, gpus: bool) -> Iterator[int]:
    """Yield what each task says that it was, as they are done in ``number`` processes.

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
            "with fewer processes or a smaller embed.batch"
        ) from error
    except BaseException:
        stop.set()  # what the processes are at is not waited for
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(make: Callable[[str], Worker], counter: Any, stop: Event, parent: int, threads: int, gpus: bool) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the starting process, which says what happens
    threading.Thread(target=_watch, args=(parent, stop), daemon=True).start()
    torch.set_num_threads(threads)
    with counter.get_lock():
        own = counter.value
        counter.value += 1
    global _make
    _make = partial(make, f"cuda:{own}" if gpus else "cpu")


def _watch(parent: int, stop: Event) -> None:
    while os.getppid() == parent and not stop.wait(POLL):
        pass
    os._exit(1)


def _do(task: int) -> int:
    global _worker
    if _worker is None:  # made here, and not at the beginning, so that its errors reach the starting process
        assert _make is not None
        _worker = _make()
    return _worker(task)
