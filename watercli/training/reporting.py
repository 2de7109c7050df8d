"""What the training loop measures and tells of itself: the pace, and rows and lines for metrics and display."""

from __future__ import annotations

import time

import torch

from watercli.log import log
from watercli.training.display import Display, Report, in_line, peak_memory
from watercli.training.metrics_log import MetricsLog
from watercli.training.series_validation import KGE, NSE


class Clock:
    """Time spent on steps and on waiting for data since the last report."""

    def __init__(self, start: int) -> None:
        self._reported = start
        self._waited = self._worked = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin to wait for a step's data."""
        self._mark = time.perf_counter()

    def data_ready(self) -> None:
        """Count the time since the last mark as waiting."""
        now = time.perf_counter()
        self._waited += now - self._mark
        self._mark = now

    def step_done(self) -> None:
        """Count the time since the last mark as work."""
        now = time.perf_counter()
        self._worked += now - self._mark
        self._mark = now

    def report(self, done: int, windows: int) -> dict[str, float]:
        """Return windows per second and the share of time spent waiting for data, then start anew."""
        spent = self._waited + self._worked
        steps = done - self._reported
        values = {"windows_per_second": steps * windows / spent, "data_share": self._waited / spent}
        self._reported, self._waited, self._worked = done, 0.0, 0.0
        return values


class Reporter:
    """Writes metrics and shows where a run stands that goes from step ``start`` to ``steps``, on rank 0."""

    def __init__(self, metrics: MetricsLog, display: Display, device: torch.device, start: int, steps: int) -> None:
        self._metrics, self._display, self._device = metrics, display, device
        self._start, self._steps = start, steps
        self._began = time.monotonic()
        self._validation: dict[str, float] = {}
        self._scores: dict[str, float] = {}

    def training(self, done: int, values: dict[str, float], timing: dict[str, float]) -> None:
        """Report the losses of step ``done``, and what `Clock.report` measured."""
        memory = peak_memory(self._device)
        seconds_left = (time.monotonic() - self._began) / (done - self._start) * (self._steps - done)
        self._metrics.write(done, "train", values | timing | {"peak_memory_gib": memory / 2**30})
        self._display.show(Report(done, self._steps, _losses(values), self._validation, **timing, memory=memory,
                                  seconds_left=seconds_left, scores=self._scores))  # fmt: skip

    def validation(self, done: int, values: dict[str, float]) -> None:
        """Report the losses and scores of the validation after step ``done``."""
        self._metrics.write(done, "validation", values)
        self._validation = _losses(values)
        self._scores = {name: value for name, value in values.items() if name.startswith((NSE, KGE))}
        log.info("step %d/%d  validation loss %.4f%s", done, self._steps, values["loss"], in_line(self._scores))


def _losses(values: dict[str, float]) -> dict[str, float]:
    return {name.removeprefix("loss/"): value for name, value in values.items() if name.startswith("loss")}
