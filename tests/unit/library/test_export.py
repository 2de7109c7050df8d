"""The scores on a model's card: of the run's evaluation, or of one that is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import watercli as wc
from watercli.errors import ConfigError
from watercli.library import folder
from watercli.store import Store

METHODS = ["simulation", "climatology"]


@pytest.fixture(scope="module")
def evaluation(shared_model: Path, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of the shared model; do not write to it."""
    out = tmp_path_factory.mktemp("scores") / "evaluation"
    wc.load_model(shared_model).evaluate(tiny_store, methods=METHODS, protocols=["ungauged"], out=out)
    return out


def test_a_model_gets_the_scores_of_an_evaluation_of_it(
    evaluation: Path, shared_model: Path, recurrent_run: Path, tiny_store: Store, tmp_path: Path
) -> None:
    assert folder.about(shared_model)["scores"]["evaluation"] is None
    scored = wc.load_model(shared_model).export(tmp_path / "scored", evaluation=evaluation, store=tiny_store)
    again = wc.open_run(recurrent_run).export(tmp_path / "again", evaluation=evaluation)

    before, after = folder.about(shared_model), folder.about(scored)
    skill = after["scores"].pop("evaluation")
    assert after["scores"].items() <= before["scores"].items()
    assert after["weights"] == before["weights"]
    assert list(skill["all"]["median_nse"]) == METHODS
    assert {row["what"] for row in skill["by"]} == {"area (km²)"}  # two gauges are no regions
    assert "Median NSE of riverflow" in (scored / folder.CARD).read_text(encoding="utf-8")
    assert folder.about(again)["scores"]["evaluation"]["all"] == skill["all"]


def test_an_evaluation_of_other_weights_or_another_store_is_refused(
    evaluation: Path, shared_model: Path, tiny_store: Store, tmp_path: Path
) -> None:
    model, other = wc.load_model(shared_model), Path(shutil.copytree(evaluation, tmp_path / "other"))
    results = json.loads((other / "results.json").read_text(encoding="utf-8"))
    results["run"]["weights_fingerprint"] = "0" * 64
    (other / "results.json").write_text(json.dumps(results), encoding="utf-8")
    for path in (other, tmp_path):
        with pytest.raises(ConfigError, match="holds no evaluation of river flow by these weights"):
            model.export(tmp_path / "out", evaluation=path)
    fewer = replace(tiny_store, dataset=tiny_store.dataset.isel(catchment=[0, 1, 2, 3]))  # without the second held out
    with pytest.raises(ConfigError, match="lacks 1 of the gauges in"):
        model.export(tmp_path / "out", evaluation=evaluation, store=fewer)
    with pytest.raises(ConfigError, match="--store is that of an evaluation"):
        model.export(tmp_path / "out", store=tiny_store)
    assert not (tmp_path / "out").exists()
