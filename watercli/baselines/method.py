"""The record of a method: what it is called, how it is drawn, what it sees, and the function that simulates flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from watercli.baselines.context import Context, Floats
from watercli.baselines.features import Features
from watercli.baselines.ridge import Fitted, Task

LINES = ("-", "--", "-.", ":")
"""Styles of a line, as matplotlib writes them."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What tables and figures need of a method, whatever it does."""

    name: str
    """In settings, files and results."""
    label: str
    """In tables and figures."""
    colour: str
    """Of its curves, ``#rrggbb``."""
    line: str = "-"
    """Style of its curves, one of `LINES`."""

    def __post_init__(self) -> None:
        assert self.line in LINES, f"line style '{self.line}' of '{self.name}' is none of {LINES}"


@dataclass(frozen=True, kw_only=True)
class Method(Curve):
    """A way to simulate the flow of the test period, without the flow of the day itself.

    It has either ``simulate`` or ``fit``.
    """

    saw: str | Callable[[Context], str]
    """What it sees, in words."""
    simulate: Callable[[Context], Floats | None] | None = None
    """Returns ``[C, T]`` of the test days in physical units, NaN without an answer; None if it has none anywhere."""
    fit: Callable[[Features, Task], Fitted] | None = None
    """Of a probe: fits a regression to the task, whose rows hold every input."""
    needs_own_flow: bool = False
    """It learns from flow of the gauge itself, or sees it: it has no answer at a gauge that training never saw."""
    sees_other_gauges: bool = False
    """It sees flow of other gauges on the day itself."""
    sees_recent_flow: bool = False
    """It sees flow of the gauge itself on the days before."""
    needs_cross_modal_attention: bool = False
    """It reads decoder states, which say something of other modalities in such a run only."""
    needs_evidence_head: bool = False
    """It is the model's, informed by flow: a run without an evidence head has none."""
    in_distribution: bool = True
    """It is drawn where there is no room for all methods."""
    in_summary: bool = True
    """The main method is compared with it in words."""
    on_request: bool = False
    """It is left out unless named."""
    slow: bool = False
    """``evaluate.quick`` leaves it out, as it does all that ``fit`` embeddings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert (self.simulate is None) != (self.fit is None), f"'{self.name}' needs either 'simulate' or 'fit'"

    @property
    def is_quick(self) -> bool:
        """Whether ``evaluate.quick`` keeps it: it neither trains a network nor embeds."""
        return not (self.slow or self.fit or self.needs_evidence_head)

    @property
    def sees_test_flow(self) -> bool:
        """Whether it sees observed flow of the test period."""
        return self.sees_other_gauges or self.sees_recent_flow

    def saw_in(self, context: Context) -> str:
        """Return what it saw, in words."""
        return self.saw if isinstance(self.saw, str) else self.saw(context)
