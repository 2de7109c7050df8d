"""What must not change a prediction, and what is known exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from multimodal_mae.batch import Batch
from multimodal_mae.config import GridConfig, LayersByKind, MAEConfig
from multimodal_mae.feature_maps import WeightedFeatureMaps
from multimodal_mae.layers import attend, patchify, sincos, unpatchify
from multimodal_mae.mae import MultiModalMAE, total_loss
from multimodal_mae.masking import TokenMask, count_targets, random_mask, select, tokens

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_masks, make_model


def predictions(model: MultiModalMAE, batch: Batch, masks: dict[str, TokenMask]) -> dict[str, torch.Tensor]:
    """Return full predictions by modality, NaN where there is none."""
    with torch.no_grad():
        return {name: one.full(masks[name].target.shape[1]) for name, one in model(batch, masks).predictions.items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float = 1e-5) -> None:
    for name in one:
        torch.testing.assert_close(one[name], other[name], equal_nan=True, atol=atol, rtol=1e-4)


def change_masked(batch: Batch, masks: dict[str, TokenMask], config: MAEConfig) -> Batch:
    """Return the batch with another value at every masked token."""
    assert config.grid is not None
    grids, series = {}, {}
    for name, grid in batch.grids.items():
        visible = masks[name].visible.unflatten(1, (batch.grid_days, -1))[:, :, list(config.grid.land_patches)]
        grids[name] = torch.where(visible[..., None], grid, grid * 3 + 7)
    for name, one in batch.series.items():
        series[name] = torch.where(masks[name].visible.reshape(one.shape), one, one * 3 + 7)
    return replace(batch, grids=grids, series=series)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_masked_values_are_not_seen(variant: MAEConfig, missing: float) -> None:
    model, batch = make_model(variant), make_batch(variant, missing=missing)
    masks = make_masks(batch, variant)
    changed = change_masked(batch, masks, variant)
    assert not torch.equal(changed.series["flow"].nan_to_num(), batch.series["flow"].nan_to_num())
    assert_same(predictions(model, batch, masks), predictions(model, changed, masks), atol=0)


def test_visible_values_are_seen(variant: MAEConfig) -> None:
    model, batch = make_model(variant), make_batch(variant)
    masks = make_masks(batch, variant)
    shifted = replace(
        batch,
        grids={name: grid + 1 for name, grid in batch.grids.items()},
        series={name: one + 1 for name, one in batch.series.items()},
    )
    before, after = predictions(model, batch, masks), predictions(model, shifted, masks)
    for name in before:
        assert (before[name] - after[name]).nan_to_num().abs().max() > 1e-4


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_other_samples_and_padding_change_nothing(variant: MAEConfig, missing: float) -> None:
    """Each window alone, without the padding that the others cause, predicts what it predicts in company."""
    model, batch = make_model(variant), make_batch(variant, windows=3, missing=missing)
    masks = make_masks(batch, variant)
    together = predictions(model, batch, masks)
    for number in range(3):
        alone_masks = {}
        for name, mask in masks.items():
            factor = mask.visible.shape[0] // 3
            rows = slice(number * factor, (number + 1) * factor)
            alone_masks[name] = TokenMask(mask.visible[rows], mask.target[rows])
        alone = predictions(model, batch.rows(slice(number, number + 1)), alone_masks)
        for name, one in alone.items():
            factor = one.shape[0]
            torch.testing.assert_close(
                one, together[name][number * factor : (number + 1) * factor], equal_nan=True, atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize("self_attention", [False, True])
def test_masked_tokens_are_predicted_independently(self_attention: bool) -> None:
    """Without self-attention among queries, dropping some of them leaves the others as they were."""
    config = replace(SMALL, decoder_self_attn=self_attention)
    model, batch = make_model(config), make_batch(config)
    masks = make_masks(batch, config)
    fewer = {
        name: TokenMask(mask.visible, mask.target & (torch.arange(mask.target.shape[1]) % 2 == 0))
        for name, mask in masks.items()
    }
    every, some = predictions(model, batch, masks), predictions(model, batch, fewer)
    kept = {name: torch.where(fewer[name].target[..., None], every[name], torch.nan) for name in every}
    same = all(torch.allclose(kept[n].nan_to_num(), some[n].nan_to_num(), atol=1e-5) for n in kept)
    assert same is not self_attention


def test_one_hot_weight_returns_that_layer() -> None:
    maps = WeightedFeatureMaps(5, 3, 8)
    features = [torch.randn(2, 7, 8) for _ in range(5)]
    chosen = (4, 0, 2)
    with torch.no_grad():
        maps.weight.zero_()
        for row, layer in enumerate(chosen):
            maps.weight[row, layer] = 1
    for mixed, layer in zip(maps.mix(features), chosen, strict=True):
        torch.testing.assert_close(mixed, features[layer], atol=0, rtol=0)
    for normed, layer in zip(maps(features), chosen, strict=True):
        torch.testing.assert_close(normed, torch.nn.functional.layer_norm(features[layer], (8,)))


def test_weighted_maps_equal_stack_and_linear() -> None:
    maps = WeightedFeatureMaps(6, 4, 16)
    features = [torch.randn(2, 5, 16) for _ in range(6)]
    expected = torch.nn.functional.linear(torch.stack(features, dim=-1), maps.weight)
    torch.testing.assert_close(torch.stack(maps.mix(features), dim=-1), expected)


@given(
    rows=st.integers(1, 3),
    blocks=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    patch=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
@settings(max_examples=25, deadline=None)
def test_unpatchify_inverts_patchify(rows: int, blocks: tuple[int, int], patch: tuple[int, int]) -> None:
    shape = (blocks[0] * patch[0], blocks[1] * patch[1])
    fields = torch.arange(rows * 2 * shape[0] * shape[1]).reshape(rows, 2, *shape)
    patches = patchify(fields, patch)
    assert torch.equal(unpatchify(patches, shape, patch), fields)
    # Row-major: the second patch of the first row starts patch[1] cells to the right.
    if blocks[1] > 1:
        assert torch.equal(patches[0, 0, 1].reshape(patch), fields[0, 0, : patch[0], patch[1] : 2 * patch[1]])


@pytest.mark.parametrize("ragged", [False, True])
def test_attention_agrees_with_a_float64_reference(ragged: bool) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 5, 16), torch.randn(3, 9, 16), torch.randn(3, 9, 16)
    lengths = torch.tensor([9, 4, 0]) if ragged else torch.tensor([9, 9, 9])
    valid = torch.arange(9) < lengths[:, None]
    found = attend(q, k, v, 4, valid if ragged else None)
    for row, length in enumerate(lengths.tolist()):
        for head in range(4):
            part = slice(head * 4, head * 4 + 4)
            qh, kh, vh = (x[row, :, part].double() for x in (q, k[:, :length], v[:, :length]))
            expected = torch.softmax(qh @ kh.T / 2, dim=-1) @ vh  # sqrt of 4 channels
            torch.testing.assert_close(found[row, :, part].double(), expected, atol=1e-6, rtol=1e-5)


def test_positions_are_those_of_the_paper() -> None:
    found = sincos(7, 8, torch.empty(0))
    for day in range(7):
        for i in range(4):
            angle = torch.tensor(day / 10_000 ** (2 * i / 8))
            torch.testing.assert_close(found[day, i], angle.sin())
            torch.testing.assert_close(found[day, i + 4], angle.cos())


def test_missing_values_are_neither_visible_nor_targets(small: MAEConfig) -> None:
    batch = make_batch(small, missing=0.3)
    for name, mask in make_masks(batch, small).items():
        have = tokens(batch, small, name)
        assert not (mask.visible & mask.target).any()
        assert not (mask.visible & ~have.complete).any()
        assert not (mask.target & ~have.observed).any()
    land = make_masks(batch, small)["rain"].target.reshape(2, 6, 4)
    assert not land[:, :, 2].any(), "patch 2 is sea"


def test_missing_values_do_not_reach_the_loss(small: MAEConfig) -> None:
    """A loss by hand over the observed targets equals the model's, and no gradient is NaN."""
    model, batch = make_model(small), make_batch(small, missing=0.3)
    masks = make_masks(batch, small)
    found = model(batch, masks).predictions
    for name, one in found.items():
        wanted, predicted = model.values(batch, name), one.full(masks[name].target.shape[1])
        scored = torch.isfinite(wanted) & masks[name].target[..., None]
        errors = (predicted - wanted)[scored]
        assert int(one.count) == errors.numel()
        torch.testing.assert_close(one.squared_error, errors.square().sum())
    torch.testing.assert_close(
        count_targets(batch, small, masks), torch.stack([one.count for one in found.values()]).double()
    )
    total_loss(found, small).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)


def test_a_modality_that_is_absent_has_no_part(variant: MAEConfig) -> None:
    batch = make_batch(variant)
    absent = replace(
        batch,
        grids=batch.grids | {"rain": torch.full_like(batch.grids["rain"], torch.nan)},
        series=batch.series | {"flow": torch.full_like(batch.series["flow"], torch.nan)},
    )
    model, masks = make_model(variant), make_masks(absent, variant)
    found = model(absent, masks).predictions
    assert int(found["rain"].count) == int(found["flow"].count) == 0
    loss = total_loss(found, variant)
    loss.backward()
    assert torch.isfinite(loss)
    others = predictions(model, batch, make_masks(batch, variant))
    torch.testing.assert_close(predictions(model, absent, masks)["warmth"], others["warmth"], equal_nan=True)


@given(
    observed=st.lists(st.lists(st.booleans(), min_size=40, max_size=40), min_size=1, max_size=4),
    ratio=st.floats(0.05, 0.95),
    kept=st.none() | st.floats(0.01, 1.0),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_share_of_masked_tokens(observed: list[list[bool]], ratio: float, kept: float | None, seed: int) -> None:
    from multimodal_mae.masking import Tokens

    have = torch.tensor(observed)
    kept = None if kept is None else kept * ratio
    noise = torch.rand(have.shape, generator=torch.Generator().manual_seed(seed))
    mask = random_mask(Tokens(have, have), ratio, kept, noise)
    for row in range(len(have)):
        number = int(have[row].sum())
        masked = round(float(torch.tensor(number) * ratio))
        assert int(mask.visible[row].sum()) == number - masked
        wanted = masked if kept is None else round(float(torch.tensor(number) * kept))
        assert int(mask.target[row].sum()) == wanted
        assert not (mask.target[row] & (mask.visible[row] | ~have[row])).any()


def test_select_orders_and_pads() -> None:
    chosen = torch.tensor([[False, True, False, True], [True, False, False, False], [False] * 4])
    found = select(chosen)
    assert found.index[0].tolist() == [1, 3]
    assert found.valid.tolist() == [[True, True], [True, False], [False, False]]
    assert found.index[1, 0] == 0


def test_partial_reconstruction_scores_a_share(small: MAEConfig) -> None:
    config = replace(small, kept_mask_ratio=0.25)
    batch = make_batch(config, days=8)
    full, part = make_masks(batch, small)["rain"], make_masks(batch, config)["rain"]
    assert torch.equal(full.visible, part.visible)
    assert (full.target | ~part.target).all()
    assert int(full.target.sum()) == 3 * int(part.target.sum())


def test_sea_of_a_coastal_patch_is_no_part_of_it(small: MAEConfig) -> None:
    """Cells that are never observed neither hide their patch nor reach loss or prediction."""
    batch = make_batch(small)
    cells = batch.cells["rain"].clone()
    cells[0, :2] = False
    holed = batch.grids["rain"].masked_fill(~cells, torch.nan)
    coastal = replace(batch, grids=batch.grids | {"rain": holed}, cells=batch.cells | {"rain": cells})
    have = tokens(coastal, small, "rain")
    assert torch.equal(have.complete, have.observed)
    assert int(have.complete.sum()) == 2 * 6 * 3
    model, masks = make_model(small), make_masks(coastal, small)
    found = model(coastal, masks).predictions["rain"]
    assert torch.isfinite(found.values).all()
    first = masks["rain"].target.reshape(2, 6, 4)[:, :, 0].sum()
    assert int(found.count) == int(masks["rain"].target.sum()) * 12 - 2 * int(first)


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"heads": 3}, "width"),
        ({"use_cross_attn": False}, "use_weighted_fm"),
        ({"use_weighted_fm": False, "use_input": True}, "use_input"),
        ({"use_fm_layers": LayersByKind(grid=(0, 5))}, "use_fm_layers"),
        ({"use_fm_layers": (0, 1)}, "use_fm_layers"),
        ({"kept_mask_ratio": 0.9}, "kept_mask_ratio"),
        ({"attributes": 0}, "attributes"),
        ({"grid": None}, "grid"),
    ],
)
def test_impossible_structures_are_refused(change: dict[str, object], setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        replace(SMALL, **change)  # type: ignore[arg-type]


def test_grid_must_be_whole_patches() -> None:
    with pytest.raises(ValueError, match="patch_size"):
        GridConfig((7, 8), (3, 4), (0,))


@pytest.mark.parametrize("part", ["series", "static", "grids"])
def test_batch_says_what_is_wrong(small: MAEConfig, part: str) -> None:
    batch = make_batch(small)
    wrong = {
        "series": {"series": batch.series | {"flow": batch.series["flow"][:, :1]}},
        "static": {"static": batch.static.masked_fill(batch.static > 1, torch.inf)},
        "grids": {"grids": batch.grids | {"rain": batch.grids["rain"][:, :2]}},
    }[part]
    with pytest.raises(ValueError, match={"series": "flow", "static": "static", "grids": "days"}[part]):
        replace(batch, **wrong)
