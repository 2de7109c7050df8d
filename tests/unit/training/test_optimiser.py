"""Muon: orthogonal steps of hidden matrices, AdamW for the rest, and a run that goes on as if never stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from multimodal_mae.config import MAEConfig, ModalityConfig, RecurrenceConfig
from multimodal_mae.mae import MultiModalMAE

from tests.conftest import RECURRENT
from tests.unit.training.conftest import halved, longer, same_losses
from watercli.config import Train, with_overrides
from watercli.errors import ConfigError
from watercli.store import Store
from watercli.training.optimiser import Muon, matrices_of, optimiser, orthogonalised
from watercli.training.pretrain import pretrain

WIDE = MAEConfig(
    modalities={"rain": ModalityConfig("series"), "flow": ModalityConfig("series")},
    attributes=3,
    width=64,
    decoder_width=64,
    heads=2,
    causal=True,
    recurrence=RecurrenceConfig(),
)


@pytest.mark.parametrize("shape", [(64, 64), (64, 160), (96, 64)])
def test_a_direction_has_equal_singular_values(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, after = (torch.linalg.svdvals(one) for one in (matrix, orthogonalised(matrix)))
    assert float(after.max() / after.median()) < 1.6 < float(before.max() / before.median())
    assert 0.6 < float(after.median()) < 1.3


def test_stacked_matrices_are_made_orthogonal_apart() -> None:
    assert [tuple(part.shape) for part in matrices_of(torch.zeros(128, 64))] == [(64, 64), (64, 64)]
    assert [tuple(part.shape) for part in matrices_of(torch.zeros(96, 64))] == [(96, 64)]


def test_hidden_matrices_alone_move_by_muon() -> None:
    model = MultiModalMAE(WIDE)
    made = optimiser(model, Train(optimiser="muon"))
    names = {id(weight): name for name, weight in model.named_parameters()}
    (group,) = (group for group in made.param_groups if group["orthogonal"])
    moved = {names[id(weight)] for weight in group["params"]}
    block = "recurrence.recurrence.blocks.0."
    assert {f"{block}recurrence.weight", f"{block}read_gate.weight", f"{block}out.weight"} <= moved
    assert "decoders.flow.hidden.0.weight" in moved
    assert not moved & {"recurrence.recurrence.values.weight", "decoders.flow.head.weight"}
    assert sum(len(group["params"]) for group in made.param_groups) == len(names)


def test_the_rest_moves_as_by_adamw() -> None:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(3, 5)) for _ in range(2)]
    plain = torch.optim.AdamW([weights[0]], lr=0.1, fused=True)
    muon = Muon([{"params": [weights[1]], "orthogonal": False}], lr=0.1, fused=True)
    weights[1].data.copy_(weights[0].data)
    for _ in range(3):
        for weight, made in zip(weights, (plain, muon), strict=True):
            weight.grad = weight.detach() * 2
            made.step()
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)


def test_it_goes_on_as_if_never_stopped(tiny_store: Store, tmp_path: Path) -> None:
    settings = (*RECURRENT, "model.width=64", "model.decoder_width=64", "train.optimiser=muon")
    config = longer(tiny_store.config, *settings)
    pretrain(config, tiny_store, tmp_path / "whole")
    run = halved(tmp_path / "whole", tmp_path / "half")
    pretrain(config, tiny_store, run, resume=True)
    same_losses(tmp_path / "whole", run)


def test_it_needs_whole_matrices(tiny_store: Store) -> None:
    with pytest.raises(ConfigError, match="zero_stage"):
        with_overrides(tiny_store.config, ["train.optimiser=muon", "train.deepspeed.zero_stage=2"])
