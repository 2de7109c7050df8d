"""Antecedent state: it is the recurrence it claims to be, and nothing of the future or of what is hidden is in it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import AntecedentStateConfig, MAEConfig
from multimodal_mae.mae import MultiModalMAE, total_loss
from multimodal_mae.masking import TokenMask
from multimodal_mae.moving_averages import MovingAverages, Seen, carried_size, carry, fading, gains, state_size, states

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_masks, make_model
from tests.unit.multimodal_mae.test_cross_modal import OVERLAPS

AVERAGES = AntecedentStateConfig(time_constants=(1.0, 4.0, 16.0), recent_days=3, width=12)
WITH_STATE = replace(SMALL, antecedent_state=AVERAGES, cross_modal_attention="decoder")
HALF = {name: replace(one, mask_ratio=0.5) for name, one in SMALL.modalities.items()}
"""Enough tokens of each day are visible and masked."""
PAST, DAYS = 20, 6


def with_past(batch: Batch, missing: float = 0.1) -> Batch:
    generator = torch.Generator().manual_seed(7)

    def holed(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator)
        return values.masked_fill(torch.rand(shape, generator=generator) < missing, torch.nan)

    shares = torch.tensor([[1.0, 0.0], [0.6, 0.4], [1.0, 0.0]]).expand(2, 3, 2)
    return remembering(replace(batch, patch_weight=shares), {name: holed(2, 3, PAST) for name in SMALL.modalities})


def remembering(batch: Batch, days: dict[str, torch.Tensor]) -> Batch:
    """Return a batch with what some days before its windows leave: of series ``[B, C, H]``, of grids ``[B, L, H]``."""
    past, over_catchments = dict(batch.past), dict(batch.catchment_grid_past)
    for name, values in days.items():
        there = torch.isfinite(values).float()
        past[name] = carry(values.nan_to_num(), there, AVERAGES)
        if SMALL.modalities[name].kind == "grid":
            # Catchment 0 overlaps land patch 0, catchment 1 patches 1 and 2, catchment 2 patch 2; see OVERLAPS.
            share = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0]])
            total = share @ there
            over_catchments[name] = carry(share @ values.nan_to_num() / total.clamp_min(1e-6), total, AVERAGES)
    return replace(batch, past=past, catchment_grid_past=over_catchments)


@pytest.fixture
def batch() -> Batch:
    return with_past(replace(make_batch(SMALL, missing=0.1), patch_index=OVERLAPS))


def test_states_are_the_recurrence_day_by_day() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, PAST + DAYS, generator=generator)
    weight = (torch.rand(2, PAST + DAYS, generator=generator) < 0.7).float()
    carried = carry(values[:, :PAST], weight[:, :PAST], AVERAGES)
    assert carried.shape == (2, carried_size(AVERAGES))
    seen = Seen(carried, values[:, PAST:], weight[:, PAST:])
    found = states(seen, AVERAGES)
    assert found.shape == (2, DAYS, state_size(AVERAGES))
    for row in range(2):
        for k, constant in enumerate(AVERAGES.time_constants):
            a = math.exp(-1 / constant)
            total = squares = known = 0.0
            for day in range(PAST + DAYS):
                w, x = float(weight[row, day]), float(values[row, day])
                total, squares, known = (
                    a * before + (1 - a) * w * new for before, new in ((total, x), (squares, x * x), (known, 1.0))
                )
                if day >= PAST:
                    want = torch.tensor([total / known, squares / known, known])
                    torch.testing.assert_close(found[row, day - PAST, k::3][:3], want, rtol=1e-4, atol=1e-5)
    latest = found[..., 9:12]
    torch.testing.assert_close(latest[:, -1], (values * weight)[:, -3:])
    torch.testing.assert_close(found[:, -1, 12:], weight[:, -3:])


def test_a_short_or_absent_past_is_no_past_at_all() -> None:
    values, weight = torch.randn(1, DAYS), torch.ones(1, DAYS)
    none = states(Seen(carry(values[:, :0], weight[:, :0], AVERAGES), values, weight), AVERAGES)
    hidden = states(Seen(carry(torch.full((1, PAST), 5.0), torch.zeros(1, PAST), AVERAGES), values, weight), AVERAGES)
    torch.testing.assert_close(none, hidden)
    assert torch.isfinite(none).all()


def moved(batch: Batch, name: str) -> Batch:
    """Return a batch with another past of a modality."""
    over_catchments = {grid: one + 2 if grid == name else one for grid, one in batch.catchment_grid_past.items()}
    return replace(batch, past=batch.past | {name: batch.past[name] + 2}, catchment_grid_past=over_catchments)


def flow_of(model: MultiModalMAE, batch: Batch, masks: dict[str, TokenMask]) -> torch.Tensor:
    with torch.no_grad():
        return model(batch, masks).predictions["flow"].full(DAYS)[..., 0].unflatten(0, (2, 3))


@pytest.mark.parametrize("attention", ["none", "decoder", "joint"])
def test_a_causal_model_sees_no_later_day(attention: str) -> None:
    batch = with_past(replace(make_batch(SMALL), patch_index=OVERLAPS))
    config: MAEConfig = replace(WITH_STATE, cross_modal_attention=attention, causal=True, modalities=HALF)  # type: ignore[arg-type]
    model, masks = make_model(config), make_masks(batch, config)
    changed = replace(
        batch,
        grids={name: torch.cat((grid[:, :3], grid[:, 3:] + 3), 1) for name, grid in batch.grids.items()},
        series={name: torch.cat((one[..., :3], one[..., 3:] + 3), -1) for name, one in batch.series.items()},
    )
    with torch.no_grad():
        before, after = model(batch, masks).predictions, model(changed, masks).predictions
        seen, seen_after = model.encode(batch, masks), model.encode(changed, masks)
    moved = 0
    for name in config.modalities:
        days = masks[name].target.shape[1]
        one, two = (some[name].full(days).unflatten(1, (DAYS, -1)) for some in (before, after))
        torch.testing.assert_close(two[:, :3], one[:, :3], equal_nan=True)
        moved += int(((two - one)[:, 3:].abs() > 1e-4).any())
        early = (seen[name].day < 3) & seen[name].valid
        for layer, layer_after in zip(seen[name].layers, seen_after[name].layers, strict=True):
            torch.testing.assert_close(layer_after[early], layer[early])
    assert moved == len(config.modalities)


def test_the_past_reaches_a_prediction_unless_it_is_hidden(batch: Batch) -> None:
    model, masks = make_model(WITH_STATE), make_masks(batch, WITH_STATE)
    for name in ("loss", "rain"):
        other = moved(batch, name)
        assert (flow_of(model, other, masks) - flow_of(model, batch, masks)).abs().nan_to_num().amax() > 1e-4
        rows = masks[name].visible.shape[0]
        hidden = masks | {name: replace(masks[name], past=torch.zeros(rows, dtype=torch.bool))}
        torch.testing.assert_close(flow_of(model, other, hidden), flow_of(model, batch, hidden), equal_nan=True)


def test_a_catchment_has_the_past_rain_of_its_patches(batch: Batch) -> None:
    model, masks = make_model(WITH_STATE), make_masks(batch, WITH_STATE)
    days = torch.randn(2, 3, PAST)
    batch = remembering(batch, {"rain": days})
    for land, readers in ((0, {0}), (1, {1}), (2, {1, 2})):  # land patches 0, 1, 3
        rain = days.clone()
        rain[:, land] += 3
        other = remembering(batch, {"rain": rain})
        # Of what the decoder reads only the catchment's own context may move, so look at the context itself.
        before, after = (
            model.antecedent_state(some, masks)["flow"].values.unflatten(0, (2, 3)) for some in (batch, other)
        )
        moved = (after - before).abs().amax((0, 2, 3)) > 1e-6
        assert set(moved.nonzero()[:, 0].tolist()) == readers


def test_a_grid_that_does_not_feed_catchments_does_not_reach_one(batch: Batch) -> None:
    grids = {name: replace(SMALL.modalities[name], feeds_catchments=False) for name in ("rain", "warmth")}
    config = replace(WITH_STATE, modalities=SMALL.modalities | grids)
    assert config.read_by("flow") == ["flow", "loss"]
    assert config.read_by("warmth") == ["rain", "warmth"]
    model, masks = make_model(config), make_masks(batch, config)
    other = replace(moved(batch, "rain"), grids=batch.grids | {"rain": batch.grids["rain"] + 2})
    torch.testing.assert_close(flow_of(model, other, masks), flow_of(model, batch, masks), equal_nan=True)


def test_without_cross_modal_attention_a_modality_has_only_its_own_past(batch: Batch) -> None:
    config = replace(WITH_STATE, cross_modal_attention="none")
    model, masks = make_model(config), make_masks(batch, config)
    other = moved(batch, "loss")
    torch.testing.assert_close(flow_of(model, other, masks), flow_of(model, batch, masks), equal_nan=True)


@pytest.mark.parametrize("attention", ["window", "same_day"])
def test_every_tensor_receives_a_gradient(batch: Batch, attention: str) -> None:
    config = replace(WITH_STATE, grid_attention_scope=attention)  # type: ignore[arg-type]
    model = make_model(config)
    total_loss(model(batch, make_masks(batch, config)).predictions, config).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_patches_of_one_day_attend_to_each_other_alone() -> None:
    batch = make_batch(SMALL)
    config = replace(SMALL, grid_attention_scope="same_day", modalities=HALF)
    model, masks = make_model(config), make_masks(batch, config)
    rain = batch.grids["rain"].clone()
    rain[:, 2] += 1
    other = replace(batch, grids=batch.grids | {"rain": rain})
    with torch.no_grad():
        before, after = (model.encode(some, masks, ["rain"])["rain"] for some in (batch, other))
    assert torch.equal(before.index, after.index)
    same = before.valid & (before.day != 2)
    torch.testing.assert_close(after.layers[-1][same], before.layers[-1][same], atol=0, rtol=0)
    assert (after.layers[-1] - before.layers[-1])[before.valid & (before.day == 2)].abs().max() > 1e-3


def test_errors_are_divided_by_the_basin_std_in_the_space_of_the_targets(batch: Batch) -> None:
    model, masks = make_model(SMALL), make_masks(batch, SMALL)
    targets, std = batch.series["flow"] * 2 + 1, torch.tensor([[1.0, 2.0, 4.0], [0.5, 1.0, 3.0]])
    scored = replace(batch, targets={"flow": targets}, basin_std={"flow": std})
    with torch.no_grad():
        found = model(scored, masks).predictions["flow"]
    error = (found.full(DAYS)[..., 0].unflatten(0, (2, 3)) - targets) / std[..., None]
    scored_days = masks["flow"].target.unflatten(0, (2, 3)) & torch.isfinite(targets)
    torch.testing.assert_close(found.squared_error, error[scored_days].square().sum())


@pytest.mark.parametrize("attention", ["none", "decoder"])
def test_its_networks_read_standardised_states(batch: Batch, attention: str) -> None:
    model = make_model(replace(WITH_STATE, cross_modal_attention=attention))  # type: ignore[arg-type]
    masks, state = make_masks(batch, WITH_STATE), model.antecedent_state
    assert isinstance(state, MovingAverages)
    state.standardise([(batch, masks), (batch, masks)])
    varying = 0
    for group, name in state.groups.items():
        read = state._standardised(group, state._states(name, batch, masks)).flatten(0, -2)
        torch.testing.assert_close(read.mean(0), torch.zeros(read.shape[-1]), atol=1e-4, rtol=0)
        std = read.std(0, correction=0)
        varies = state.get_buffer(f"std_{group}") != 1
        torch.testing.assert_close(std[varies], torch.ones(int(varies.sum())), atol=1e-3, rtol=0)
        assert (std[~varies] <= 0.02).all()
        varying += int(varies.sum())
    assert varying > 50
    twin = make_model(replace(WITH_STATE, cross_modal_attention=attention))  # type: ignore[arg-type]
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(flow_of(twin, batch, masks), flow_of(model, batch, masks), equal_nan=True)


def test_averages_are_free_of_subnormal_numbers() -> None:
    """Products with these take many times as long on common processors."""
    config, days = AntecedentStateConfig(), torch.arange(4000.0)
    for weights in (gains(config, days), fading(config, days)):
        assert (weights[weights > 0] > 1e-35).all()
        assert (weights == 0).any()
        assert (weights[:40] > 0).all()
