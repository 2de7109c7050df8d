"""A model in a folder: what it holds, that it is the run's own, that no change of it goes unseen."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from multimodal_mae.evidence import EvidenceHead
from safetensors.torch import load_file

import watercli as wc
from watercli.errors import ConfigError, RunError
from watercli.library import export, folder
from watercli.preparation.build import fingerprint
from watercli.run import directory
from watercli.run.evidence import FittedEvidence, load_evidence, save_evidence
from watercli.store import Store


@pytest.fixture
def copied(shared_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_model, tmp_path / "creek"))


def test_the_folder_says_what_the_model_is(shared_model: Path, recurrent_run: Path, tiny_store: Store) -> None:
    content = folder.about(shared_model)
    assert sorted(path.name for path in shared_model.iterdir()) == ["card.md", "model.json", "weights.safetensors"]
    assert content["checkpoint"]["gauges"] == tiny_store.gauge_ids
    assert content["checkpoint"]["held_out_gauges"] == [tiny_store.gauge_ids[1], tiny_store.gauge_ids[4]]
    assert content["data"]["fingerprint"] == tiny_store.fingerprint
    area = content["inputs"]["attributes"]["area"]
    values = tiny_store.dataset["static"].sel(attribute="area").values
    assert (area["units"], area["transform"]) == ("km2", "log")
    assert (area["least"], area["most"]) == pytest.approx((values.min(), values.max()))
    assert content["training"]["seconds"] > 0
    assert content["training"]["hardware"]["cores"] >= 1
    assert content["scores"]["validation_nse"] == directory.open_run(recurrent_run).validation_nse


def test_others_may_read_a_run_and_a_model_as_any_other_file(
    shared_model: Path, recurrent_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "any").touch()
    usual = (tmp_path / "any").stat().st_mode
    written = [path for place in (shared_model, recurrent_run) for path in place.rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in written)
    assert [path for path in written if path.stat().st_mode != usual] == []


def test_a_model_simulates_as_its_run_does(shared_model: Path, recurrent_run: Path, tiny_store: Store) -> None:
    options: dict[str, Any] = {"since": "2002-02-01", "until": "2002-02-20"}
    by_run = wc.open_run(recurrent_run).simulate(tiny_store, **options)
    by_model = wc.load_model(shared_model).simulate(tiny_store, **options)
    assert by_model.equals(by_run)
    assert by_model.attrs["run_fingerprint"] == by_run.attrs["run_fingerprint"]


def test_half_the_bits(shared_model: Path, recurrent_run: Path, tmp_path: Path) -> None:
    half = wc.open_run(recurrent_run).export(tmp_path / "half", half=True)
    sizes = [(path / folder.WEIGHTS).stat().st_size for path in (half, shared_model)]
    assert sizes[0] < 0.7 * sizes[1]
    weights = wc.load_model(half).model.state_dict()
    for name, tensor in load_file(shared_model / folder.WEIGHTS).items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-6)
        assert weights[name].dtype == torch.float32


def test_further_weights_go_with_the_model(recurrent_run: Path, tmp_path: Path) -> None:
    run = wc.open_run(shutil.copytree(recurrent_run, tmp_path / "run"))
    own = FittedEvidence(EvidenceHead(), "riverflow", 0.25)
    save_evidence(run.checkpoint, own)
    for half in (False, True):
        model = run.export(tmp_path / f"half-{half}", half=half)
        carried = load_evidence(wc.load_model(model).checkpoint, "riverflow")
        assert carried is not None
        assert carried.offset == 0.25
        for name, tensor in own.head.state_dict().items():
            torch.testing.assert_close(carried.head.state_dict()[name], tensor, rtol=0, atol=0)
        assert folder.about(model)["weights"]["evidence"]["file"] == "evidence.safetensors"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("weights.safetensors", "creek/weights.safetensors was altered after it was written: its SHA-256 differs"),
        ("model.json", "creek/model.json was altered after it was written: its digest differs"),
    ],
)
def test_what_was_altered_is_refused(copied: Path, name: str, sentence: str) -> None:
    content = bytearray((copied / name).read_bytes())
    at = content.index(b"gauges") if name == "model.json" else len(content) - 1
    content[at] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(RunError, match=sentence):
        wc.load_model(copied)


def test_what_is_torn_or_lost_is_refused(copied: Path) -> None:
    weights = copied / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(RunError, match=r"weights.safetensors has \d+ bytes, not \d+; get the model anew"):
        wc.load_model(copied)
    weights.unlink()
    with pytest.raises(RunError, match=r"weights.safetensors is missing; get the model anew"):
        wc.load_model(copied)


def test_no_file_outside_the_folder_is_read(copied: Path) -> None:
    content = folder.about(copied)
    content["weights"]["model"]["file"] = "../weights.safetensors"
    folder.write(copied, content)
    with pytest.raises(RunError, match=r"names the file '../weights.safetensors', which is not in the model's folder"):
        wc.load_model(copied)


def test_another_schema_is_refused(copied: Path) -> None:
    content = json.loads((copied / "model.json").read_text()) | {folder.SCHEMA: 99}
    (copied / "model.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="has schema version 99, this watercli reads 1"):
        wc.load_model(copied)


def test_export_replaces_models_alone(shared_model: Path, recurrent_run: Path, tmp_path: Path) -> None:
    run = wc.open_run(recurrent_run)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="holds no model of watercli"):
        run.export(tmp_path / "mine", overwrite=True)
    with pytest.raises(ConfigError, match="exists; give another --out, or --overwrite"):
        run.export(shared_model)


def test_a_model_is_exported_again(shared_model: Path, tmp_path: Path) -> None:
    again = wc.load_model(shared_model).export(tmp_path / "brook")
    old, new = folder.about(shared_model), folder.about(again)
    assert new["name"] == "brook"
    assert {key: new[key] for key in old if key != "name"} == {key: old[key] for key in old if key != "name"}


def test_the_card_says_what_was_seen_and_what_not(shared_model: Path, tiny_store: Store) -> None:
    card = (shared_model / "card.md").read_text()
    seen, unseen = card.split("## What it never saw")
    assert "| riverflow | series | mm/day | predicted |" in seen
    assert "- Training: 2000-01-01 to 2001-06-30" in seen
    assert tiny_store.gauge_ids[0] in seen
    assert tiny_store.gauge_ids[1] not in seen
    assert f"2 held-out gauges: {tiny_store.gauge_ids[1]}, {tiny_store.gauge_ids[4]}" in unseen
    assert "The run had no evaluation" in unseen


@pytest.mark.slow
def test_the_card_has_the_skill_of_the_evaluation(recurrent_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    run = wc.open_run(shutil.copytree(recurrent_run, tmp_path / "run"))
    evaluation = run.evaluate(tiny_store, methods=["climatology"], protocols="ungauged", out=run.path / "evaluation")
    model = run.export(tmp_path / "judged")
    skill = folder.about(model)["scores"]["evaluation"]
    nse = evaluation.scores["score"].sel({"metric": "nse", "method": "simulation"})
    assert skill["all"]["median_nse"]["simulation"] == pytest.approx(float(np.nanmedian(nse)), abs=1e-3)
    by_area = [row for row in skill["by"] if row["what"].startswith("area")]
    assert sum(row["catchments"] for row in by_area) == skill["all"]["catchments"] == 2
    assert "| all |  | 2 |" in (model / "card.md").read_text()


def test_licences_go_with_the_model_and_leave_the_data_as_they_are(
    tiny_store: Store, recurrent_run: Path, tmp_path: Path
) -> None:
    licence = {"licence": "CC-BY-4.0", "citation": "Somebody 2026"}
    changes = {"recipe.datasets": {"Island": licence}}
    config = wc.load_config(_file(tiny_store, tmp_path), changes)
    assert fingerprint(config, []) == fingerprint(tiny_store.config, [])
    checkpoint = replace(directory.open_run(recurrent_run), config=config)
    model = export.export(checkpoint, tmp_path / "licensed")
    assert folder.about(model)["data"]["datasets"] == {"Island": licence}
    assert "- Island (CC-BY-4.0): Somebody 2026" in (model / "card.md").read_text()


def _file(store: Store, folder: Path) -> Path:
    file = folder / "config.yaml"
    file.write_text(store.config.to_yaml())
    return file
