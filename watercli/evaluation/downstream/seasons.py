"""Seasons: in which months is flow low, and in which does the flood of the year come, at gauges without flow?

A month of low flow has a mean flow below Q90, the flow that 90 % of the gauge's training days exceed: Smakhtin
(2001), Low flow hydrology: a review, Journal of Hydrology 240, 147-186, doi:10.1016/S0022-1694(00)00340-1. The month of
the flood is that of the highest daily flow of a water year, October to September, as in Blöschl et al. (2017), Changing
climate shifts timing of European floods, Science 357, 588-590, doi:10.1126/science.aan2506. The head is a logistic
regression on what is known at the end of a month, and on the time of year.
Shapes: C catchments, D days of the store, N ends of months, F features, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from watercli.baselines.context import Flags, Floats
from watercli.data.windows import Indices
from watercli.evaluation.downstream.inputs import Inputs
from watercli.evaluation.downstream.judging import (
    LEAST_GAUGES,
    comparison,
    fitted,
    in_common,
    nothing_to_score,
    pairs,
    rows,
)
from watercli.evaluation.protocol import Case, Protocol, Section
from watercli.log import log, track

LOW_FLOW, FLOOD = "low flow", "flood of the year"
CHANCE = "chance"
WHOLE = 0.9
"""Share of the days of a month, or of a water year, that must be observed."""
PENALTIES = (1e-4, 1e-3, 1e-2)
"""Inverse penalties ``C`` of the regression, one of which the validation months choose."""
MAX_ROWS = 20_000
"""Months of all gauges that a head learns from; more are thinned out evenly."""


def low_flow_months(flow: Floats, times: pd.DatetimeIndex, ends: Indices, train: slice) -> Floats:
    """Return 1 for a month of low flow, 0 for others, ``[C, N]`` of ``flow`` ``[C, D]``; NaN where too little is known.

    Catchments without flow in training have no threshold.
    """
    starts = ends - times[ends].day.to_numpy() + 1
    known = np.isfinite(flow)
    days, total = (_sums(of, starts, ends) for of in (known, np.where(known, flow, 0)))
    mean = total / np.maximum(days, 1)
    has_flow: Flags = known[:, train].sum(1) > 0
    threshold = np.full(len(flow), np.nan)
    threshold[has_flow] = np.nanquantile(flow[has_flow, train], 0.1, axis=1)
    enough = (days >= WHOLE * (ends + 1 - starts)) & has_flow[:, None]
    return np.where(enough, mean < threshold[:, None], np.nan)


def _sums(values: Floats | Flags, starts: Indices, ends: Indices) -> Floats:
    """Return sums ``[C, N]`` of values ``[C, D]`` from the starts to the ends, both included."""
    running = np.pad(values.cumsum(1, dtype=np.float64), ((0, 0), (1, 0)))
    sums: Floats = running[:, ends + 1] - running[:, starts]
    return sums


def flood_months(flow: Floats, times: pd.DatetimeIndex, ends: Indices, period: slice) -> Floats:
    """Return 1 for the month of the highest flow of its water year, 0 for others, ``[C, N]`` of ``flow`` ``[C, D]``.

    NaN where the year does not lie in the period, or too little of it is known.
    """
    labels = np.full((len(flow), len(ends)), np.nan)
    water_year = times.year + (times.month >= 10)
    for year in np.unique(water_year[ends]):
        days = np.flatnonzero(water_year[period] == year) + period.start
        if len(days) < 365:
            continue
        of_year = flow[:, days]
        known = np.flatnonzero((np.isfinite(of_year).mean(1) >= WHOLE) & (np.nan_to_num(of_year).max(1) > 0))
        peak = times[days].month.to_numpy()[np.nanargmax(of_year[known], axis=1)]
        months = np.flatnonzero(water_year[ends] == year)
        labels[np.ix_(known, months)] = times[ends[months]].month.to_numpy() == peak[:, None]
    return labels


@dataclass(frozen=True)
class Classifier:
    """Classifies months by one input after the other."""

    inputs: Inputs
    labels: Floats
    """``[C, N]``: 1 for a month of the event, 0 for others, NaN where it is not known."""
    usable: Flags
    """``[C, N]``: months at whose end all inputs are known."""

    def classify(self, features: Floats) -> Floats:
        """Return the probability of the event in the test months of scored gauges ``[C, N of test]``; others NaN.

        ``features`` are ``[C, N, F]``.
        """
        train, validation, test = self.inputs.months.parts
        chances = np.full(self.labels[:, test].shape, np.nan)
        for learns, scored in pairs(self.inputs.context):
            fit = self._fit(features, self._rows(learns, train), self._rows(learns, validation))
            catchment, month = np.nonzero(self.usable[:, test] & scored[:, None])
            if fit is not None and len(catchment):
                x = self._x(features, (catchment, month + test.start))
                chances[catchment, month] = fit.predict_proba(x)[:, 1]
        return chances

    def _rows(self, gauges: Flags, months: slice) -> tuple[Indices, Indices]:
        """Return catchments and months ``[R]`` that are known, at most `MAX_ROWS`."""
        known = self.usable[:, months] & np.isfinite(self.labels[:, months]) & gauges[:, None]
        catchment, month = np.nonzero(known)
        thin = np.linspace(0, len(month) - 1, min(len(month), MAX_ROWS)).round().astype(np.int64)
        return catchment[thin], month[thin] + months.start

    def _x(self, features: Floats, rows: tuple[Indices, Indices]) -> Floats:
        """Return features, attributes and time of year of rows, ``[R, F]``."""
        catchment, month = rows
        times = self.inputs.context.store.times[self.inputs.months.all[month]]
        angle = 2 * np.pi * times.month.to_numpy() / 12
        season = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        return np.concatenate([features[catchment, month], self.inputs.attributes[catchment], season], axis=1)

    def _fit(
        self, features: Floats, train: tuple[Indices, Indices], validation: tuple[Indices, Indices]
    ) -> Pipeline | None:
        """Return the regression of the penalty that the validation months choose; None without events to learn from."""
        y, held_back = self.labels[train], self.labels[validation]
        if len(np.unique(y)) < 2:
            return None
        x, later = (self._x(features, part).astype(np.float64) for part in (train, validation))
        fits = [
            make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=300)).fit(x, y)
            for penalty in PENALTIES
        ]
        if not held_back.any():
            return fits[len(fits) // 2]
        return max(fits, key=lambda fit: average_precision_score(held_back, fit.predict_proba(later)[:, 1]))


def precision(labels: Floats, chances: Floats) -> Floats:
    """Return the average precision of each catchment ``[C]`` over months ``[C, N]``; NaN without both kinds of them."""
    scores = np.full(len(labels), np.nan)
    for c, (label, chance) in enumerate(zip(labels, chances, strict=True)):
        known = np.isfinite(label) & np.isfinite(chance)
        if 0 < label[known].sum() < known.sum():
            scores[c] = average_precision_score(label[known], chance[known])
    return scores


def judge_seasons(inputs: Inputs, notes: list[str]) -> Section | None:
    """Score the classification of months; None, with a note, if too few gauges have months of either kind."""
    context, scores = inputs.context, {}
    for event, labels in _labels(inputs).items():
        skill = _skill(Classifier(inputs, labels, inputs.complete), event)
        if skill and np.isfinite(skill[CHANCE]).sum() >= LEAST_GAUGES:
            scores[event] = skill
    if not scores:
        notes.append("Protocol 'seasons' is left out: too few gauges have months of low flow or floods to be scored")
        return None
    seed = context.config.seed
    parts = [f"{event.capitalize()}: {comparison(skill, seed)}" for event, skill in scores.items()]
    tables = [pd.DataFrame(rows(skill, "average precision", seed)).assign(event=event)
              for event, skill in scores.items()]  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    return Section(
        "Months of low flow and of floods",
        f"Classified {fitted(context)}. {'. '.join(parts)}",
        table[["event", *table.columns.drop("event")]],
        _by_catchment(context.store.gauge_ids, scores),
    )


def _labels(inputs: Inputs) -> dict[str, Floats]:
    """Return the labels of all months ``[C, N]`` by event."""
    context, months = inputs.context, inputs.months
    store = context.store
    periods = {"train": months.train, "validation": months.validation, "test": months.test}
    floods = [flood_months(context.flow, store.times, ends, store.period(split)) for split, ends in periods.items()]
    return {
        LOW_FLOW: low_flow_months(context.flow, store.times, months.all, store.period("train")),
        FLOOD: np.concatenate(floods, axis=1),
    }


def _skill(classifier: Classifier, event: str) -> dict[str, Floats]:
    """Return the average precision ``[C]`` by input, and that of chance: the share of months of the event."""
    log.info("Classifying months: %s", event)
    test = classifier.inputs.months.parts[2]
    labels = classifier.labels[:, test]
    with threadpool_limits(1):
        skill = {
            name: precision(labels, classifier.classify(features))
            for name, features in track(list(classifier.inputs.daily()), f"seasons: {event}")
        }
    known = np.isfinite(labels) & classifier.usable[:, test]
    share = np.where(known, labels, 0).sum(1) / np.maximum(known.sum(1), 1)
    return in_common({CHANCE: share, **skill})


def _by_catchment(gauges: list[str], scores: dict[str, dict[str, Floats]]) -> pd.DataFrame:
    return pd.DataFrame([
        {"gauge_id": gauges[c], "event": event, **{name: of[c] for name, of in skill.items()}}
        for event, skill in scores.items()
        for c in np.flatnonzero(np.isfinite(skill[CHANCE]))
    ])  # fmt: skip


def _run(case: Case) -> Section | None:
    return judge_seasons(case.inputs, case.notes)


SEASONS = Protocol(name="seasons", run=_run, slow=True, nothing_to_score=nothing_to_score)
