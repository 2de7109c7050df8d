"""Reading ahead in a thread, so that training does not wait for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")


def read_ahead(items: Iterable[T], number: int) -> Iterator[T]:
    """Yield the items in their order, while a thread reads up to ``number`` of them ahead; 0 reads without a thread.

    An error in the thread is raised here, at its item's turn.
    """
    if not number:
        yield from items
        return
    ready: queue.Queue[T | BaseException | None] = queue.Queue(number)
    abandoned = threading.Event()

    def put(item: T | BaseException | None) -> bool:
        while not abandoned.is_set():
            try:
                ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        torch.get_num_threads()  # sets this thread's OpenMP up, which would otherwise undo the limit
        # The cores are for the model: one thread is enough to copy windows.
        with threadpool_limits(1, user_api="openmp"):
            try:
                if all(put(item) for item in items):
                    put(None)
            except BaseException as error:
                put(error)

    thread = threading.Thread(target=read, name="read ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.set()
        thread.join()
