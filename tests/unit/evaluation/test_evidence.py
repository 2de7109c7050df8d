"""What evidence adds: the head as it is used, with the same evidence for its rivals, and no flow that is not opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from watercli.baselines import ema_mlp
from watercli.baselines.cache import Cache
from watercli.baselines.context import Context
from watercli.baselines.evidence import with_quantiles
from watercli.baselines.informed import coverage, crps
from watercli.baselines.neighbours import correct_by_neighbours, distances
from watercli.baselines.registry import METHODS
from watercli.config import with_overrides
from watercli.evaluation.evaluate import evaluate
from watercli.evaluation.evidence import HEAD, Neighbourhood, Record, Trial, judge_evidence, level_and_slope, spread
from watercli.evaluation.gaps import INTERPOLATION, MODEL, REGRESSION, cut, judge_gaps, on_donors
from watercli.evaluation.protocol import make_context
from watercli.inference.evidence import InformedSimulator
from watercli.inference.known_flow import KnownFlow
from watercli.run.directory import open_run
from watercli.run.evidence import load_evidence
from watercli.run.simulator import Simulator
from watercli.store import Store

HELD_OUT = 1


def context_of(run: Path, store: Store, cache: Path) -> Context:
    checkpoint = open_run(run)
    config = with_overrides(checkpoint.config, ("evaluate.probe_stride=8", "evaluate.slow_rival_gauges=1"))
    return make_context(checkpoint, store, config, Cache(cache))


def flow_by(context: Context, method: str) -> np.ndarray:
    """Return the flow of the test days by a method that has an answer."""
    simulate = METHODS[method].simulate
    assert simulate is not None
    flow = simulate(context)
    assert flow is not None
    return np.asarray(flow)


@pytest.fixture(scope="module")
def context(informed_run: Path, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Context:
    return context_of(informed_run, tiny_store, tmp_path_factory.mktemp("cache"))


def with_flow(context: Context, flow: np.ndarray, cache: Path) -> Context:
    """Return the same run on the same store with other flow."""
    data = context.store.dataset["riverflow"]
    store = replace(context.store, dataset=context.store.dataset.assign(riverflow=data.copy(data=flow)))
    return make_context(context.checkpoint, store, context.config, Cache(cache))


def test_the_method_is_what_simulate_writes_without_flow_of_held_out_gauges(context: Context) -> None:
    fitted = load_evidence(context.checkpoint, "riverflow")
    assert fitted is not None
    seen = context.seen_flow.astype(np.float32)
    known = KnownFlow(observed=seen, own=np.zeros(seen.shape, bool), own_later=True, neighbours="day")
    simulator = Simulator(context.checkpoint, context.store, "riverflow")
    written = InformedSimulator.of(simulator, fitted, known)(np.arange(context.test.start, context.test.stop))
    scored = with_quantiles(context, neighbours=True)
    np.testing.assert_allclose(scored[HELD_OUT, :, 0], written.flow[HELD_OUT], rtol=1e-4)
    np.testing.assert_allclose(scored[HELD_OUT, :, 1:], written.quantiles[HELD_OUT], rtol=1e-4, atol=1e-6)
    assert np.isnan(scored[~context.unseen]).all()


def test_without_evidence_the_head_leaves_the_simulation_as_it_is(context: Context) -> None:
    flow = with_quantiles(context, neighbours=False)[HELD_OUT, :, 0]
    np.testing.assert_allclose(flow, context.simulated_throughout[HELD_OUT, context.test], rtol=1e-4, atol=1e-6)


def test_only_gauges_of_the_training_are_neighbours(context: Context, tmp_path: Path) -> None:
    before = with_quantiles(context, neighbours=True)
    flow = context.store.dataset["riverflow"].values.copy()
    flow[context.unseen] *= 3
    held_out = with_quantiles(with_flow(context, flow, tmp_path / "held-out"), neighbours=True)
    np.testing.assert_array_equal(held_out, before)
    flow = context.store.dataset["riverflow"].values.copy()
    flow[~context.unseen, context.test] *= 3
    seen = with_quantiles(with_flow(context, flow, tmp_path / "seen"), neighbours=True)
    assert np.abs(seen - before)[HELD_OUT].max() > 0.01


def test_short_records_of_own_flow(context: Context) -> None:
    assert context.informed is not None
    notes: list[str] = []
    section = judge_evidence(context, context.informed, notes)
    assert section is not None
    assert section.by_catchment is not None
    assert not notes
    # Of a year and a half of training, at most half is given away.
    assert set(section.table["own flow known"]) == {"none", "12 single days", "52 single days"}
    assert set(section.table["method"]) > {HEAD, "level and slope of the simulation", "GR4J, calibrated"}
    head = section.table[section.table["method"] == HEAD]
    assert head["neighbours"].tolist() == ["no", "yes"] * 3
    assert np.isfinite(head[["median NSE", "inside 50 %", "inside 90 %", "CRPS (mm/day)"]].to_numpy()).all()
    alone = section.by_catchment.query("own_flow == 'none' and not neighbours").set_index("gauge_id")["nse"]
    observed = context.flow[HELD_OUT, context.test]
    error = np.square(context.simulated_throughout[HELD_OUT, context.test] - observed).mean() / observed.var()
    assert alone[context.store.gauge_ids[HELD_OUT]] == pytest.approx(1 - error, abs=1e-3)


def test_a_year_of_own_flow_is_read_as_simulate_reads_it(context: Context) -> None:
    assert context.informed is not None
    trial = Trial.of(context, context.informed)
    own = trial.own(Record(365), HELD_OUT)
    observed = context.seen_flow.astype(np.float32)
    observed[HELD_OUT, own] = context.flow[HELD_OUT, own]
    opened = np.zeros(observed.shape, bool)
    opened[HELD_OUT, own] = True
    known = KnownFlow(observed=observed, own=opened, own_later=True, neighbours="day")
    simulator = Simulator(context.checkpoint, context.store, "riverflow")
    written = InformedSimulator.of(simulator, context.informed.fitted, known)(trial.test)
    scored = context.informed.estimate(HELD_OUT, trial.test, neighbours=True, own=own)
    np.testing.assert_allclose(scored.quantiles, written.quantiles[HELD_OUT], rtol=1e-3, atol=1e-5)


def test_no_rival_sees_flow_of_the_test_period_at_the_gauge(context: Context, tmp_path: Path) -> None:
    flow = context.store.dataset["riverflow"].values.copy()
    flow[HELD_OUT, context.test] = flow[HELD_OUT, context.test][::-1] * 2
    changed = with_flow(context, flow, tmp_path)
    record = Record(12, single=True)
    for one, two in zip(*(_estimates(of, record) for of in (context, changed)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)


def _estimates(context: Context, record: Record) -> list[np.ndarray]:
    assert context.informed is not None
    trial = Trial.of(context, context.informed)
    own = trial.own(record, HELD_OUT)
    head = context.informed.estimate(HELD_OUT, trial.test, neighbours=True, own=own).flow
    return [head, *(rival(HELD_OUT, own) for _, _, rival in trial.rivals().values())]


def test_days_of_a_record() -> None:
    known = np.arange(100, 900, 2)
    single = Record(12, single=True).days(known, 0, 5)
    assert len(single) == len(np.unique(single)) == 12
    assert np.isin(single, known).all()
    assert np.array_equal(single, Record(12, single=True).days(known, 0, 5))
    assert not np.array_equal(single, Record(12, single=True).days(known, 0, 6))
    assert Record(365).days(known, 0, 5).tolist() == known[-365:].tolist()
    assert not len(Record(0).days(known, 0, 5))


def test_gauges_are_spread_over_all() -> None:
    assert spread(np.arange(9), 3).tolist() == [0, 4, 8]
    assert spread(np.arange(2), 5).tolist() == [0, 1]
    assert not len(spread(np.arange(0), 5))


def test_level_and_slope() -> None:
    simulated = np.array([0.0, 1.0, 3.0])
    assert level_and_slope(simulated, 2 * simulated + 1) == pytest.approx((1, 2))
    assert level_and_slope(np.zeros(0), np.zeros(0)) == (0, 1)
    assert level_and_slope(np.array([1.0]), np.array([3.0])) == (2, 1)


def test_neighbour_correction_of_single_gauges_is_that_of_the_method(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert context.informed is not None
    near = Neighbourhood(context.informed, distances(context.store), context.store.period("validation"))
    days = np.arange(context.test.start, context.test.stop)
    flow = np.exp(near.logarithm(HELD_OUT, days)) - context.informed.errors.offset
    # As evidence has it: 0.02 of the mean flow is added before logarithms are taken, not 0.01.
    monkeypatch.setattr("watercli.baselines.correction.OFFSET_SHARE", 0.02)
    expected = flow_by(context, "neighbour_correction")
    np.testing.assert_allclose(flow, expected[HELD_OUT], rtol=0.01, atol=0.01)


def test_gaps_are_apart_and_observed() -> None:
    observed = np.ones(200, dtype=bool)
    observed[50:100] = False
    days = cut(np.random.default_rng(0), observed, 7, 5)
    assert len(days) == 35
    starts = days[np.flatnonzero(np.diff(days, prepend=-9) > 1)]
    assert len(starts) == 5  # none touches another
    assert all(2 * observed[start : start + 7].sum() >= 7 for start in starts)
    assert days.min() > 0
    assert days.max() < 199
    assert not len(cut(np.random.default_rng(0), observed, 365, 1))


def test_regression_on_donors_sees_other_days_alone() -> None:
    rng = np.random.default_rng(1)
    donors = rng.gamma(1.0, 2.0, (7, 600)) + 0.1
    own = 0.7 * donors[2] + 0.2 * donors[5] + 0.4
    hidden = np.arange(500, 530)
    cut_out = own.copy()
    cut_out[hidden] = np.nan
    np.testing.assert_allclose(on_donors(cut_out, donors, hidden), own[hidden], rtol=1e-6)
    donors[2, 505:530] = np.nan  # a donor that the gap lacks as well is none
    assert np.abs(on_donors(cut_out, donors, hidden) - own[hidden]).max() > 0.1
    assert np.isnan(on_donors(cut_out, np.full_like(donors, np.nan), hidden)).all()


def test_filled_gaps(context: Context) -> None:
    assert context.informed is not None
    notes: list[str] = []
    section = judge_gaps(context, context.informed, notes)
    assert section is not None
    assert section.by_catchment is not None
    assert notes == ["Protocol 'gaps': no gap of 365 days fits into the test period"]
    assert section.table["gap (days)"].unique().tolist() == [1, 7, 30]
    assert {MODEL, INTERPOLATION, REGRESSION} < set(section.table["method"])
    assert set(section.by_catchment["gauge_id"]) == set(np.array(context.store.gauge_ids)[context.unseen])
    # Days next to the one that is cut out say nearly all of it.
    single = section.table.query("`gap (days)` == 1").set_index("method")["median NSE"]
    assert single[INTERPOLATION] > 0.5


def test_coverage_and_score_of_quantiles() -> None:
    observed = np.array([1.0, 2.0, np.nan, 4.0])
    quantiles = np.tile([0.0, 0.5, 0.9, 1.5, 2.5, 3.0, 3.5], (4, 1))
    assert coverage(quantiles, observed, 0.5) == pytest.approx(2 / 3)
    assert coverage(quantiles, observed, 0.9) == pytest.approx(2 / 3)
    exact = np.repeat(observed[:, None], 7, axis=1)
    assert crps(exact, observed) == 0
    assert crps(exact + 1, observed) == pytest.approx(1)


def test_rivals_get_the_same_evidence(context: Context) -> None:
    simulated = ema_mlp.simulate(context)
    assert simulated is not None
    expected = correct_by_neighbours(
        distances(context.store), simulated, context.flow[:, context.simulated_days], ~context.unseen,
        context.of_simulated(context.store.period("validation")),
    )  # fmt: skip
    corrected = flow_by(context, "ema_mlp_neighbour_correction")
    np.testing.assert_array_equal(corrected, expected[:, context.of_simulated(context.test)])
    mean, lstm, mlp = (flow_by(context, name) for name in ("mean_of_models", "lstm", "ema_mlp"))
    np.testing.assert_allclose(mean, (lstm + mlp) / 2, rtol=1e-6)


@pytest.mark.slow
def test_the_evaluation_shows_the_head(informed_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    checkpoint = open_run(informed_run)
    methods = "evaluate.methods=[simulation, evidence, neighbour_correction, gr4j_donors]"
    changes = (methods, "evaluate.protocols=[ungauged, evidence, gaps]", "evaluate.cache=false",
               "evaluate.record_rivals=[level_and_slope, lstm]",
               "evaluate.slow_rival_gauges=1")  # fmt: skip
    out = evaluate(
        checkpoint, tiny_store, tmp_path / "out", with_overrides(checkpoint.config, changes), run=informed_run
    )
    scores = pd.read_csv(out / "riverflow.csv")
    assert set(scores["method"]) == {"simulation", "evidence", "neighbour_correction", "gr4j_donors"}
    assert "LSTM, fine-tuned" in set(pd.read_csv(out / "evidence.csv")["method"])
    assert {"evidence_catchments.csv", "gaps.csv", "gaps_catchments.csv"} <= {path.name for path in out.iterdir()}
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("What own flow and neighbours add", "Gaps in a record", "evidence head, neighbours known"):
        assert words in page
