"""What a run shows while it trains: a live table on a terminal, log lines elsewhere.

Rank 0 of several processes has no terminal: it relays its reports, as lines of JSON, to the command that launched it.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Self, TextIO

import torch
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from watercli.log import console, log, shows_bars
from watercli.output.sizes import duration, in_bytes

LINE_EVERY = 15.0
"""Seconds between two log lines where there is no terminal."""
RELAYED = "watercli-report "
"""What a relayed report's line begins with."""


@dataclass(frozen=True)
class Report:
    """Where a run stands after a step."""

    step: int
    steps: int
    """In all."""
    losses: dict[str, float]
    """Of the last training row, by modality; ``loss`` is their weighted sum."""
    validation: dict[str, float]
    """The same of the last validation; empty before the first."""
    windows_per_second: float
    data_share: float
    """Share of the time that was spent waiting for data."""
    memory: int
    """Most bytes that the process of rank 0 has held: of GPU memory if it has a GPU, otherwise of main memory."""
    seconds_left: float
    """At the pace so far, validations and checkpoints included."""
    scores: dict[str, float] = field(default_factory=dict)
    """Medians over catchments of the last validation, as ``nse/SERIES`` and ``kge/SERIES``; empty without any."""

    @property
    def status(self) -> str:
        """Pace, waiting, memory and time left, in words."""
        return (
            f"{self.windows_per_second:.1f} windows/s, {self.data_share:.0%} waiting for data, "
            f"{in_bytes(self.memory)} of memory, {duration(self.seconds_left)} left{in_line(self.scores)}"
        )


def in_line(scores: dict[str, float]) -> str:
    """Return medians over catchments as the end of a line; nothing if there are none."""
    parts = [name.partition("/") for name in scores]
    return "".join(
        f", median {metric.upper()} of {series} {score:.3f}"
        for (metric, _, series), score in zip(parts, scores.values(), strict=True)
    )


def peak_memory(device: torch.device) -> int:
    """Return the most bytes held so far, on the GPU if the device is one, otherwise by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Display(ABC):
    """Shows reports."""

    @abstractmethod
    def show(self, report: Report) -> None:
        """Show where the run stands."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last report to be seen."""
        return


class Lines(Display):
    """A log line now and then."""

    def __init__(self) -> None:
        self._spoke = 0.0

    def show(self, report: Report) -> None:
        """See `Display`."""
        if time.monotonic() - self._spoke > LINE_EVERY or report.step == report.steps:
            self._spoke = time.monotonic()
            losses = " ".join(f"{name} {loss:.3f}" for name, loss in report.losses.items() if has_target(loss))
            log.info("step %d/%d  %s  (%s)", report.step, report.steps, losses, report.status)


class Screen(Display):
    """A table of losses, a bar and a line of figures, drawn anew in place."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("pretrain"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self._bar.add_task("")
        self._live = Live(console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """See `Display`."""
        self._live.stop()

    def show(self, report: Report) -> None:
        """See `Display`."""
        self._bar.update(self._task, completed=report.step, total=report.steps)
        self._live.update(Group(losses_table(report), self._bar, Text(report.status)))


def has_target(loss: float) -> bool:
    """Return whether a step had a target of a modality; without any its loss is NaN, which is no failure."""
    return not math.isnan(loss)


def losses_table(report: Report) -> Table:
    """Return the losses of training and validation, a column for each modality."""
    table = Table("", *report.losses)
    for title, losses in (("training loss", report.losses), ("validation loss", report.validation)):
        shown = {name: f"{loss:.4f}" for name, loss in losses.items() if has_target(loss)}
        table.add_row(title, *(shown.get(name, "") for name in report.losses))
    return table


class Relay(Display):
    """One line of JSON for each report, to the command that launched this process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, report: Report) -> None:
        """See `Display`."""
        try:
            self._stream.write(f"{RELAYED}{json.dumps(asdict(report))}\n")
            self._stream.flush()
        except OSError:  # nobody listens any more: `Stop` notices
            pass


def relayed(line: str) -> Report | None:
    """Return the report that a line of a process holds, None if it holds none."""
    text = line.partition(RELAYED)[2]
    try:
        return Report(**json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None


def display() -> Display:
    """Return the display that standard error allows."""
    return Screen() if shows_bars() else Lines()
