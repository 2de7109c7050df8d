"""Downstream uses: what is predicted, from what, and that no flow of a scored gauge goes in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from watercli.baselines.cache import Cache
from watercli.baselines.context import Context
from watercli.config import Config, Evaluate
from watercli.evaluation.downstream.donors import PLACE, judge_donors, nearest
from watercli.evaluation.downstream.inputs import ATTRIBUTES, EMBEDDING, UNTRAINED, WEATHER, Inputs
from watercli.evaluation.downstream.judging import pairs
from watercli.evaluation.downstream.regionalisation import judge_regionalisation, regionalise
from watercli.evaluation.downstream.seasons import Classifier, flood_months, judge_seasons, low_flow_months, precision
from watercli.evaluation.protocol import make_context
from watercli.plugins import DOWNSTREAM
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

NAMES = [ATTRIBUTES, WEATHER, UNTRAINED, EMBEDDING]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def context(checkpoint: Checkpoint, tiny_store: Store, config: Config, cache: Cache) -> Context:
    return make_context(checkpoint, tiny_store, config, cache)


@pytest.fixture(scope="module")
def inputs(context: Context) -> Inputs:
    return Inputs(context)


def test_downstream_uses_are_left_out_unless_named() -> None:
    assert not set(DOWNSTREAM) & set(Evaluate().protocols)
    assert Evaluate(protocols=DOWNSTREAM).protocols == DOWNSTREAM


def test_heads_learn_from_gauges_of_the_training(context: Context) -> None:
    folds = pairs(context)  # the run saw all gauges
    assert np.sum([scored for _, scored in folds], axis=0).tolist() == [1] * 6
    assert not any((learns & scored).any() for learns, scored in folds)
    held_out = np.array([False, True, False, False, True, False])
    some = replace(context)
    some.__dict__["unseen"] = held_out
    ((learns, scored),) = pairs(some)
    assert learns.tolist() == (~held_out).tolist()
    assert scored.tolist() == held_out.tolist()


def test_a_signature_is_regionalised_without_that_of_scored_gauges() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 3))
    signature = np.square(features @ [0.3, -0.2, 0.1] + 3)
    scored = np.arange(60) % 3 == 0
    predicted = regionalise(features, signature, [(~scored, scored)], (0.01, 1.0))
    np.testing.assert_allclose(predicted[scored], signature[scored], rtol=0.01)
    assert np.isnan(predicted[~scored]).all()
    other = np.where(scored, 0, signature)
    np.testing.assert_array_equal(regionalise(features, other, [(~scored, scored)], (0.01, 1.0)), predicted)


def test_months_of_low_flow() -> None:
    times = pd.date_range("2001-01-01", "2002-12-31")
    ends = np.flatnonzero(times.is_month_end)
    # August has less than a tenth of the days: the threshold lies among the lowest flows of the others.
    flow = np.where(times.month == 8, 0.1, 1 + np.random.default_rng(0).random(len(times)))[None]
    labels = low_flow_months(flow, times, ends, slice(0, 365))
    assert (times[ends[labels[0] == 1]].month == 8).all()
    assert labels.sum() == 2
    flow[0, 365 + 212 : 365 + 230] = np.nan  # half of August 2002
    assert np.isnan(low_flow_months(flow, times, ends, slice(0, 365))[0, 12 + 7])


def test_month_of_the_flood() -> None:
    times = pd.date_range("2000-10-01", "2002-12-31")
    ends = np.flatnonzero(times.is_month_end)
    flow = np.ones((2, len(times)))
    flow[0, times == "2001-02-14"] = flow[0, times == "2001-12-24"] = 5
    flow[1, :200] = np.nan
    labels = flood_months(flow, times, ends, slice(0, len(times)))
    assert times[ends[labels[0] == 1]].strftime("%Y-%m").tolist() == ["2001-02", "2001-12"]
    assert np.isnan(labels[0, 24:]).all()  # the water year 2003 is cut off
    assert np.isnan(labels[1, :12]).all()


def test_precision_needs_both_kinds_of_months() -> None:
    labels = np.array([[0.0, 1, 0, np.nan], [0, 0, 0, 0]])
    scores = precision(labels, np.array([[0.1, 0.9, 0.2, 1.0]] * 2))
    assert scores[0] == 1
    assert np.isnan(scores[1])


def test_the_nearest_donor_is_usable_and_another_gauge() -> None:
    distances = np.array([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
    assert nearest(distances, np.array([True, True, True])).tolist() == [1, 0, 0]
    assert nearest(distances, np.array([False, False, True])).tolist() == [2, 2, -1]


def test_sections_show_every_input(inputs: Inputs) -> None:
    notes: list[str] = []
    regionalised, donors = (judge(inputs, notes) for judge in (judge_regionalisation, judge_donors))
    assert regionalised is not None
    assert donors is not None
    assert not notes
    assert regionalised.table.columns.tolist() == ["signature", "gauges", *NAMES]
    assert regionalised.table["signature"][0] == "median of all"
    assert "by heads of the other gauges, in 5 folds" in regionalised.sentence
    assert donors.table["input"].tolist() == [PLACE, *NAMES]
    assert donors.table["gauges"].tolist() == [6] * 5


def test_months_are_classified_at_gauges_of_other_folds(inputs: Inputs) -> None:
    daily = dict(inputs.daily())
    recent = daily[WEATHER][..., 0]
    labels = (recent > np.median(recent, axis=1, keepdims=True)).astype(float)
    test = inputs.months.parts[2]
    classifier = Classifier(inputs, labels, inputs.complete)
    chances = classifier.classify(daily[WEATHER])
    assert np.isfinite(chances).all()
    assert chances[labels[:, test] == 1].mean() > chances[labels[:, test] == 0].mean() + 0.05
    # The label of a gauge and of the test months goes into no head that scores it.
    changed = labels.copy()
    changed[:, test] = 1 - changed[:, test]
    np.testing.assert_array_equal(replace(classifier, labels=changed).classify(daily[WEATHER]), chances)
    assert np.abs(classifier.classify(daily[ATTRIBUTES]) - chances).max() > 0.1


def test_seasons_need_months_of_either_kind(context: Context) -> None:
    notes: list[str] = []
    dry = replace(context.store, dataset=context.store.dataset.assign(riverflow=context.store.dataset["riverflow"] * 0))
    dried = make_context(context.checkpoint, dry, context.config, context.cache)
    assert judge_seasons(Inputs(dried), notes) is None
    assert notes == ["Protocol 'seasons' is left out: too few gauges have months of low flow or floods to be scored"]


def test_no_input_sees_flow(context: Context, inputs: Inputs, tmp_path: Path) -> None:
    flow = context.store.dataset["riverflow"]
    store = replace(context.store, dataset=context.store.dataset.assign(riverflow=flow.copy(data=3 * flow[:, ::-1])))
    reversed_flow = make_context(context.checkpoint, store, context.config, Cache(tmp_path))
    for (name, before), (_, after) in zip(inputs.means(), Inputs(reversed_flow).means(), strict=True):
        np.testing.assert_array_equal(before, after, err_msg=name)
