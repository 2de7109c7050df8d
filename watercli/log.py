"""One console for people, plain lines where the output is no terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TextIO, TypeVar

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
console = Console(stderr=True)
log = logging.getLogger("watercli")
SAID_EVERY = 30.0
"""Seconds between two lines on progress where the output is no terminal."""


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send watercli's log to the terminal with rich, or to plain lines where standard error is no terminal.

    ``stream`` takes plain lines in place of standard error.
    """
    handler: logging.Handler
    if console.is_terminal and stream is None:
        handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield a rich progress display; on plain output it is disabled and log lines have to tell."""
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=False) as display:
        yield display


def track(
    items: Iterable[T], what: str, *, total: int | None = None, size: Callable[[T], int] = lambda _: 1
) -> Iterator[T]:
    """Yield items, and show how far the work on them is; on plain output by a line now and then, if it takes long.

    Parameters
    ----------
    items
        What is worked on.
    what
        The work, in a word or two.
    total
        Sum of the sizes; by default the number of items, which must have a length.
    size
        How much of the work an item is.
    """
    whole = len(items) if total is None and isinstance(items, Sized) else total
    started = said = time.monotonic()
    done = 0
    with progress() as display:
        task = display.add_task(what, total=whole)
        for item in items:
            yield item
            done += size(item)
            display.advance(task, size(item))
            now = time.monotonic()
            if not console.is_terminal and now - said > SAID_EVERY and whole:
                said = now
                rate = done / (now - started)
                log.info("%s: %d of %d, %.3g a second, %.0f s left", what, done, whole, rate, (whole - done) / rate)
