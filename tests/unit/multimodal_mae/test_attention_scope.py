"""Decoders that read a day alone say what decoders of the window say that may look nowhere else, at a linear cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from multimodal_mae.config import MAEConfig
from multimodal_mae.decoder import CrossDecoder
from multimodal_mae.encoder import Features
from multimodal_mae.mae import MultiModalMAE, total_loss
from multimodal_mae.masking import Selection
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_masks, make_model
from tests.unit.multimodal_mae.test_cross_modal import OVERLAPS

BY_DAY = replace(
    SMALL,
    grid_attention_scope="same_day",
    grid_cross_attention_scope="same_day",
    modalities={name: replace(one, mask_ratio=0.5) for name, one in SMALL.modalities.items()},
)


def decode_masked(self: CrossDecoder, x: Tensor, features: Features, queries: Selection, days: int) -> Tensor:
    """Decode over the whole window, all keys of other days being masked."""
    day = queries.index // self.patches
    keys = features.valid[:, None] & (features.day[:, None] == day[:, :, None])
    others = queries.valid[:, None] & (day[:, None] == day[:, :, None])
    for block, feature_map in zip(self.blocks, features.maps, strict=True):
        x = block(x, others, feature_map, keys)
    return x


@pytest.mark.parametrize("attention", ["none", "decoder"])
@pytest.mark.parametrize("among_queries", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_is_the_window_with_other_days_masked(
    monkeypatch: pytest.MonkeyPatch, attention: str, among_queries: bool, missing: float
) -> None:
    config = replace(BY_DAY, cross_modal_attention=attention, decoder_self_attn=among_queries)  # type: ignore[arg-type]
    batch = replace(make_batch(config, missing=missing), patch_index=OVERLAPS)
    model, masks = make_model(config), make_masks(batch, config)
    with torch.no_grad():
        found = model(batch, masks, names=["rain"]).predictions["rain"]
        monkeypatch.setattr(CrossDecoder, "_each_day", decode_masked)
        expected = model(batch, masks, names=["rain"]).predictions["rain"]
    assert found.queries.valid.any()
    torch.testing.assert_close(found.full(24), expected.full(24), equal_nan=True, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.squared_error, expected.squared_error)


def test_every_weight_has_a_gradient() -> None:
    model, batch = make_model(BY_DAY), make_batch(BY_DAY)
    total_loss(model(batch, make_masks(batch, BY_DAY)).predictions, BY_DAY).backward()
    assert [name for name, one in model.named_parameters() if one.grad is None] == []


def flops(config: MAEConfig, days: int) -> int:
    torch.manual_seed(0)
    model, batch = MultiModalMAE(config), make_batch(config, days=days)
    masks = make_masks(batch, config)
    with (
        torch.no_grad(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(batch, masks, names=["rain"])
    return counter.get_total_flops()


def test_the_cost_of_a_grid_is_linear_in_the_days() -> None:
    assert flops(BY_DAY, 80) / flops(BY_DAY, 40) == pytest.approx(2, rel=0.05)
    window = replace(BY_DAY, grid_cross_attention_scope="window")
    assert flops(window, 80) / flops(window, 40) > 2.1
