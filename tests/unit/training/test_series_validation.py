"""Validation by catchment: median efficiencies of whole simulated series, and the choice of the best checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.unit.training.conftest import longer
from watercli.cli.pretrain import why_best
from watercli.config import with_overrides
from watercli.data.reader import WindowReader
from watercli.data.scaling import Scaling
from watercli.data.structure import store_model_config
from watercli.hydrology.scores import catchment_scores
from watercli.run import directory
from watercli.run.simulator import simulate
from watercli.store import Store
from watercli.training.metrics_log import read_metrics
from watercli.training.pretrain import pretrain
from watercli.training.series_validation import SeriesValidation, chosen_by

SEEN = [0, 2, 3, 5]
"""Gauges of the fused run that are not held out."""


def validation_rows(run: Path) -> list[dict[str, float]]:
    return [row for row in read_metrics(run) if row["split"] == "validation"]


def test_medians_are_those_of_what_simulate_writes(fused_run: Path, tiny_store: Store) -> None:
    last, period = directory.all_checkpoints(fused_run)[-1], tiny_store.period("validation")
    simulated = simulate(last, tiny_store, "riverflow", period)[SEEN].astype(np.float64)
    observed = tiny_store.dataset["riverflow"].values[SEEN, period].astype(np.float64)
    scores = catchment_scores(
        xr.DataArray(simulated[None], dims=("method", "catchment", "time")),
        xr.DataArray(observed, dims=("catchment", "time")),
    )
    row = validation_rows(fused_run)[-1]
    for metric in ("nse", "kge"):
        median = float(scores.sel(metric=metric).median())
        assert row[f"{metric}/riverflow"] == pytest.approx(median, abs=1e-4)
    assert last.validation_nse == pytest.approx(row["nse/riverflow"])


def test_the_best_checkpoint_is_that_of_the_highest_nse(fused_run: Path) -> None:
    found = directory.all_checkpoints(fused_run)
    assert directory.open_run(fused_run).validation_nse == max(one.validation_nse or -np.inf for one in found)
    low = dataclasses.replace(found[0], validation_nse=0.2, validation_loss=0.1)
    high = dataclasses.replace(found[0], validation_nse=0.7, validation_loss=0.9)
    never = dataclasses.replace(found[0], validation_nse=None, validation_loss=0.0)
    assert directory.best_of([low, high, never]) is high
    assert directory.best_of([dataclasses.replace(low, validation_nse=None), never]) is never


def test_the_command_says_what_chose_the_best_checkpoint(fused_run: Path) -> None:
    checkpoint = dataclasses.replace(directory.open_run(fused_run), step=40, validation_nse=0.712, validation_loss=0.5)
    assert why_best(checkpoint) == "step 40 is best, by the median NSE of its simulated series, 0.712"
    by_loss = dataclasses.replace(checkpoint, validation_nse=None)
    assert why_best(by_loss) == "step 40 is best, by its validation loss of 0.5000"


def test_a_model_that_cannot_simulate_is_chosen_by_its_loss(tiny_run: Path) -> None:
    assert not any(name.startswith("nse/") for row in validation_rows(tiny_run) for name in row)
    assert {one.validation_nse for one in directory.all_checkpoints(tiny_run)} == {None}


@pytest.mark.parametrize(("number", "catchments"), [(64, SEEN), (3, [0, 3, 5]), (1, [0])])
def test_at_most_so_many_catchments_spread_over_those_trained_on(
    fused_run: Path, tiny_store: Store, number: int, catchments: list[int]
) -> None:
    config = with_overrides(directory.open_run(fused_run).config, [f"train.validation_catchments={number}"])
    reader = WindowReader(tiny_store, config, Scaling.of(tiny_store, config))
    (series,) = SeriesValidation.of_run(reader, config, store_model_config(config, tiny_store))
    assert series.catchments.tolist() == catchments


def test_it_leaves_the_training_as_it_is(fused_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    config = longer(directory.open_run(fused_run).config, "train.steps=6", "train.log_every=2")
    pretrain(with_overrides(config, ["train.validation_catchments=0"]), tiny_store, tmp_path / "run")
    with_it, without = (
        [row["loss"] for row in read_metrics(run) if row["split"] == "train"] for run in (fused_run, tmp_path / "run")
    )
    assert without == with_it
    assert not any("nse/riverflow" in row for row in read_metrics(tmp_path / "run"))


def test_what_has_no_score_decides_nothing() -> None:
    assert chosen_by({"loss": 1.0}) is None
    assert chosen_by({"loss": 1.0, "nse/riverflow": float("nan")}) is None
    assert chosen_by({"nse/riverflow": 0.5, "nse/upstream": 0.7, "kge/riverflow": 0.1}) == pytest.approx(0.6)
