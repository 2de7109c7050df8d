"""Gaps in a record: flow that is cut out of the test period is filled from both sides and from neighbours.

Every method sees the same: the gauge's flow on all other days, and that of gauges whose flow the run saw in training.
Shapes: C catchments, D days of the store, n days, H days that are cut out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.informed import Estimated, Informed, coverage
from watercli.baselines.neighbours import distances, inverse_distance
from watercli.data.evidence import CANDIDATES, choose_own
from watercli.data.windows import Indices
from watercli.evaluation.evidence import MOST_GAUGES, lacks_head, spread
from watercli.evaluation.protocol import Case, Protocol, Section
from watercli.inference.evidence import ALIGNED_WITH_OWN
from watercli.log import log, track

LENGTHS = {1: 20, 7: 8, 30: 4, 365: 1}
"""Lengths of gaps in days, and how many of each are cut into a record."""
DONORS = 5
"""Gauges that flow is regressed on."""
MIN_COMMON, MIN_COVER = 180, 0.9
"""Days on which a donor and the gauge are both known, and the share of cut-out days on which the donor is."""
MIN_DAYS = 10
"""Cut-out days that must be observed for a gauge to be scored."""
MODEL, INTERPOLATION = "evidence head", "linear interpolation"
REGRESSION, INVERSE_DISTANCE = "regression on donors", "inverse-distance neighbours"


def cut(rng: np.random.Generator, observed: Flags, length: int, number: int) -> Indices:
    """Return the days of up to ``number`` gaps of ``length`` days, along ``observed`` ``[n]``.

    Gaps do not touch each other, nor the ends; at least half of the days of each are observed.
    """
    within = np.convolve(observed, np.ones(length, dtype=np.int64), "valid")
    starts = np.flatnonzero(2 * within >= length)
    free = np.ones(len(observed), dtype=bool)
    free[[0, -1]] = False
    days: list[Indices] = []
    for start in rng.permutation(starts):
        if len(days) == number:
            break
        if free[start : start + length].all():
            days.append(np.arange(start, start + length))
            free[max(start - 1, 0) : start + length + 1] = False
    return np.sort(np.concatenate(days)) if days else np.zeros(0, dtype=np.int64)


def on_donors(own: Floats, donors: Floats, hidden: Indices) -> Floats:
    """Return flow on hidden days ``[H]`` by linear regression on the best-correlated donors.

    It is fitted to the other days, once to flow and once to its logarithm; the fit of the smaller error is taken.

    Parameters
    ----------
    own
        Flow ``[D]``, NaN on hidden days.
    donors
        Flow of the candidates, ``[K, D]``.
    hidden
        Days to be filled, ``[H]``.
    """
    usable = donors[np.isfinite(donors[:, hidden]).mean(1) >= MIN_COVER]
    offset = 0.01 * float(np.nanmean(own))
    logarithms = np.log(np.maximum(usable, 0) + offset), np.log(np.maximum(own, 0) + offset)
    correlation = np.array([_correlation(logarithms[1], donor) for donor in logarithms[0]])
    best = np.argsort(-correlation, kind="stable")[: min(DONORS, int(np.isfinite(correlation).sum()))]
    known = np.isfinite(own) & np.isfinite(usable[best]).all(0)
    if not len(best) or known.sum() < MIN_COMMON:
        return np.full(len(hidden), np.nan)
    fits = (
        np.maximum(_regression(own, usable[best], known), 0),
        np.maximum(np.exp(_regression(logarithms[1], logarithms[0][best], known)) - offset, 0),
    )
    errors = [float(np.square(fit - own)[known].mean()) for fit in fits]
    return fits[int(np.argmin(errors))][hidden]


def _correlation(own: Floats, donor: Floats) -> float:
    known = np.isfinite(own) & np.isfinite(donor)
    if known.sum() < MIN_COMMON or np.ptp(donor[known]) == 0 or np.ptp(own[known]) == 0:
        return float("nan")
    return float(np.corrcoef(own[known], donor[known])[0, 1])


def _regression(own: Floats, donors: Floats, known: Flags) -> Floats:
    """Return values of all days ``[D]`` by a regression on donors ``[K, D]``, fitted to the days ``known`` ``[D]``.

    Gaps of the donors are interpolated in time.
    """
    days = np.arange(len(own))
    complete = [np.interp(days, days[np.isfinite(donor)], donor[np.isfinite(donor)]) for donor in donors]
    inputs = np.column_stack((*complete, np.ones(len(own))))
    values: Floats = inputs @ np.linalg.lstsq(inputs[known], own[known], rcond=None)[0]
    return values


@dataclass(frozen=True)
class Gauge:
    """One gauge, its record, and the flow around it."""

    informed: Informed
    km: Floats
    flow: Floats
    """``[C, D]``, observed."""
    catchment: int

    def fill(self, cuts: dict[int, Indices]) -> tuple[dict[int, dict[str, Floats]], dict[int, Estimated]]:
        """Return the flow of cut-out days ``[H]`` by length of gap and method, and the head's estimates of them."""
        estimated = self._estimate(cuts)
        flows = {length: {MODEL: estimated[length].flow, **self._by_rivals(hidden)} for length, hidden in cuts.items()}
        return flows, estimated

    def _estimate(self, cuts: dict[int, Indices]) -> dict[int, Estimated]:
        """Return the head's estimates, in the blocks of days of ``simulate --fill``."""
        own = {length: self._own_by_block(hidden) for length, hidden in cuts.items()}
        read = np.unique(np.concatenate([days for blocks in own.values() for _, days in blocks]))
        explained = self.informed.explained(self.catchment, read, neighbours=True)
        estimated = {}
        for length, blocks in own.items():
            parts = [
                self.informed.estimate(
                    self.catchment, block, neighbours=True, own=days, explained=explained[np.searchsorted(read, days)]
                )
                for block, days in blocks
            ]
            flow, quantiles = ([getattr(part, name) for part in parts] for name in ("flow", "quantiles"))
            estimated[length] = Estimated(np.concatenate(flow), np.concatenate(quantiles))
        return estimated

    def _own_by_block(self, hidden: Indices) -> list[tuple[Indices, Indices]]:
        """Return cut-out days in blocks, and the days of the gauge's own flow that are read for each."""
        record = np.setdiff1d(np.flatnonzero(np.isfinite(self.flow[self.catchment])), hidden)
        blocks = np.split(hidden, np.flatnonzero(np.diff(hidden // ALIGNED_WITH_OWN)) + 1)
        firsts = [block[0] // ALIGNED_WITH_OWN * ALIGNED_WITH_OWN for block in blocks]
        return [
            (block, choose_own(np.arange(first, first + ALIGNED_WITH_OWN), record))
            for block, first in zip(blocks, firsts, strict=True)
        ]

    def _by_rivals(self, hidden: Indices) -> dict[str, Floats]:
        own = self.flow[self.catchment].copy()
        own[hidden] = np.nan
        known = np.flatnonzero(np.isfinite(own))
        donors = self.informed.donors & ~self.informed.errors.same[self.catchment]
        near = np.flatnonzero(donors)[np.argsort(self.km[self.catchment, donors], kind="stable")][:CANDIDATES]
        return {
            INTERPOLATION: np.interp(hidden, known, own[known]),
            REGRESSION: on_donors(own, self.flow[near], hidden),
            INVERSE_DISTANCE: inverse_distance(self.km[[self.catchment]], self.flow[:, hidden], donors)[0],
        }


def judge_gaps(context: Context, informed: Informed, notes: list[str]) -> Section | None:
    """Score filled gaps; None, with a note, if no gap can be cut."""
    informed, km = informed.with_donors_interpolated(), distances(context.store)
    candidates = np.flatnonzero(context.unseen if context.ungauged else np.ones(len(context.unseen), dtype=bool))
    scored = spread(candidates, MOST_GAUGES)
    log.info("Filling gaps in the records of up to %d of %d gauges", len(scored), len(candidates))
    rows: list[dict[str, Any]] = []
    for catchment in track(scored.tolist(), "gaps"):
        cuts = _cuts(context, catchment)
        if cuts:
            rows += _scores(context, Gauge(informed, km, context.flow, catchment), cuts)
    absent = [length for length in LENGTHS if length not in {row["gap"] for row in rows}]
    if not rows:
        notes.append("Protocol 'gaps' is left out: no gauge has enough flow in the test period")
        return None
    if absent:
        notes.append(f"Protocol 'gaps': no gap of {', '.join(map(str, absent))} days fits into the test period")
    scores = pd.DataFrame(rows)
    table = summary(scores, context.checkpoint.config.modalities[context.target].units)
    return Section("Gaps in a record", sentence(scores), table, scores)


def _cuts(context: Context, catchment: int) -> dict[int, Indices]:
    """Return the days that are cut out, by length of gap; lengths with too few observed ones are left out."""
    record = int(np.isfinite(context.flow[catchment]).sum())
    observed = np.isfinite(context.flow[catchment, context.test])
    cuts = {}
    for length, number in LENGTHS.items():
        days = cut(np.random.default_rng([context.config.seed, 15, catchment, length]), observed, length, number)
        if MIN_DAYS <= observed[days].sum() <= record - MIN_COMMON:
            cuts[length] = days + context.test.start
    return cuts


def _scores(context: Context, gauge: Gauge, cuts: dict[int, Indices]) -> list[dict[str, Any]]:
    """Return the scores of a gauge by length of gap and method, over days that every method fills."""
    flows, estimated = gauge.fill(cuts)
    rows = []
    for length, by_method in flows.items():
        truth = context.flow[gauge.catchment, cuts[length]]
        days = np.logical_and.reduce([np.isfinite(flow) for flow in (truth, *by_method.values())])
        if days.sum() < MIN_DAYS or np.ptp(truth[days]) == 0:
            continue
        for method, flow in by_method.items():
            error = flow[days] - truth[days]
            inside = coverage(estimated[length].quantiles[days], truth[days], 0.9) if method == MODEL else np.nan
            rows.append({
                "gauge_id": context.store.gauge_ids[gauge.catchment], "gap": length, "method": method,
                "days": int(days.sum()), "nse": float(1 - np.square(error).mean() / truth[days].var()),
                "median_absolute_error": float(np.median(np.abs(error))), "inside_90": inside,
            })  # fmt: skip
    return rows


def summary(scores: pd.DataFrame, units: str) -> pd.DataFrame:
    """Return one row for each length of gap and method: medians over gauges, and how often the head is better."""
    rows = []
    for (length, method), of_method in scores.groupby(["gap", "method"], sort=False):
        rows.append({
            "gap (days)": length, "method": method, "gauges": len(of_method),
            "median NSE": of_method["nse"].median(), "25th pct.": of_method["nse"].quantile(0.25),
            f"median absolute error ({units})": of_method["median_absolute_error"].median(),
            "inside 90 %": of_method["inside_90"].mean(), "head better at": _better(scores, length, method),
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values("gap (days)", kind="stable")


def _better(scores: pd.DataFrame, length: Any, method: Any) -> float:
    """Return the share of gauges at which the head has the higher efficiency; NaN for the head itself."""
    by_method = scores[scores["gap"] == length].pivot_table("nse", "gauge_id", "method")
    return float("nan") if method == MODEL else float((by_method[MODEL] > by_method[method]).mean())


def sentence(scores: pd.DataFrame) -> str:
    """Say whether the head fills gaps better than regression on donors does."""
    parts = [
        f"{_better(scores, length, REGRESSION):.0%} (gaps of {length} day{'s' * (length > 1)})"
        for length in sorted(scores["gap"].unique().tolist())
    ]
    return f"The evidence head fills gaps better than regression on donors at a share of gauges of {', '.join(parts)}"


def _lacks_evidence(case: Case) -> str | None:
    if not case.context.has_neighbours:
        return "fewer than two of its gauges gave flow to training"
    return lacks_head(case)


def _run(case: Case) -> Section | None:
    informed = case.context.informed
    assert informed is not None, "the protocol cannot serve a run without an evidence head"
    return judge_gaps(case.context, informed, case.notes)


GAPS = Protocol(name="gaps", run=_run, slow=True, cannot_serve=_lacks_evidence)
