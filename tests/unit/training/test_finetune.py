"""Fine-tuning: it begins with its parent, keeps its scaling, and never chooses a step that is worse."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import watercli as wc
from watercli.config import with_overrides
from watercli.data.held_out import held_out_catchments
from watercli.errors import ConfigError, RunError
from watercli.inspection.show import show
from watercli.library import folder
from watercli.run import checkpoint as checkpoints
from watercli.run.directory import all_checkpoints, open_run
from watercli.run.evidence import load_evidence
from watercli.run.parent import Parent, parent_of
from watercli.store import Store
from watercli.training.finetune import check_parent, fine_tuning
from watercli.training.metrics_log import read_metrics

TINY_STEPS = {"train.steps": 4, "train.validate_every": 2, "train.checkpoint_every": 2, "train.keep_checkpoints": 9}


@pytest.fixture(scope="module")
def parent(recurrent_run: Path) -> Parent:
    return Parent("brook", open_run(recurrent_run))


@pytest.fixture(scope="module")
def child(informed_run: Path, other_store: Store, tmp_path_factory: pytest.TempPathFactory) -> wc.Run:
    """Four steps of the informed run, at ten gauges; do not write to it."""
    return wc.finetune(
        wc.open_run(informed_run), other_store, tmp_path_factory.mktemp("child") / "run", settings=TINY_STEPS
    )


def test_step_0_is_the_parent(child: wc.Run, informed_run: Path, other_store: Store) -> None:
    first, *later = all_checkpoints(child.path)
    assert [checkpoint.step for checkpoint in (first, *later)] == [0, 2, 4]
    own, parents = (load_file(checkpoint.path / "model.safetensors") for checkpoint in (first, open_run(informed_run)))
    assert all(np.array_equal(own[name], parents[name]) for name in parents)
    trained = load_file(later[-1].path / "model.safetensors")
    assert any(not np.array_equal(trained[name], parents[name]) for name in parents)
    assert first.validation_nse is not None
    assert child.checkpoint.validation_nse == max(checkpoint.validation_nse or -9 for checkpoint in (first, *later))
    validated = [row["step"] for row in read_metrics(child.path) if row["split"] == "validation"]
    assert validated == [0, 2, 4]


def test_the_scaling_is_the_parents(child: wc.Run, informed_run: Path, other_store: Store) -> None:
    parent = open_run(informed_run)
    own, attributes = child.checkpoint.scaling, parent.scaling.attributes
    assert own.modalities == parent.scaling.modalities
    assert {name: (scale.mean, scale.std) for name, scale in own.attributes.items()} == {
        name: (scale.mean, scale.std) for name, scale in attributes.items()
    }
    assert child.checkpoint.gauges == tuple(other_store.gauge_ids)
    assert child.config.train.learning_rate == pytest.approx(parent.config.train.learning_rate / 5)


def test_the_evidence_head_is_carried_over(child: wc.Run, informed_run: Path) -> None:
    heads = [load_evidence(checkpoint, "riverflow") for checkpoint in (child.checkpoint, open_run(informed_run))]
    assert heads[0] is not None
    assert heads[1] is not None
    states = [head.head.state_dict() for head in heads if head]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[1])


def test_the_parent_is_named(
    child: wc.Run, informed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = checkpoints.sha256(open_run(informed_run).path / "model.safetensors")
    record = json.loads((child.path / "run.json").read_text(encoding="utf-8"))["parent"]
    assert (record["name"], record["weights_fingerprint"]) == ("informed", weights)
    assert record["held_out_gauges"] == list(open_run(informed_run).held_out_gauges)
    show(str(child.path))
    assert f"Fine-tuned from informed, its step {record['step']} (weights {weights[:12]})" in capsys.readouterr().out
    model = child.export(tmp_path / "grandchild")
    assert folder.about(model)["parent"]["name"] == "informed"
    assert "Fine-tuned from **informed**" in (model / "card.md").read_text(encoding="utf-8")


def test_the_child_is_a_run(child: wc.Run, other_store: Store) -> None:
    flow = wc.open_run(child.path).simulate(other_store, since="2002-03-30")
    assert np.isfinite(flow["riverflow"]).all()
    assert wc.open_run(child.path).store().fingerprint == child.checkpoint.fingerprint


def test_it_goes_on_to_the_same_end(child: wc.Run, other_store: Store, tmp_path: Path) -> None:
    copy = shutil.copytree(child.path, tmp_path / "run")
    shutil.rmtree(checkpoints.folder_of(copy, 4))
    wc.finetune(run=copy, store=other_store, resume=True)
    ends = [load_file(checkpoints.folder_of(run, 4) / "model.safetensors") for run in (child.path, copy)]
    assert all(np.allclose(ends[0][name], ends[1][name], atol=1e-6) for name in ends[0])
    with pytest.raises(ConfigError, match="already has 4 steps"):
        wc.finetune(run=copy, store=other_store, resume=True)


def test_a_head_that_was_not_copied_yet_comes_on_resuming(child: wc.Run, other_store: Store, tmp_path: Path) -> None:
    copy = shutil.copytree(child.path, tmp_path / "run")
    (open_run(copy).path / "evidence.safetensors").unlink()
    wc.pretrain(other_store, copy, resume=True)
    assert load_evidence(open_run(copy), "riverflow") is not None


def test_a_torn_record_does_not_make_an_orphan(child: wc.Run, other_store: Store, tmp_path: Path) -> None:
    copy = shutil.copytree(child.path, tmp_path / "run")
    (copy / "run.json").write_text('{"store": ', encoding="utf-8")
    with pytest.raises(RunError, match="does not name the run's parent"):
        wc.pretrain(other_store, copy, resume=True)


def test_the_last_layers_alone(recurrent_run: Path, other_store: Store, tmp_path: Path) -> None:
    settings = {**TINY_STEPS, "finetune.layers": "last", "train.weight_averaging": None}
    child = wc.finetune(recurrent_run, other_store, tmp_path / "run", settings=settings)
    before = load_file(open_run(recurrent_run).path / "model.safetensors")
    after = load_file(checkpoints.folder_of(child.path, 4) / "model.safetensors")
    changed = {name.partition(".")[0] for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"decoders", "feature_maps"}


@pytest.mark.slow
def test_a_model_of_other_names_and_half_precision(
    recurrent_run: Path, other_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The child finds the names again by itself, in training and afterwards."""
    model = wc.open_run(recurrent_run).export(tmp_path / "brook", half=True)
    store = wc.prepare(_renamed(other_store.config.to_yaml(), tmp_path), tmp_path / "foreign.zarr")
    names = {"precip": "water", "soil": "wetness"}
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO, "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        child = wc.finetune(model, store, tmp_path / "run", names=names, settings=TINY_STEPS, parent_store=other_store)
    assert "What the model reads of" in caplog.text
    assert child.checkpoint.scaling.modalities == open_run(recurrent_run).scaling.modalities
    assert wc.open_run(child.path).store(store).fingerprint == child.checkpoint.fingerprint
    assert wc.open_run(child.path).store().config.modalities.keys() == child.config.modalities.keys()
    forgetting = json.loads((child.path / "forgetting.json").read_text(encoding="utf-8"))["median_nse"]["riverflow"]
    assert np.isfinite([forgetting["parent"], forgetting["child"]]).all()
    if child.checkpoint.step == 0:
        assert forgetting["parent"] == pytest.approx(forgetting["child"])


def _renamed(text: str, tmp_path: Path) -> Path:
    """Return a file of the same configuration, two of whose modalities have other names."""
    file = tmp_path / "foreign.yaml"
    lines = text.replace("  precip:\n", "  water:\n").replace("  soil:\n", "  wetness:\n")
    file.write_text(lines, encoding="utf-8")
    return file


def test_steps_follow_from_the_store(parent: Parent, other_store: Store) -> None:
    # Ten gauges of 547 days, shown 20 times by steps of 160 days, are 684 steps: more than the most.
    config = fine_tuning(parent, other_store)
    assert (config.train.steps, config.train.validate_every, config.train.warmup_steps) == (600, 60, 60)
    assert fine_tuning(parent, _of_gauges(other_store, 6)).train.steps == 400
    assert fine_tuning(parent, _of_gauges(other_store, 2)).train.steps == 200
    assert config.name == "demo-finetuned"
    assert fine_tuning(parent, other_store, ["train.steps=50"]).train.validate_every == 5
    assert fine_tuning(parent, other_store, ["train.steps=50", "train.validate_every=7"]).train.validate_every == 7


def _of_gauges(store: Store, number: int) -> Store:
    return replace(store, dataset=store.dataset.isel(catchment=slice(number)))


def test_the_parents_held_out_gauges_stay_so_on_its_own_store(
    parent: Parent, tiny_store: Store, other_store: Store
) -> None:
    own = held_out_catchments(tiny_store, fine_tuning(parent, tiny_store))
    assert np.flatnonzero(own).tolist() == [1, 4]
    assert fine_tuning(parent, other_store).train.held_out_gauges is None


def _without_flow(store: Store, split: str) -> Store:
    flow = store.dataset["riverflow"].load().copy()
    flow[:, store.period(split)] = np.nan
    return replace(store, dataset=store.dataset.assign(riverflow=flow))


@pytest.mark.parametrize(("split", "days"), [("train", "training"), ("validation", "validation")])
def test_no_flow_is_refused(parent: Parent, other_store: Store, split: str, days: str) -> None:
    store = _without_flow(other_store, split)
    with pytest.raises(ConfigError, match=f"'riverflow' has no value in the {days} period .* recipe.splits.{split}"):
        check_parent(parent.checkpoint, fine_tuning(parent, store), store)


def test_the_share_of_the_parent(parent: Parent, child: wc.Run, informed_run: Path, other_store: Store) -> None:
    """What is kept lies between the parent and what was trained, which stands beside the optimiser."""
    assert child.config.finetune.parent_share == 0.25
    *_, last = all_checkpoints(child.path)
    kept, trained = load_file(last.path / "model.safetensors"), load_file(last.path / "optimiser.safetensors")
    assert any(name.startswith("weights/") for name in trained)
    for name, weight in load_file(open_run(informed_run).path / "model.safetensors").items():
        if f"weights/{name}" in trained:
            np.testing.assert_allclose(kept[name], 0.25 * weight + 0.75 * trained[f"weights/{name}"], atol=1e-6)
    without = fine_tuning(parent, other_store, ["train.weight_averaging=null"])
    assert without.finetune.parent_share == 0
    with pytest.raises(ConfigError, match=r"needs train\.weight_averaging"):
        check_parent(parent.checkpoint, with_overrides(without, ["finetune.parent_share=0.5"]), other_store)


def test_another_structure_is_refused(parent: Parent, other_store: Store) -> None:
    config = fine_tuning(parent, other_store, ["model.decoder_width=32"])
    with pytest.raises(ConfigError, match="another structure than the parent's"):
        check_parent(parent.checkpoint, config, other_store)


def test_a_test_period_that_the_parent_saw_is_refused(parent: Parent, other_store: Store) -> None:
    splits = _shifted(parent.checkpoint.splits)
    seen = replace(parent.checkpoint, splits=splits)
    with pytest.raises(ConfigError, match="The parent saw 2001-07-01 to 2002-01-15 of 4 gauges"):
        check_parent(seen, fine_tuning(parent, other_store), other_store)
    elsewhere = replace(seen, gauges=("far",), held_out_gauges=())
    check_parent(elsewhere, fine_tuning(parent, other_store), other_store)


def _shifted(splits: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Return splits whose validation reaches into the test period of `other_store`."""
    return {**splits, "validation": {**splits["validation"], "end": "2002-01-15"}}


def test_mistakes(recurrent_run: Path, fused_run: Path, child: wc.Run, other_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a parent"):
        wc.finetune(store=other_store, run=tmp_path / "run")
    with pytest.raises(ConfigError, match="holds the parent"):
        wc.finetune(recurrent_run, other_store, recurrent_run, overwrite=True)
    with pytest.raises(ConfigError, match="is no fine-tuning"):
        wc.finetune(run=recurrent_run, store=other_store, resume=True)
    with pytest.raises(ConfigError, match="begun with another parent, informed"):
        wc.finetune(fused_run, other_store, child.path, resume=True)
    for settings in ({"finetune.layers": "last"}, {"finetune.parent_share": 0.5}):
        with pytest.raises(ConfigError, match="there is no parent"):
            wc.pretrain(other_store, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()
    assert parent_of(recurrent_run) is None
