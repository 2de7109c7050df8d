"""Models on the command line: export, --model and --map."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.commands.conftest import Command, contents
from watercli.library import folder
from watercli.store import Store
from watercli.training.metrics_log import read_metrics


def test_a_model_from_run_to_flow(watercli: Command, tiny_run: Path, tiny_store: Store) -> None:
    assert watercli("export", "--run", tiny_run, "--out", "pond", "--name", "pond-1", "--half").code == 0
    content = folder.about(Path("pond"))
    assert content["name"] == "pond-1"
    assert content["weights"]["model"]["dtype"] == "float16"
    out = watercli("embed", "--model", "pond", "--store", tiny_store.path, "--since", "2002-03-30", "--out", "emb.zarr")
    assert out.code == 0, out.said
    assert watercli("inspect", "--model", "pond").code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--run", "a", "--model", "b"), "Error: --run and --model exclude each other; give only one"),
        (("--model", "b", "--map", "rain"), "Error: --map rain is not written as MODEL=STORE; write it like --map pre"),
        (("--model", "b"), "Error: There is no model 'b'"),
        (("--run", "a"), "Error: a is no run directory"),
    ],
)
def test_mistakes(watercli: Command, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    outcome = watercli("simulate", "--out", "flow.zarr", *arguments)
    assert (outcome.code, outcome.said[: len(sentence)]) == (2, sentence)
    assert not contents(tmp_path)


def test_inspect_needs_one_thing(watercli: Command) -> None:
    assert watercli("inspect").said.startswith("Error: inspect needs a configuration, a store")
    outcome = watercli("inspect", "--model", "b", "--set", "model.width=8")
    assert (outcome.code, outcome.said.partition(";")[0]) == (
        2,
        "Error: inspect --model takes no other argument or option",
    )


def test_finetune(watercli: Command, recurrent_run: Path, other_store: Store, tmp_path: Path) -> None:
    common = ("--model", recurrent_run, "--store", other_store.path, "--set", "train.steps=2", "--run", "child")
    assert watercli("finetune", *common, "--dry-run").code == 0
    assert not contents(tmp_path)
    outcome = watercli("finetune", *common)
    assert outcome.code == 0, outcome.said
    assert [row["step"] for row in read_metrics(Path("child")) if row["split"] == "validation"] == [0, 1, 2]
    outcome = watercli("finetune", *common)
    assert (outcome.code, outcome.said.partition(";")[0]) == (2, "Error: child exists")
    outcome = watercli("finetune", "--store", other_store.path)
    assert (outcome.code, outcome.said.partition(";")[0]) == (2, "Error: Fine-tuning needs a parent")
