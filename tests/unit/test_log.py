"""How far long work is: a bar for people, a line now and then where the output is no terminal."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from watercli import log


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    lines: list[str] = []
    monkeypatch.setattr(log.log, "info", lambda text, *values: lines.append(text % values))
    return lines


def clock(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Let so much time pass between two looks at the clock; other threads keep theirs."""
    now = iter(range(0, 1000, seconds))
    monkeypatch.setattr(log, "time", SimpleNamespace(monotonic=lambda: next(now)))


def test_long_work_is_told_line_by_line(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    clock(monkeypatch, 20)
    assert list(log.track("abcde", "reading")) == list("abcde")
    # A step takes 20 s: every second one is told.
    assert told == ["reading: 2 of 5, 0.05 a second, 60 s left", "reading: 4 of 5, 0.05 a second, 20 s left"]


def test_items_may_be_of_different_sizes(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    clock(monkeypatch, 40)
    assert list(log.track(iter((3, 5)), "writing", total=8, size=int)) == [3, 5]
    assert told == ["writing: 3 of 8, 0.075 a second, 67 s left", "writing: 8 of 8, 0.1 a second, 0 s left"]


def test_short_work_is_not_told(told: list[str]) -> None:
    assert list(log.track([1, 2, 3], "reading")) == [1, 2, 3]
    assert not told


def test_an_error_ends_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one may be begun: rich has one at a time."""
    monkeypatch.setattr(log.console, "_force_terminal", True)

    def fail() -> None:
        for one in log.track([1, 2], "reading"):
            raise ValueError(f"wrong {one}")

    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"):
            fail()


def test_a_notebook_draws_bars_if_it_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rich draws them with ipywidgets; without it there are lines, as where the output is no terminal."""
    monkeypatch.setattr(log, "console", Console(force_jupyter=True))
    assert log.shows_bars() == (importlib.util.find_spec("ipywidgets") is not None)
    (tmp_path / "ipywidgets.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert log.shows_bars()


def test_the_log_is_seen_unless_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("watercli.silent")
    logger.propagate = False
    monkeypatch.setattr(log, "log", logger)
    log.configure_if_silent()
    (handler,) = logger.handlers
    log.configure_if_silent()
    assert logger.handlers == [handler]
