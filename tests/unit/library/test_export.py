"""The scores on a model's card: of the run's evaluation, or of one that is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import watercli as wc
from watercli.errors import ConfigError
from watercli.library import folder
from watercli.store import Store

METHODS = ["simulation", "climatology"]


def test_a_model_gets_the_scores_of_an_evaluation_of_it(
    shared_model: Path, recurrent_run: Path, tiny_store: Store, tmp_path: Path
) -> None:
    assert folder.about(shared_model)["scores"]["evaluation"] is None
    model = wc.load_model(shared_model)
    evaluation = tmp_path / "evaluation"
    model.evaluate(tiny_store, methods=METHODS, protocols=["ungauged"], out=evaluation)

    scored = model.export(tmp_path / "scored", evaluation=evaluation, store=tiny_store)
    again = wc.open_run(recurrent_run).export(tmp_path / "again", evaluation=evaluation)

    before, after = folder.about(shared_model), folder.about(scored)
    assert after["weights"] == before["weights"]
    skill = after["scores"]["evaluation"]
    assert list(skill["all"]["median_nse"]) == METHODS
    assert {row["what"] for row in skill["by"]} == {"area (km²)"}  # two gauges are no regions
    assert "Median NSE of riverflow" in (scored / folder.CARD).read_text(encoding="utf-8")
    assert folder.about(again)["scores"]["evaluation"]["all"] == skill["all"]


def test_an_evaluation_of_other_weights_is_refused(shared_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no evaluation of river flow by these weights"):
        wc.load_model(shared_model).export(tmp_path / "out", evaluation=tmp_path)
    assert not (tmp_path / "out").exists()
