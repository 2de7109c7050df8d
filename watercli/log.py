"""What people see of the work: bars on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from importlib.util import find_spec
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
"""Seconds between two lines on progress where no bar is drawn."""


def shows_bars() -> bool:
    """Return whether progress can be drawn: on a terminal, or in a notebook that has ipywidgets, as rich needs."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def configure_if_silent() -> None:
    """Let the log be seen, unless the caller (a command, or a user's own logging) has seen to that already."""
    if not log.hasHandlers():
        configure()


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send watercli's log to terminal or notebook with rich, or to plain lines elsewhere.

    ``stream`` takes plain lines in place of standard error.
    """
    handler: logging.Handler
    if shows_bars() and stream is None:
        handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False


@contextmanager
def progress(*, part: bool = False) -> Iterator[Progress]:
    """Yield a rich progress display; where none can be drawn it is disabled, and log lines say how far it is.

    That of a ``part`` of other work, which has a display of its own, goes when it is done.
    """
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, disable=not shows_bars(), transient=part) as display:
        yield display


def track(
    items: Iterable[T],
    what: str,
    *,
    total: int | None = None,
    size: Callable[[T], int] = lambda _: 1,
    part: bool = False,
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
    part
        This is part of other work that is tracked too: its bar goes when it is done.
    """
    amount = len(items) if total is None and isinstance(items, Sized) else total
    started = said = time.monotonic()
    done = 0
    with progress(part=part) as display:
        task = display.add_task(what, total=amount)
        for item in items:
            yield item
            done += size(item)
            display.advance(task, size(item))
            now = time.monotonic()
            if not shows_bars() and now - said > SAID_EVERY and amount:
                said = now
                rate = done / (now - started)
                log.info("%s: %d of %d, %.3g a second, %.0f s left", what, done, amount, rate, (amount - done) / rate)
