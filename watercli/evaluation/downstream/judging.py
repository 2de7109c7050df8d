"""Which gauges heads learn from and which are scored, and how the scores of inputs stand beside each other.

Shapes: C catchments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from watercli.baselines.context import Context, Flags, Floats
from watercli.evaluation.downstream.inputs import EMBEDDING
from watercli.evaluation.protocol import Case
from watercli.hydrology.scores import compare, summarise

FOLDS = 5
"""Of the cross-validation where no gauge is held out, or none gave flow to training."""
LEAST_GAUGES = 4
"""Gauges that a head learns from at least, and over which it is scored."""
LEAST_MONTHS = 2
"""Whole months that the test period must have."""


def pairs(context: Context) -> list[tuple[Flags, Flags]]:
    """Return the gauges that a head learns from and those that it is scored at, ``[C]`` each; one pair for each fit.

    Heads learn from the gauges of the training, and are scored at those that it never saw. Where all or none gave flow
    to it, the gauges of each fold, by rank, are scored by a head of the others.
    """
    unseen = context.unseen
    if unseen.any() and not unseen.all():
        return [(~unseen, unseen)]
    fold = np.arange(len(unseen)) % FOLDS
    return [(fold != number, fold == number) for number in range(FOLDS)]


def knowledge(context: Context) -> str:
    """Say what the model knew of the gauges that are scored."""
    return f"at gauges whose flow the model {'never saw' if context.ungauged else 'saw in training'}"


def fitted(context: Context) -> str:
    """Say the same, and how the gauges are that heads learn from."""
    in_folds = f", by heads of the other gauges, in {FOLDS} folds" if len(pairs(context)) > 1 else ""
    return knowledge(context) + in_folds


def in_common(skill: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return scores ``[C]`` by input, NaN at gauges that one of the inputs has none for."""
    known = np.logical_and.reduce([np.isfinite(scores) for scores in skill.values()])
    return {name: np.where(known, scores, np.nan) for name, scores in skill.items()}


def comparison(skill: Mapping[str, Floats], seed: int) -> str:
    """Say which other inputs the embedding beats, gauge by gauge."""
    by_verdict: dict[str, list[str]] = {}
    for name in [name for name in skill if name != EMBEDDING]:
        pair = compare(skill[EMBEDDING], skill[name], seed)
        by_verdict.setdefault(pair.verdict, []).append(f"{name} (better at {pair.better} of {pair.count} gauges)")
    return "the embedding " + "; ".join(f"{verdict} {', '.join(names)}" for verdict, names in by_verdict.items())


def rows(skill: Mapping[str, Floats], metric: str, seed: int) -> list[dict[str, Any]]:
    """Return one row for each input: its scores, and what the embedding gains on it, with a 95 % interval."""
    return [_row(name, skill, metric, seed) for name in skill]


def _row(name: str, skill: Mapping[str, Floats], metric: str, seed: int) -> dict[str, Any]:
    own, pair = summarise(skill[name], seed), compare(skill[EMBEDDING], skill[name], seed)
    is_rival = name != EMBEDDING
    return {
        "input": name, "gauges": own.count, f"median {metric}": own.median, "25th pct.": own.p25,
        "embedding better at": pair.better / max(pair.count, 1) if is_rival else np.nan,
        "its gain (median)": pair.difference.median if is_rival else np.nan,
        "from": pair.difference.low if is_rival else np.nan,
        "to": pair.difference.high if is_rival else np.nan,
    }  # fmt: skip


def nothing_to_score(case: Case) -> str | None:
    """Return why no head can be fitted or scored; None if it may be."""
    context, months = case.context, case.inputs.months
    if not len(months.train) or len(months.test) < LEAST_MONTHS:
        return f"training has {len(months.train)} whole months and the test period {len(months.test)}"
    fewest = min(int(min(learns.sum(), scored.sum() * len(pairs(context)))) for learns, scored in pairs(context))
    return f"there are fewer than {LEAST_GAUGES} gauges to learn from or to score" if fewest < LEAST_GAUGES else None
