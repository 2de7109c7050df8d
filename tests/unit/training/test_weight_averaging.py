"""The average of the weights: what it is, that it is what a checkpoint holds, and that training does not notice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.unit.training.conftest import halved, longer, rows, same_losses
from watercli.config import with_overrides
from watercli.run import checkpoint as checkpoints
from watercli.run import directory
from watercli.store import Store
from watercli.training.launch import Processes
from watercli.training.pretrain import pretrain
from watercli.training.weight_averaging import EVERY, Average, Kept

AVERAGED = "train.weight_averaging=2"


@pytest.mark.parametrize("power", [0.0, 1.0, 3.0])
def test_weights_count_as_a_power_of_their_number(power: float) -> None:
    model, average = nn.Linear(3, 2), Average(power)
    steps = [torch.randn(2, 3) for _ in range(50)]
    for number, weight in enumerate(steps, start=1):
        model.weight.data.copy_(weight)
        average.update(model, number)
    # (n + 1) ... (n + p) - n ... (n + p - 1) is what update n counts in polynomial decay: n**p, nearly.
    number = torch.arange(1, 51, dtype=torch.float64)
    counts = torch.ones_like(number)
    for one in range(round(power)):
        counts *= number + one
    wanted = (counts[:, None, None] / counts.sum() * torch.stack(steps)).sum(0)
    torch.testing.assert_close(average.values["weight"].double(), wanted, rtol=1e-5, atol=1e-6)


def test_exchanged_twice_is_as_before() -> None:
    model, average = nn.Linear(3, 2), Average(1.0)
    average.update(model, 1)
    mean = model.weight.detach().clone()
    model.weight.data += 1
    own = model.weight.detach().clone()
    average.exchange(model)
    assert torch.equal(model.weight, mean)
    average.exchange(model)
    assert torch.equal(model.weight, own)
    assert torch.equal(average.values["weight"], mean)


def test_an_average_that_keeps_a_share_of_the_parent() -> None:
    parent = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
    model, plain, mixed = nn.Linear(3, 2), Average(2.0), Average(2.0, kept=Kept(0.25, parent))
    for number in range(1, 6):
        model.weight.data = torch.randn(2, 3)
        plain.update(model, number)
        mixed.update(model, number)
    for name, weight in parent.items():
        torch.testing.assert_close(mixed.values[name], 0.75 * plain.values[name] + 0.25 * weight)


@pytest.fixture(scope="module")
def averaged(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("averaged") / "run"
    pretrain(longer(tiny_store.config, "model.dropout=0", AVERAGED), tiny_store, run)
    return run


def test_training_does_not_notice(averaged: Path, tiny_store: Store, tmp_path: Path) -> None:
    pretrain(
        longer(tiny_store.config, "model.dropout=0", "train.weight_averaging=null"), tiny_store, tmp_path / "plain"
    )

    def training(run: Path) -> list[float]:
        return [row["loss"] for row in rows(run) if row["split"] == "train"]

    assert training(averaged) == training(tmp_path / "plain")
    last, plain = (directory.all_checkpoints(run)[-1] for run in (averaged, tmp_path / "plain"))
    held, own = load_file(last.path / "model.safetensors"), load_file(plain.path / "model.safetensors")
    beside = load_file(last.path / "optimiser.safetensors")
    middle = load_file(checkpoints.folder_of(tmp_path / "plain", EVERY) / "model.safetensors")
    for name, weight in own.items():
        assert torch.equal(beside[f"weights/{name}"], weight), "what training goes on from"
        wanted = middle[name] + 3 / 4 * (weight - middle[name])  # the second update of power 2
        torch.testing.assert_close(held[name], wanted)


def test_goes_on_as_if_never_stopped(averaged: Path, tiny_store: Store, tmp_path: Path) -> None:
    run = halved(averaged, tmp_path / "half")
    pretrain(longer(tiny_store.config, "model.dropout=0", AVERAGED), tiny_store, run, resume=True)
    assert rows(run) == rows(averaged)
    one, other = (directory.all_checkpoints(run)[-1].model().state_dict() for run in (run, averaged))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.usefixtures("no_launcher")
def test_the_same_in_several_processes_that_go_on_in_another_stage(
    averaged: Path, tiny_store: Store, tmp_path: Path
) -> None:
    config, two = longer(tiny_store.config, "model.dropout=0", AVERAGED), Processes(processes=2)
    pretrain(config, tiny_store, tmp_path / "two", processes=two)
    same_losses(averaged, tmp_path / "two")
    run = halved(tmp_path / "two", tmp_path / "half")
    spread = with_overrides(config, ["train.deepspeed.zero_stage=3"])
    pretrain(spread, tiny_store, run, resume=True, processes=two)
    same_losses(averaged, run)
    one, other = (directory.all_checkpoints(place)[-1].model().state_dict() for place in (run, averaged))
    for name, weight in other.items():
        mine, theirs = one[name], weight
        if name.endswith("qkv.bias"):
            # A bias of keys shifts all scores of a query alike: its gradient is rounding, which AdamW makes large.
            torch.testing.assert_close(mine.chunk(3)[1], theirs.chunk(3)[1], rtol=1e-3, atol=3e-4)
            mine, theirs = (torch.cat(x.chunk(3)[::2]) for x in (mine, theirs))
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
