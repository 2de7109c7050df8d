"""One console for people, plain lines where the output is no terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

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


def follow(done: Iterable[int], total: int, what: str, things: str) -> None:
    """Consume counts of things as they are done, and show how far they are; on plain output by a line now and then.

    ``what`` is being done to ``total`` ``things``, in words.
    """
    started = said = now = time.monotonic()
    number = 0
    with progress() as display:
        task = display.add_task(what, total=total)
        for count in done:
            number += count
            display.advance(task, count)
            now = time.monotonic()
            if not console.is_terminal and now - said > SAID_EVERY:
                said = now
                rate = number / (now - started)
                log.info(
                    "%d of %d %s, %.1f a second, %.0f s left", number, total, things, rate, (total - number) / rate
                )
    if number:
        log.info("%d %s in %.0f s: %.1f a second", number, things, now - started, number / max(now - started, 1e-9))
