"""Fusion: what a decoder reads of other modalities, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.batch import Batch
from model.mae import MultiModalMAE
from model.masking import TokenMask, ask_for, tokens
from tests.model.conftest import SMALL, make_batch, make_masks, make_model

FUSED = replace(SMALL, fusion="keys")
DRAINS = torch.tensor([[0, -1], [1, 3], [3, -1]]).expand(2, 3, 2)


@pytest.fixture
def batch() -> Batch:
    return replace(make_batch(FUSED, missing=0.1), drains=DRAINS)


@pytest.fixture
def model() -> MultiModalMAE:
    return make_model(FUSED)


def flow(model: MultiModalMAE, batch: Batch, masks: dict[str, TokenMask]) -> torch.Tensor:
    """Return predicted flow ``[B, C, T]``, NaN where none is asked for."""
    with torch.no_grad():
        return model(batch, masks)["flow"].full(batch.days)[..., 0].unflatten(0, (2, 3))


def rain_changed(batch: Batch, patch: int) -> Batch:
    assert FUSED.grid is not None
    (height, width), row = FUSED.grid.patch_size, patch // 2
    grid = batch.grids["rain"].clone()
    grid[..., row * height : (row + 1) * height, (patch % 2) * width : (patch % 2 + 1) * width] += 3
    return replace(batch, grids=batch.grids | {"rain": grid})


def test_a_catchment_sees_the_rain_of_its_patches_and_no_other(model: MultiModalMAE) -> None:
    batch = replace(make_batch(FUSED, days=12), drains=DRAINS)
    masks = make_masks(batch, FUSED)
    # Without layers the encoder mixes nothing between patches: what moves, moved through the keys.
    for name in ("rain", "warmth"):
        for layer in model.encoders[name].layers:
            layer.attention.out.weight.data.zero_()
    before = flow(model, batch, masks)
    for patch, drainers in ((0, {0}), (1, {1}), (3, {1, 2})):
        moved = (flow(model, rain_changed(batch, patch), masks) - before).abs().nan_to_num().amax((0, 2)) > 1e-6
        assert set(moved.nonzero()[:, 0].tolist()) == drainers


def test_hidden_flow_does_not_reach_its_prediction(model: MultiModalMAE, batch: Batch) -> None:
    asked = {"flow": torch.tensor([True, True])}
    masks = ask_for(batch, FUSED, make_masks(batch, FUSED), asked)
    before = flow(model, batch, masks)
    other = replace(batch, series=batch.series | {"flow": batch.series["flow"] * 2 + 1})
    torch.testing.assert_close(flow(model, other, masks), before, equal_nan=True, atol=0, rtol=0)
    assert torch.equal(torch.isfinite(before), torch.isfinite(batch.series["flow"]))


def test_other_catchments_change_nothing(model: MultiModalMAE, batch: Batch) -> None:
    masks = make_masks(batch, FUSED)
    series = {name: one.clone() for name, one in batch.series.items()}
    for one in series.values():
        one[:, 1:] += 2
    before, after = flow(model, batch, masks), flow(model, replace(batch, series=series), masks)
    torch.testing.assert_close(after[:, 0], before[:, 0], equal_nan=True)


def test_asked_windows_show_all_else(batch: Batch) -> None:
    random = make_masks(batch, FUSED)
    masks = ask_for(batch, FUSED, random, {"flow": torch.tensor([True, False])})
    for name, mask in masks.items():
        have = tokens(batch, FUSED, name)
        rows = mask.visible.shape[0] // 2
        assert torch.equal(mask.visible[rows:], random[name].visible[rows:])
        assert torch.equal(mask.target[rows:], random[name].target[rows:])
        shown, asked = mask.visible[:rows], mask.target[:rows]
        if name == "flow":
            assert not shown.any()
            assert torch.equal(asked, have.observed[:rows])
        else:
            assert torch.equal(shown, have.complete[:rows])
            assert not asked.any()


def test_every_tensor_receives_a_gradient(model: MultiModalMAE, batch: Batch) -> None:
    from model.mae import total_loss

    total_loss(model(batch, make_masks(batch, FUSED)), FUSED).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_without_fusion_nothing_is_added() -> None:
    assert not any("fusion" in name for name, _ in make_model(SMALL).named_parameters())


def test_fusion_needs_to_know_the_patches(model: MultiModalMAE) -> None:
    batch = make_batch(FUSED)
    with pytest.raises(ValueError, match="drains"):
        model(batch, make_masks(batch, FUSED))
