"""What a protocol is given, what it is, and what one of a third party hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from watercli.baselines.cache import Cache
from watercli.baselines.context import Context, Dates
from watercli.baselines.features import Features
from watercli.config import Config, Evaluate
from watercli.config.defaults import FLOW_OF_SERIES
from watercli.errors import ConfigError, nearest
from watercli.evaluation.downstream.inputs import Inputs
from watercli.evaluation.leakage import check_probe
from watercli.inference.embedder import Embedder
from watercli.log import log
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store


@dataclass(frozen=True)
class Case:
    """The run that is judged and the store that it is judged on; all protocols of an evaluation share one."""

    checkpoint: Checkpoint
    store: Store
    config: Config
    """The checkpoint's, but for ``evaluate``, ``embed`` and ``seed``, which may differ."""
    cache: Cache
    device: str
    """Where the model works."""
    notes: list[str]
    """What a reader of the report must know; a protocol may add to them."""
    asides: list[str] = field(default_factory=list)
    """What else the report says: protocols of the defaults that the run has no use for."""

    @property
    def settings(self) -> Evaluate:
        """Settings of the evaluation."""
        return self.config.evaluate

    @property
    def names_protocols(self) -> bool:
        """Whether the configuration names other protocols than the defaults do."""
        defaults = Evaluate().protocols, tuple(FLOW_OF_SERIES["evaluate.protocols"])
        return self.settings.protocols not in defaults

    @cached_property
    def without_flow(self) -> str | None:
        """Why there can be no river-flow part; None if there can."""
        return reason_without_flow(self.checkpoint, self.store, self.settings)

    @cached_property
    def context(self) -> Context:
        """All that methods of simulation are given."""
        return make_context(self.checkpoint, self.store, self.config, self.cache, self.device)

    @cached_property
    def features(self) -> Features:
        """All that probes learn from."""
        return Features(self.context)

    @cached_property
    def inputs(self) -> Inputs:
        """All that heads of downstream uses read."""
        return Inputs(self.context)


@dataclass(frozen=True)
class Section:
    """A result that is a table: a section of the page, ``NAME.csv``, and a key of ``results.json``."""

    title: str
    sentence: str
    """The finding, in words."""
    table: pd.DataFrame
    """Its columns are the headings."""
    by_catchment: pd.DataFrame | None = None
    """What the table summarises, for ``NAME_catchments.csv``."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A way to judge a run."""

    name: str
    run: Callable[[Case], Any]
    """Returns a `Section`, or a result that the report knows; None if there is nothing to judge, with a note of it."""
    needs_flow: bool = True
    """It judges river flow: a run or a store without leaves it out."""
    cannot_serve: Callable[[Case], str | None] = lambda case: None
    """Says why it cannot judge this run on this store; None if it can."""
    alternative: str | None = None
    """Name of the protocol that judges what this one cannot."""
    slow: bool = False
    """``evaluate.quick`` leaves it out."""
    nothing_to_score: Callable[[Case], str | None] = lambda case: None
    """Says, before any work, why no catchment can be scored; None if some may."""


def reason_without_flow(checkpoint: Checkpoint, store: Store, settings: Evaluate) -> str | None:
    """Return why there can be no river-flow part, or None if there can.

    Raises
    ------
    ConfigError
        If ``evaluate.target`` names no series of the run (the default may be absent).
    """
    target, known = settings.target, checkpoint.config.modalities
    if not store.gauge_ids:
        return "the store has no catchments"
    if target not in known:
        if target == type(settings)().target:
            return f"the run has no series '{target}'"
        series = checkpoint.config.of_kind("series")
        raise ConfigError(f"Setting 'evaluate.target' names '{target}', which the run lacks{nearest(target, series)}")
    if known[target].kind == "grid":
        series = checkpoint.config.of_kind("series")
        raise ConfigError(f"Setting 'evaluate.target' names '{target}', a grid; name a series{nearest(target, series)}")
    if len(known) == 1:
        return f"the run has no modality besides '{target}' that an encoder could see"
    test = store.period("test")
    if not np.isfinite(store.dataset[target].values[:, test]).any():
        first, last = store.times[[test.start, test.stop - 1]]
        return (
            f"{store.path.name} has no '{target}' in the {settings.split} period "
            f"({first:%Y-%m-%d} to {last:%Y-%m-%d}){_elsewhere(store, settings)}"
        )
    return None


def _elsewhere(store: Store, settings: Evaluate) -> str:
    """Return advice to score the validation period, if there is flow in it."""
    validation = store.dataset[settings.target].values[:, store.period("validation")]
    scores_test = settings.split == "test" and np.isfinite(validation).any()
    return "; use --set evaluate.split=validation to score the validation period" if scores_test else ""


def make_context(checkpoint: Checkpoint, store: Store, config: Config, cache: Cache, device: str = "cpu") -> Context:
    """Return all that methods are given; the encoder never sees the target, whatever ``embed`` says."""
    settings, target = config.evaluate, config.evaluate.target
    excluded = tuple(dict.fromkeys((*config.embed.excluded_inputs, target)))
    if target not in config.embed.excluded_inputs:
        log.info(
            "'%s' is hidden from the encoder, as it is what the probe predicts, though embed.excluded_inputs lacks it",
            target,
        )
    embedder = Embedder(checkpoint, store, excluded, pooling=config.embed.pooling, device=device)
    dates = Dates.of(embedder, settings.probe_stride)
    check_probe(store, target, embedder.modalities, dates.train, dates.validation, dates.test)
    return Context(checkpoint, store, config, cache, embedder, dates)
