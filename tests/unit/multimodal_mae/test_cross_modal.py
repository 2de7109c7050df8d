"""Cross-modal attention: what a decoder reads of other modalities, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import TokenMask

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_masks, make_model

CROSS_MODAL = replace(SMALL, cross_modal_attention="decoder")
KINDS = {"decoder": CROSS_MODAL, "joint": replace(SMALL, cross_modal_attention="joint", joint_layers=1)}
OVERLAPS = torch.tensor([[0, -1], [1, 3], [3, -1]]).expand(2, 3, 2)


@pytest.fixture
def batch() -> Batch:
    return replace(make_batch(CROSS_MODAL, missing=0.1), patch_index=OVERLAPS)


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> MultiModalMAE:
    return make_model(KINDS[request.param])


def flow(model: MultiModalMAE, batch: Batch, masks: dict[str, TokenMask]) -> torch.Tensor:
    """Return predicted flow ``[B, C, T]``, NaN where none is predicted."""
    with torch.no_grad():
        return model(batch, masks).predictions["flow"].full(batch.days)[..., 0].unflatten(0, (2, 3))


def rain_changed(batch: Batch, patch: int) -> Batch:
    assert CROSS_MODAL.grid is not None
    grid = batch.grids["rain"].clone()
    grid[:, :, CROSS_MODAL.grid.land_patches.index(patch)] += 3
    return replace(batch, grids=batch.grids | {"rain": grid})


def test_a_catchment_sees_the_rain_of_its_patches_and_no_other(model: MultiModalMAE) -> None:
    batch = replace(make_batch(CROSS_MODAL, days=12), patch_index=OVERLAPS)
    masks = make_masks(batch, CROSS_MODAL)
    # Without layers the encoder mixes nothing between patches: what moves, moved through the keys.
    for name in ("rain", "warmth"):
        for layer in model.encoders[name].layers:
            layer.attention.out.weight.data.zero_()
    before = flow(model, batch, masks)
    for patch, readers in ((0, {0}), (1, {1}), (3, {1, 2})):
        moved = (flow(model, rain_changed(batch, patch), masks) - before).abs().nan_to_num().amax((0, 2)) > 1e-6
        assert set(moved.nonzero()[:, 0].tolist()) == readers


def test_other_catchments_change_nothing(model: MultiModalMAE, batch: Batch) -> None:
    masks = make_masks(batch, CROSS_MODAL)
    series = {name: one.clone() for name, one in batch.series.items()}
    for one in series.values():
        one[:, 1:] += 2
    before, after = flow(model, batch, masks), flow(model, replace(batch, series=series), masks)
    torch.testing.assert_close(after[:, 0], before[:, 0], equal_nan=True)


def test_every_tensor_receives_a_gradient(model: MultiModalMAE, batch: Batch) -> None:
    from multimodal_mae.mae import total_loss

    total_loss(model(batch, make_masks(batch, CROSS_MODAL)).predictions, CROSS_MODAL).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_without_cross_modal_attention_nothing_is_added() -> None:
    assert not any("cross_modal" in name for name, _ in make_model(SMALL).named_parameters())


def test_cross_modal_attention_needs_to_know_the_patches(model: MultiModalMAE) -> None:
    batch = make_batch(CROSS_MODAL)
    with pytest.raises(ValueError, match="patch_index"):
        model(batch, make_masks(batch, CROSS_MODAL))
