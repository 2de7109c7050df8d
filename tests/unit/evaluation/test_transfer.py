"""A study of transfer: who is local and who is judged, the table, and going on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import watercli as wc
from watercli.cli.options import as_numbers
from watercli.errors import ConfigError
from watercli.evaluation.transfer.draw import candidates, draw, with_record
from watercli.evaluation.transfer.table import markdown, summary
from watercli.run.directory import open_run
from watercli.run.parent import parent_record
from watercli.store import Store

TINY = {"train.steps": 4, "train.validate_every": 2, "train.checkpoint_every": 2, "train.keep_checkpoints": 9}


def test_candidates_gave_no_flow_to_the_parent(informed_run: Path, other_store: Store) -> None:
    parent = open_run(informed_run)
    found = candidates(parent, other_store, "riverflow", "test")
    trained = set(parent.gauges) - set(parent.held_out_gauges)
    assert len(trained) == 4
    assert set(found) == set(other_store.gauge_ids) - trained


def test_smaller_sets_are_parts_of_larger_ones() -> None:
    gauges = [f"{number:03}" for number in range(40)]
    drawn, again, other = draw(gauges, 8, 0), draw(gauges, 8, 0), draw(gauges, 8, 1)
    assert drawn == again
    assert drawn.local != other.local
    assert len(drawn.local) == 8
    assert set(drawn.local) | set(drawn.judged) == set(gauges)
    assert not set(drawn.local) & set(drawn.judged)


def test_too_few_gauges_are_refused() -> None:
    with pytest.raises(ConfigError, match="10 gauges with flow that the model never saw, too few for 8 local ones"):
        draw([str(number) for number in range(10)], 8, 0)


def test_a_cells_store_has_local_and_judged_gauges_alone(other_store: Store) -> None:
    drawn = draw(other_store.gauge_ids, 4, 0)
    store = drawn.store_of(other_store, 2)
    assert set(store.gauge_ids) == {*drawn.local[:2], *drawn.judged}
    assert store.gauge_ids == [gauge for gauge in other_store.gauge_ids if gauge in store.gauge_ids]


def test_a_record_of_a_year_ends_with_the_training_period(other_store: Store) -> None:
    shortened, whole = with_record(other_store, 1).period("train"), other_store.period("train")
    assert shortened.stop == whole.stop
    assert shortened.stop - shortened.start == 365
    assert with_record(other_store, 99).period("train") == whole


def scores_of(method: str, gauges: int, seed: int, nse: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame({"gauge_id": list(nse), "nse": list(nse.values()), "kge": 0.0}).assign(
        method=method, gauges=gauges, years=0, seed=seed
    )


def test_the_table_pairs_gauges_over_seeds() -> None:
    scores = pd.concat([
        scores_of("as_is", 0, 0, {"a": 0.5, "b": 0.6, "c": 0.1}),
        scores_of("finetuned", 8, 0, {"a": 0.7, "b": 0.8, "c": 0.5}),
        scores_of("finetuned", 8, 1, {"b": 0.6, "c": 0.3, "d": 0.9}),
        scores_of("from_scratch", 8, 0, {"a": 0.4, "b": 0.6, "c": 0.5}),
    ])  # fmt: skip
    table = summary(scores).set_index("method")
    assert list(table.index) == ["as_is", "finetuned", "from_scratch"]
    tuned = table.loc["finetuned"]
    assert (tuned["seeds"], tuned["judged"]) == (2, 4)
    assert tuned["nse"] == pytest.approx(np.median([0.7, 0.7, 0.4, 0.9]))
    assert tuned["over_as_is"] == pytest.approx(np.median([0.2, 0.1, 0.3]))
    assert tuned["over_scratch"] == pytest.approx(np.median([0.3, 0.1, -0.1]))
    assert "| 8 | fine-tuned | 0.700 (" in markdown(summary(scores))


def test_numbers_of_an_option() -> None:
    assert as_numbers("0,4, 8", "--gauges") == [0, 4, 8]


@pytest.mark.parametrize("text", ["4;8", "-1", "", "1.5", "all"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--gauges .* no whole number"):
        as_numbers(text, "--gauges")


def test_an_unknown_method_is_named(informed_run: Path, other_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No method 'finetune' of transfer; did you mean 'finetuned'"):
        wc.transfer(wc.open_run(informed_run), other_store, tmp_path / "study", methods=["finetune"])
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped(informed_run: Path, other_store: Store, tmp_path: Path) -> None:
    out, model = tmp_path / "study", wc.open_run(informed_run)

    def study(**changes: object) -> wc.Transfer:
        options = {"gauges": (0, 2), "seeds": 1, "settings": TINY, "parent_store": other_store} | changes
        return wc.transfer(model, other_store, out, **options)  # type: ignore[arg-type]

    table = study().table.set_index("method")
    assert list(table.index)[:3] == ["as_is", "as_is_informed", "finetuned"]
    assert {"from_scratch", "lstm", "lstm_finetuned"} < set(table.index)
    assert "gr4j_donors" not in table.index, "a year and a half is too short to calibrate"
    assert dict(table["judged"]) == dict.fromkeys(table.index, 4)
    parents = [parent_record(out / "runs" / f"{name}-2gauges-seed0") for name in ("finetuned", "from_scratch")]
    assert [record and record["name"] for record in parents] == ["informed", "informed, untrained"]
    assert parents[0] is not None
    assert parents[1] is not None
    assert parents[0]["weights_fingerprint"] != parents[1]["weights_fingerprint"]
    cells = sorted((out / "cells").iterdir())
    lost = out / "cells" / "from_scratch-2gauges-seed0.json"
    before = json.loads(lost.read_text(encoding="utf-8"))
    lost.unlink()
    written = {file: file.stat().st_mtime_ns for file in cells if file != lost}
    assert study().table.set_index("method").equals(table)
    assert {file: file.stat().st_mtime_ns for file in cells if file != lost} == written
    assert json.loads(lost.read_text(encoding="utf-8")) == before
    with pytest.raises(ConfigError, match="holds a study of another most local gauges"):
        study(gauges=(0, 3))
