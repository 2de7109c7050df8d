"""What own flow and neighbours add: the evidence head with short records, against rivals with the same days.

At held-out gauges, a few values of the training period are given away, and the test period is estimated from them: with
and without the gauges around. The head is not trained on them.
Shapes: C catchments, D days of the store, n days, T test days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from watercli.baselines import gr4j, lstm
from watercli.baselines.context import Context, Floats
from watercli.baselines.correction import Correction
from watercli.baselines.informed import Informed, coverage, crps
from watercli.baselines.neighbours import distances, inverse_distance
from watercli.data.windows import Indices
from watercli.evaluation.protocol import Case, Protocol, Section
from watercli.hydrology.scores import nse
from watercli.log import log, track

MIN_TEST_DAYS = 30
"""Observed test days without which a gauge is not scored."""
GR4J_SEARCH = 60
"""Runs of GR4J in the search for parameters, after those of the screening."""
HEAD = "evidence head"
MOST_GAUGES = 150
"""Gauges that are scored; of more, so many are chosen, spread over all."""
FLOOR = -1.0
"""Efficiencies below count as this in a mean."""


@dataclass(frozen=True)
class Record:
    """The own flow that is known: so many values of the training period."""

    values: int
    single: bool = False
    """Days drawn at random; otherwise the last ones."""

    @property
    def in_words(self) -> str:
        """What it is, for tables."""
        if not self.values:
            return "none"
        return f"{self.values} single days" if self.single else f"the last {self.values} values"

    def days(self, known: Indices, seed: int, catchment: int) -> Indices:
        """Return its days, of the training days whose flow is known."""
        if self.single:
            rng = np.random.default_rng([seed, 14, catchment, self.values])
            return np.sort(rng.choice(known, self.values, replace=False))
        return known[len(known) - self.values :]


RECORDS = (Record(0), Record(12, single=True), Record(52, single=True), Record(365), Record(730))

Rival = Callable[[int, Indices], Floats]
"""Returns the flow of the test days ``[T]`` of a catchment, given days of its own flow."""


@dataclass(frozen=True)
class Neighbourhood:
    """Neighbour-error correction, for days of single gauges."""

    informed: Informed
    km: Floats
    validation: slice

    @cached_property
    def share(self) -> float:
        """The share of neighbours' errors that is taken, chosen as the method ``neighbour_correction`` does."""
        errors, days = self.informed.errors, self.validation
        observed = np.where(self.informed.donors[:, None], errors.observed[:, days], np.nan)
        correction = Correction(errors.logarithm[:, days], errors.errors[:, days], observed, errors.offset)
        around = np.nan_to_num(inverse_distance(self.km, correction.error, self.informed.donors))
        return correction.share(around, slice(None))

    def logarithm(self, catchment: int, days: Indices) -> Floats:
        """Return the logarithm of a gauge's corrected simulation plus the offset, ``[n]``."""
        errors = self.informed.errors
        around = inverse_distance(self.km[[catchment]], errors.errors[:, days], self.informed.donors)[0]
        logarithm: Floats = errors.logarithm[catchment, days] + self.share * np.nan_to_num(around)
        return logarithm


@dataclass(frozen=True)
class Trial:
    """Gauges that are scored, their days, and all methods."""

    context: Context
    informed: Informed
    gauges: Indices
    records: tuple[Record, ...]

    @classmethod
    def of(cls, context: Context, informed: Informed) -> Trial:
        """Choose the lengths of record that half of the gauges have, and the gauges that have all of these."""
        candidates = np.flatnonzero(context.unseen if context.ungauged else np.ones(len(context.unseen), dtype=bool))
        observed = np.isfinite(context.flow[candidates])
        lengths = observed[:, context.store.period("train")].sum(1)
        tested = observed[:, context.test].sum(1) > MIN_TEST_DAYS
        # As many values must be left over as are given away: a record that is all there is, is not short.
        enough = {record: tested & (lengths >= 2 * record.values) for record in RECORDS}
        records = tuple(record for record in RECORDS if 2 * enough[record].sum() >= max(tested.sum(), 1))
        chosen = np.logical_and.reduce([enough[record] for record in records]) if records else tested
        return cls(context, informed, spread(candidates[chosen], MOST_GAUGES), records)

    @cached_property
    def test(self) -> Indices:
        """Test days, ``[T]``."""
        return np.arange(self.context.test.start, self.context.test.stop)

    @cached_property
    def calibrated(self) -> set[int]:
        """Gauges at which slow rivals are calibrated, spread over all that are scored."""
        return set(spread(self.gauges, self.context.settings.slow_rival_gauges).tolist())

    def own(self, record: Record, catchment: int) -> Indices:
        """Return the days of a gauge's own flow that are known."""
        train = self.context.store.period("train")
        known = np.flatnonzero(np.isfinite(self.context.flow[catchment, train])) + train.start
        return record.days(known, self.context.config.seed, catchment)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return the scores of every gauge, record and method."""
        neighbours = (False, True) if self.context.has_neighbours else (False,)
        rivals = self.rivals()
        for catchment in track(self.gauges.tolist(), "evidence"):
            observed = self.context.flow[catchment, self.context.test]
            for record in self.records:
                own = self.own(record, catchment)
                row = {"gauge_id": self.context.store.gauge_ids[catchment], "own_flow": record.in_words}
                for near in neighbours:
                    estimated = self.informed.estimate(catchment, self.test, neighbours=near, own=own)
                    yield {
                        **row, "neighbours": near, "method": HEAD, "nse": _nse(estimated.flow, observed),
                        "inside_50": coverage(estimated.quantiles, observed, 0.5),
                        "inside_90": coverage(estimated.quantiles, observed, 0.9),
                        "crps": crps(estimated.quantiles, observed),
                    }  # fmt: skip
                for method, (near, slow, rival) in rivals.items():
                    if (len(own) or near) and (not slow or catchment in self.calibrated):
                        yield {
                            **row,
                            "neighbours": near,
                            "method": method,
                            "nse": _nse(rival(catchment, own), observed),
                        }

    def rivals(self) -> dict[str, tuple[bool, bool, Rival]]:
        """Return the rivals by label: whether each sees neighbours, whether it is slow, and its function."""
        errors, settings = self.informed.errors, self.context.settings
        rivals: dict[str, tuple[bool, bool, Rival]] = {}
        if "level_and_slope" in settings.record_rivals:
            simulation = lambda catchment, days: errors.logarithm[catchment, days]  # noqa: E731
            rivals["level and slope of the simulation"] = False, False, self._level_and_slope(simulation)
            if self.context.has_neighbours:
                near = Neighbourhood(
                    self.informed, distances(self.context.store), self.context.store.period("validation")
                )
                rivals["neighbour-error correction, level and slope"] = (
                    True, False, self._level_and_slope(near.logarithm),
                )  # fmt: skip
        if "gr4j" in settings.record_rivals and (weather := gr4j.forcing_of(self.context)) is not None:
            rivals["GR4J, calibrated"] = False, True, self._gr4j(weather)
        if "lstm" in settings.record_rivals and (tuned := lstm.FineTuned.of(self.context)) is not None:
            rivals["LSTM, fine-tuned"] = False, True, lambda catchment, own: tuned(catchment, own, self.context.test)
        return rivals

    def _level_and_slope(self, logarithm: Callable[[int, Indices], Floats]) -> Rival:
        offset, flow = self.informed.errors.offset, self.context.flow

        def rival(catchment: int, own: Indices) -> Floats:
            known = np.log(np.maximum(flow[catchment, own], 0) + offset)
            level, slope = level_and_slope(logarithm(catchment, own), known)
            on_test = np.exp(level + slope * logarithm(catchment, self.test)) - offset
            flow_of_test: Floats = np.maximum(on_test, 0)
            return flow_of_test

        return rival

    def _gr4j(self, weather: Floats) -> Rival:
        times = self.context.store.times

        def rival(catchment: int, own: Indices) -> Floats:
            days = slice(max(int(own[0]) - gr4j.WARM_UP, 0), self.context.test.stop)
            inputs = gr4j.inputs_of(weather[:, catchment, days], times[days])
            if inputs is None:
                return np.full(len(self.test), np.nan)
            observed = np.full(days.stop - days.start, np.nan)
            observed[own - days.start] = self.context.flow[catchment, own]
            flow: Floats = gr4j.run(gr4j.calibrate(inputs, observed, GR4J_SEARCH), inputs)[self.test - days.start]
            return flow

        return rival


def spread(gauges: Indices, number: int) -> Indices:
    """Return at most ``number`` gauges, spread evenly over all."""
    return gauges[np.linspace(0, len(gauges) - 1, min(number, len(gauges))).round().astype(np.int64)]


def level_and_slope(simulated: Floats, observed: Floats) -> tuple[float, float]:
    """Return the regression of observed on simulated values ``[n]``; level 0 and slope 1 of none."""
    if not len(observed):
        return 0.0, 1.0
    spread = float(np.square(simulated - simulated.mean()).sum())
    slope = float(((simulated - simulated.mean()) * observed).sum()) / spread if spread > 0 else 1.0
    return float(observed.mean() - slope * simulated.mean()), slope


def _nse(simulated: Floats, observed: Floats) -> float:
    return float(nse(xr.DataArray(simulated, dims="time"), xr.DataArray(observed, dims="time")))


def judge_evidence(context: Context, informed: Informed, notes: list[str]) -> Section | None:
    """Score the evidence head by what is known; None, with a note, if no gauge has enough flow."""
    trial = Trial.of(context, informed)
    if not len(trial.gauges):
        notes.append("Protocol 'evidence' is left out: no gauge has enough flow in the training and the test period")
        return None
    if not context.ungauged:
        notes.append("Protocol 'evidence': no gauge is held out, so that the model knows all scored gauges already")
    log.info("Estimating flow of %d gauges by what is known", len(trial.gauges))
    scores = pd.DataFrame(list(trial.rows()))
    # All lengths of record on the same gauges: those that have an efficiency.
    scores = scores[scores.groupby("gauge_id")["nse"].transform(lambda column: np.isfinite(column).all())]
    if scores.empty:
        notes.append("Protocol 'evidence' is left out: no gauge has an efficiency by every method")
        return None
    table = summary(scores, context.checkpoint.config.modalities[context.target].units)
    return Section("What own flow and neighbours add", sentence(scores), table, scores)


def summary(scores: pd.DataFrame, units: str) -> pd.DataFrame:
    """Return one row for each record and method: medians over gauges, and how often the head is better."""
    rows = []
    for (own, neighbours, method), of_method in scores.groupby(["own_flow", "neighbours", "method"], sort=False):
        head = scores[(scores["own_flow"] == own) & (scores["neighbours"] == neighbours) & (scores["method"] == HEAD)]
        pairs = of_method.merge(head, on="gauge_id", suffixes=("", "_of_head"))
        efficiency = of_method["nse"]
        rows.append({
            "own flow known": own, "neighbours": "yes" if neighbours else "no", "method": method,
            "gauges": len(of_method), "median NSE": efficiency.median(), "25th pct.": efficiency.quantile(0.25),
            f"mean, from {FLOOR:g}": efficiency.clip(FLOOR).mean(),
            "inside 50 %": of_method["inside_50"].mean(), "inside 90 %": of_method["inside_90"].mean(),
            f"CRPS ({units})": of_method["crps"].median(),
            "head better at": np.nan if method == HEAD else float((pairs["nse_of_head"] > pairs["nse"]).mean()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def sentence(scores: pd.DataFrame) -> str:
    """Say what evidence adds."""
    head = scores[scores["method"] == HEAD]
    medians = head.groupby(["own_flow", "neighbours"], sort=False)["nse"].median()
    parts = [f"{medians['none', False]:.3f} by weather alone"]
    if ("none", True) in medians:
        parts.append(f"{medians['none', True]:.3f} with the gauges around")
    longest = list(medians.index)[-1]
    if longest[0] != "none":
        parts.append(f"{medians[longest]:.3f} with {longest[0]} of own flow{' besides' if longest[1] else ''}")
    return f"Median NSE of the evidence head at {head['gauge_id'].nunique()} gauges: {', '.join(parts)}"


def lacks_head(case: Case) -> str | None:
    """Say why no evidence head serves; None if one does."""
    return case.context.without_evidence


def _run(case: Case) -> Section | None:
    informed = case.context.informed
    assert informed is not None, "the protocol cannot serve a run without an evidence head"
    return judge_evidence(case.context, informed, case.notes)


EVIDENCE = Protocol(name="evidence", run=_run, slow=True, cannot_serve=lacks_head)
