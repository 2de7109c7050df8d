"""``pretrain --from``: a whole pretraining that begins with the weights of a trained model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import watercli as wc
from watercli.config import parse, with_overrides
from watercli.errors import ConfigError
from watercli.run.directory import all_checkpoints, open_run
from watercli.store import Store
from watercli.training.finetune import with_size_of

TINY = {"train.steps": 2, "train.validate_every": 2, "train.checkpoint_every": 2, "train.keep_checkpoints": 9}


@pytest.fixture(scope="module")
def parent(recurrent_run: Path) -> wc.Run:
    return wc.open_run(recurrent_run)


def test_it_begins_with_the_parent_and_names_it(parent: wc.Run, other_store: Store, tmp_path: Path) -> None:
    config = with_overrides(parent.config, ["train.held_out_gauges=null", "train.learning_rate=0.002"])
    child = wc.pretrain(other_store, tmp_path / "child", config=config, parent=parent, settings=TINY)
    first, last = all_checkpoints(child.path)
    assert (first.step, last.step) == (0, 2)
    own, parents = (load_file(each.path / "model.safetensors") for each in (first, open_run(parent.path)))
    assert all(np.array_equal(own[name], parents[name]) for name in parents)
    assert child.config.train.learning_rate == 0.002
    assert child.checkpoint.scaling.modalities == parent.checkpoint.scaling.modalities
    record = json.loads((child.path / "run.json").read_text(encoding="utf-8"))
    assert record["parent"]["name"] == "recurrent"
    with pytest.raises(ConfigError, match="keeps the parent that it began with; leave --from out"):
        wc.pretrain(other_store, child.path, parent=parent, resume=True)


def test_another_structure_is_refused(parent: wc.Run, other_store: Store, tmp_path: Path) -> None:
    config = with_overrides(parent.config, ["model.series_layers=1", "model.decoder_width=32"])
    with pytest.raises(ConfigError, match=r"another structure than the parent's \(model.decoder_width: 16 -> 32\)"):
        wc.pretrain(other_store, tmp_path / "child", config=config, parent=parent)
    assert not (tmp_path / "child").exists()


def test_other_modalities_are_refused(parent: wc.Run, other_store: Store, tmp_path: Path) -> None:
    raw = parent.config.model_dump(mode="json")
    del raw["modalities"]["soil"]
    with pytest.raises(ConfigError, match="the configuration's differ by soil; give the parent's --config"):
        wc.pretrain(other_store, tmp_path / "child", config=parse(json.dumps(raw), origin="test"), parent=parent)


def test_sizes_left_out_are_the_parents(parent: wc.Run) -> None:
    modalities = {
        "rain": {
            "kind": "series",
            "units": "mm/day",
            "source": {"reader": "table", "variable": "rain", "files": "a.csv"},
        }
    }
    open_sizes = parse(json.dumps({"name": "open", "modalities": modalities}), origin="test")
    assert "model.width" in open_sizes.sizes_left_out
    assert with_size_of(parent.checkpoint, open_sizes).model.width == parent.config.model.width == 16
