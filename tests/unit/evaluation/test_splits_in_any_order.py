"""A test period that comes first, as in CAMELS-US: nothing assumes that tests come last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pydantic import ValidationError

from tests.conftest import EVIDENCE, FUSED, TINY
from tests.unit.evaluation.test_simulation import altered
from watercli.baselines.cache import Cache
from watercli.baselines.features import Features
from watercli.baselines.registry import METHODS
from watercli.config import Splits, load, with_overrides
from watercli.data.reader import WindowReader
from watercli.data.scaling import Scaling
from watercli.errors import RunError
from watercli.evaluation.evaluate import evaluate
from watercli.evaluation.protocol import make_context
from watercli.preparation.prepare import prepare
from watercli.run.directory import open_run
from watercli.store import Store
from watercli.training.pretrain import pretrain

TEST_FIRST = (
    "recipe.splits.test={start: 2000-01-11, end: 2000-04-30}",
    "recipe.splits.train={start: 2000-05-01, end: 2001-09-30}",
    "recipe.splits.validation={start: 2001-10-01, end: 2002-03-31}",
)


@pytest.fixture(scope="module")
def test_first(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiny store with its test period before the others."""
    config = with_overrides(load("demo"), [*TINY, *FUSED, "train.held_out_gauges=null", EVIDENCE, *TEST_FIRST])
    return prepare(config, tmp_path_factory.mktemp("test-first") / "store.zarr", data=None)


def period(start: str, end: str) -> dict[str, str]:
    return {"start": start, "end": end}


def test_periods_come_in_any_order() -> None:
    test, train = period("1989-10-01", "1999-09-30"), period("1999-10-01", "2008-09-30")
    validation = period("1980-10-01", "1989-09-30")
    splits = Splits.model_validate({"train": train, "validation": validation, "test": test})
    assert splits.span == splits.span.model_validate(period("1980-10-01", "2008-09-30"))


def test_periods_that_share_a_day_are_refused() -> None:
    parts = {"train": period("1999-09-30", "2008-09-30"), "validation": period("1980-10-01", "1989-09-30")}
    with pytest.raises(ValidationError, match="test and train overlap"):
        Splits.model_validate(parts | {"test": period("1989-10-01", "1999-09-30")})


@pytest.fixture(scope="module")
def run(test_first: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on it, with an evidence head: every method can serve."""
    run = tmp_path_factory.mktemp("test-first-run") / "run"
    pretrain(test_first.config, test_first, run)
    return run


@pytest.mark.slow
def test_every_method_is_scored_on_a_test_period_that_comes_first(run: Path, test_first: Store, tmp_path: Path) -> None:
    settings = [
        f"evaluate.methods={list(METHODS)}",
        "evaluate.protocols=[simulation, forecast, short_records, reconstruction]",
        "evaluate.fine_tune_steps=2",
        "evaluate.boosted_trees=5",
        "evaluate.record_years=[1]",
        "evaluate.max_lead_time=2",
    ]
    checkpoint = open_run(run)
    out = evaluate(checkpoint, test_first, tmp_path / "out", with_overrides(checkpoint.config, settings), run=run)
    data = xr.open_zarr(out / "results.zarr")
    assert list(data["method"].values) == list(METHODS)
    assert data["time"].values[[0, -1]].astype("datetime64[D]").tolist() == [
        pd.Timestamp("2000-01-11").date(),
        pd.Timestamp("2000-04-30").date(),
    ]
    scored = data["scored"].values
    assert scored.any(1).all()
    assert np.isfinite(data["simulated"].values[:, scored]).all()
    assert json.loads((out / "results.json").read_text())["splits"]["test"]["start"] == "2000-01-11"


def test_an_embedding_stands_at_its_own_date(run: Path, test_first: Store, tmp_path: Path) -> None:
    checkpoint = open_run(run)
    context = make_context(checkpoint, test_first, checkpoint.config, Cache(tmp_path))
    features = Features(context)
    dates = context.dates.all
    assert dates[-1] < dates[0]
    for position in (0, len(dates) - 1):
        ((_, arrays),) = context.embedder.encode(dates[position : position + 1], 1)
        alone = arrays["embedding"][0].reshape(len(test_first.gauge_ids), -1)
        complete = np.isfinite(alone)
        np.testing.assert_allclose(
            np.asarray(features.embedding)[:, position][complete], alone[complete], rtol=1e-3, atol=1e-3
        )


def test_training_sees_no_flow_of_a_test_period_before_it(test_first: Store) -> None:
    """The days before the first training windows are those of the test: their weather is seen, their flow is not."""
    scaling, test = Scaling.of(test_first, test_first.config), test_first.period("test")
    reader = WindowReader(test_first, test_first.config, scaling, unseen=test)
    first, every = np.array([test_first.period("train").start]), np.arange(6)[None]
    wild = altered(test_first, "riverflow", test, 9.0)
    again = WindowReader(wild, test_first.config, scaling, unseen=test)
    past, past_again = (one.read(first, every).past for one in (reader, again))
    assert past["riverflow"].isfinite().all()
    np.testing.assert_array_equal(past_again["riverflow"], past["riverflow"])
    seen = WindowReader(test_first, test_first.config, scaling).read(first, every).past
    assert (seen["riverflow"] != past["riverflow"]).any()
    np.testing.assert_array_equal(seen["evap"], past["evap"])


def without_test_flow(store: Store) -> Store:
    return altered(store, "riverflow", store.period("test"), float("nan"))


def test_a_test_period_without_flow_is_said(run: Path, test_first: Store, tmp_path: Path) -> None:
    """Weather is scored, river flow is not; where nothing is, one sentence says so."""
    checkpoint, store = open_run(run), without_test_flow(test_first)
    out = evaluate(checkpoint, store, tmp_path / "out", checkpoint.config, run=run)
    found = json.loads((out / "results.json").read_text())
    assert found["notes"] == [
        "River flow is left out: store.zarr has no 'riverflow' in the test period (2000-01-11 to 2000-04-30); "
        "use --set evaluate.split=validation to score the validation period"
    ]
    assert found["riverflow"] is None
    assert {row["modality"] for row in found["reconstruction"]["scores"]} == {*checkpoint.config.modalities} - {
        "riverflow"
    }
    config = with_overrides(checkpoint.config, ["evaluate.protocols=[simulation]"])
    with pytest.raises(RunError, match=r"Nothing could be judged.*store\.zarr has no 'riverflow' in the test period"):
        evaluate(checkpoint, store, tmp_path / "nothing", config, run=run)
    assert not (tmp_path / "nothing").exists()


def quickly(store: Store, run: Path, out: Path, *settings: str) -> dict[str, Any]:
    """Return the results of an evaluation of all methods and protocols, with ``evaluate.quick``."""
    checkpoint = open_run(run)
    config = with_overrides(checkpoint.config, ["evaluate.quick=true", f"evaluate.methods={list(METHODS)}", *settings])
    evaluate(checkpoint, store, out, config, run=run)
    return dict(json.loads((out / "results.json").read_text()))


def test_the_validation_period_is_scored_where_the_test_has_no_flow(
    run: Path, test_first: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = ("evaluate.methods=[simulation, weather_ridge, climatology]", "evaluate.protocols=[simulation]")
    results = quickly(without_test_flow(test_first), run, out, "evaluate.split=validation", *settings)
    data, days = xr.open_zarr(out / "results.zarr"), test_first.period("validation")
    np.testing.assert_array_equal(data["time"].values, test_first.times[days])
    np.testing.assert_array_equal(data["observed"].values, test_first.dataset["riverflow"].values[:, days])
    assert data.attrs["title"] == "Observed and simulated riverflow of the validation period"
    assert "coverage" not in data  # intervals would be calibrated by the days that are scored
    assert (results["scored_split"], results["splits"]["test"]["start"]) == ("validation", "2000-01-11")
    assert any("on which the checkpoint, ridge penalties and shares of corrections were chosen" in note
               for note in results["notes"])  # fmt: skip
    assert "Scored on the validation period" in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_quick_evaluation_says_what_it_leaves_out(run: Path, test_first: Store, tmp_path: Path) -> None:
    results = quickly(test_first, run, tmp_path / "out")
    quick = [name for name, method in METHODS.items() if method.is_quick]
    assert list(results["riverflow"]["methods"]) == quick
    assert {"simulation", "gr4j", "inverse_distance", "climatology"} <= set(quick)
    (note,) = results["notes"]
    methods, protocols = note.removeprefix("Left out for speed: the methods ").split(", and the protocols ")
    assert methods.split(", ") == [name for name in METHODS if name not in quick]
    assert protocols == "forecast, short_records, evidence, gaps; evaluate without --quick to score them"
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {
        "riverflow.csv", "comparisons.csv", "catchments.csv", "signatures.csv", "reconstruction.csv",
    }  # fmt: skip
