"""The recurrence: against a loop by hand, causal, blind to what is hidden, and every weight learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from multimodal_mae import recurrence
from multimodal_mae.areal import catchment_means
from multimodal_mae.batch import Batch
from multimodal_mae.config import Cell, MAEConfig, RecurrenceConfig
from multimodal_mae.gated_linear import LONGEST, SHORTEST, GatedLinearBlock, GatedScan, balanced_state
from multimodal_mae.lstm import LSTM, LSTMBlock
from multimodal_mae.mae import MultiModalMAE, total_loss
from multimodal_mae.masking import TokenMask, show_all
from multimodal_mae.recurrence import Recurrence
from multimodal_mae.tasks import Task, WindowTasks, mask_windows

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_masks

WARMUP = 7
RECURRENT = replace(
    SMALL,
    causal=True,
    cross_modal_attention="decoder",
    recurrence=RecurrenceConfig(warmup_days=WARMUP),
    modalities={**SMALL.modalities, "flow": replace(SMALL.modalities["flow"], non_negative=True)},
)


def batch_with_history(config: MAEConfig = RECURRENT) -> Batch:
    batch = make_batch(config)
    b, c, _ = batch.static.shape
    generator = torch.Generator().manual_seed(2)
    names = (*config.of_kind("series"), "rain", "warmth")
    history = {name: torch.randn(b, c, WARMUP, generator=generator) for name in names}
    return replace(
        batch,
        history=history,
        patch_index=torch.tensor([[0, 1], [3, -1], [1, 3]]).expand(b, -1, -1),
        patch_weight=torch.tensor([[0.4, 0.6], [1.0, 0.0], [0.5, 0.5]]).expand(b, -1, -1),
    )


def recurrent(cell: Cell) -> MAEConfig:
    return replace(RECURRENT, recurrence=RecurrenceConfig(cell=cell, warmup_days=WARMUP))


@pytest.fixture(params=["linear", "lstm"])
def model(request: pytest.FixtureRequest) -> MultiModalMAE:
    torch.manual_seed(0)
    return MultiModalMAE(recurrent(request.param)).eval()


def simulated(model: MultiModalMAE, batch: Batch) -> torch.Tensor:
    """Return flow ``[R, T]`` as it is simulated, hidden with its past."""
    masks = show_all(batch, model.config, excluded=("flow",), targets=("flow",))
    return model(batch, masks, names=("flow",)).predictions["flow"].full(batch.days)[..., 0]


def test_the_scan_is_the_recurrence_and_its_gradient_is_right() -> None:
    torch.manual_seed(1)
    packed = torch.randn(9, 4, 6, dtype=torch.double, requires_grad=True)
    initial = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    gate, candidate = packed[..., :3].sigmoid(), packed[..., 3:]
    state, expected = initial, []
    for day in range(9):
        state = gate[day] * state + (1 - gate[day]) * candidate[day]
        expected.append(state)
    torch.testing.assert_close(GatedScan.apply(packed, initial), torch.stack(expected))
    assert torch.autograd.gradcheck(GatedScan.apply, (packed, initial))


def test_gates_begin_at_time_constants_from_a_day_to_years() -> None:
    width = RECURRENT.width
    linear, with_state = GatedLinearBlock(width), LSTMBlock(width)
    for block in (linear, with_state):
        block.spread_time_constants()
    logits = {SHORTEST: linear.recurrence.bias[:width], 3.0: with_state.recurrence.bias_ih_l0[width : 2 * width]}
    for shortest, logit in logits.items():
        days = -1 / torch.log(torch.sigmoid(logit.detach()))
        assert float(days[0]) == pytest.approx(shortest, rel=1e-3)
        assert float(days[-1]) == pytest.approx(LONGEST, rel=1e-2)


def test_the_lstm_is_that_of_its_equations_in_float32_whatever_goes_in() -> None:
    torch.manual_seed(1)
    lstm = LSTM(4)
    lstm.spread_time_constants()
    x, outputs, cell = torch.randn(6, 3, 4), torch.zeros(3, 4), torch.zeros(3, 4)
    weights = {name: weight.detach() for name, weight in lstm.named_parameters()}
    expected = []
    for day in x:
        gates = day @ weights["weight_ih_l0"].T + outputs @ weights["weight_hh_l0"].T + weights["bias_ih_l0"]
        taken, kept, candidate, shown = gates.chunk(4, -1)
        cell = kept.sigmoid() * cell + taken.sigmoid() * candidate.tanh()
        outputs = shown.sigmoid() * cell.tanh()
        expected.append(outputs)
    found, (last, cells) = lstm(x)
    torch.testing.assert_close(found, torch.stack(expected))
    torch.testing.assert_close((last[0], cells[0]), (outputs, cell))
    half, (_, in_full) = lstm.bfloat16()(x.bfloat16())
    assert (half.dtype, in_full.dtype) == (torch.bfloat16, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert lstm.float()(x)[1][1].dtype == torch.float32


def test_a_constant_input_finds_its_state_at_once() -> None:
    packed = torch.randn(1, 2, 6).expand(20, -1, -1)
    states = GatedScan.apply(packed, balanced_state(packed, 5))
    torch.testing.assert_close(states, packed[..., 3:].expand_as(states))


def test_nothing_later_is_seen(model: MultiModalMAE) -> None:
    batch, day = batch_with_history(), 3
    before = simulated(model, batch)
    later = {name: values.clone() for name, values in batch.series.items()}
    for values in later.values():
        values[..., day:] += 3
    grids = {name: values.clone() for name, values in batch.grids.items()}
    for values in grids.values():
        values[:, day:] += 3
    after = simulated(model, replace(batch, series=later, grids=grids))
    torch.testing.assert_close(after[:, :day], before[:, :day], rtol=0, atol=0)
    assert not torch.allclose(after[:, day:], before[:, day:])


def test_hidden_flow_is_not_seen_nor_its_past(model: MultiModalMAE) -> None:
    batch = batch_with_history()
    other = replace(
        batch,
        series={**batch.series, "flow": batch.series["flow"] + 5},
        history={**batch.history, "flow": batch.history["flow"] + 5},
    )
    torch.testing.assert_close(simulated(model, other), simulated(model, batch), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["loss", "rain", "flow"])
def test_what_is_visible_of_the_past_is_known(model: MultiModalMAE, name: str) -> None:
    batch = batch_with_history()
    masks = show_all(batch, RECURRENT, targets=("flow",))
    changed = replace(batch, history={**batch.history, name: batch.history[name] + 2})
    one, two = (model(some, masks, names=("flow",)).predictions["flow"].values for some in (batch, changed))
    assert not torch.allclose(one, two)


def test_days_that_are_missing_are_as_days_before_the_record(model: MultiModalMAE) -> None:
    batch = batch_with_history()
    short = {name: values[..., 3:] for name, values in batch.history.items()}
    padded = {name: values.clone() for name, values in batch.history.items()}
    for values in padded.values():
        values[..., :3] = torch.nan
    torch.testing.assert_close(
        simulated(model, replace(batch, history=short)), simulated(model, replace(batch, history=padded))
    )


def test_a_grid_enters_as_the_mean_over_the_patches_of_the_catchment(model: MultiModalMAE) -> None:
    batch = batch_with_history()
    before = simulated(model, batch)
    rain = batch.grids["rain"].clone()
    rain[:, :, 1] += 2  # patch 1, of which the second catchment has no part
    after = simulated(model, replace(batch, grids={**batch.grids, "rain": rain}))
    changed = (after != before).any(1).unflatten(0, (2, 3))
    assert changed.tolist() == [[True, False, True]] * 2


@pytest.mark.parametrize("cell", ["linear", "lstm"])
def test_every_weight_has_a_gradient(cell: Cell) -> None:
    torch.manual_seed(0)
    model = MultiModalMAE(recurrent(cell))
    batch = batch_with_history()
    total_loss(model(batch, make_masks(batch, RECURRENT)).predictions, RECURRENT).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_flow_is_never_negative(model: MultiModalMAE) -> None:
    assert float(simulated(model, batch_with_history()).min()) >= 0


def test_rows_in_parts_give_the_same_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    reader = Recurrence(RecurrenceConfig(), 16, 2, 3, dropout=0.0)
    values, static = torch.randn(7, 2, 12), torch.randn(7, 3)
    whole = reader(values, torch.ones_like(values), static, 5)
    monkeypatch.setattr(recurrence, "ROWS", 3)
    with torch.no_grad():
        parts = reader(values, torch.ones_like(values), static, 5)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_features_of_a_series_are_those_of_its_visible_days(model: MultiModalMAE) -> None:
    batch = batch_with_history()
    masks = show_all(batch, RECURRENT)
    gone = torch.zeros_like(masks["loss"].visible)
    features = model.encode(batch, {**masks, "loss": TokenMask(gone, gone)})
    assert features["flow"].valid.all()
    assert not features["loss"].valid.any()
    assert features["flow"].maps[0].shape == (6, batch.days, RECURRENT.width)
    assert len(features["flow"].layers) == 2


def test_it_is_causal_or_nothing() -> None:
    with pytest.raises(ValueError, match="causal"):
        replace(RECURRENT, causal=False)


def with_grids_on_last_days(batch: Batch, days: int) -> Batch:
    """Return the same windows with the grids of their last ``days`` only; areal means tell of the days before."""
    assert RECURRENT.grid is not None
    masks, skipped = show_all(batch, RECURRENT), batch.days - days
    history = dict(batch.history)
    for name in batch.grids:
        means, _ = catchment_means(batch, name, masks[name], RECURRENT.grid)
        in_window = means.unflatten(0, batch.static.shape[:2])[..., :skipped]
        history[name] = torch.cat((batch.history[name], in_window), dim=-1)
    return replace(batch, grids={name: grid[:, skipped:] for name, grid in batch.grids.items()}, history=history)


@pytest.mark.parametrize("days", [0, 2, 5])
def test_grids_on_the_last_days_tell_catchments_as_much(model: MultiModalMAE, days: int) -> None:
    batch = batch_with_history()
    batch = replace(batch, grids={name: torch.randn_like(grid) for name, grid in batch.grids.items()})
    short = with_grids_on_last_days(batch, days)
    assert (short.days, short.grid_days) == (batch.days, days)
    torch.testing.assert_close(simulated(model, short), simulated(model, batch))


def test_more_days_of_grids_than_of_series_are_refused() -> None:
    batch = batch_with_history()
    with pytest.raises(ValueError, match="grids: have 6 days, more than the 4 of the window"):
        replace(batch, series={name: values[..., :4] for name, values in batch.series.items()})


def test_a_forecast_that_begins_before_its_grids_sees_nothing_of_them(model: MultiModalMAE) -> None:
    batch = with_grids_on_last_days(batch_with_history(), 2)
    flow = list(RECURRENT.modalities).index("flow")

    def forecast(batch: Batch, lead_time: int) -> torch.Tensor:
        tasks = WindowTasks.same(Task.FORECAST_WITHOUT_FORCING, batch.windows, target=flow, lead_time=lead_time)
        masks = mask_windows(batch, RECURRENT, tasks)
        return model(batch, masks, names=("flow",)).predictions["flow"].full(batch.days)[..., -lead_time:, 0]

    grids = {name: grid + 1 for name, grid in batch.grids.items()}
    later = replace(batch, grids=grids, history={name: values + 1 for name, values in batch.history.items()})
    of_series = {name: later.history[name] for name in RECURRENT.of_kind("series")}
    changed = replace(batch, grids=grids, history={**later.history, **{n: batch.history[n] for n in of_series}})
    torch.testing.assert_close(forecast(changed, 3), forecast(batch, 3), rtol=0, atol=0)
    assert not torch.equal(forecast(changed, 2), forecast(batch, 2))  # what came before its grids is known


@pytest.mark.parametrize("task", [Task.FORECAST, Task.FORECAST_WITHOUT_FORCING])
def test_one_pass_forecasts_from_many_days_as_a_window_for_each_does(model: MultiModalMAE, task: Task) -> None:
    batch, lead_time = batch_with_history(), 2
    grids = {name: torch.randn_like(grid) for name, grid in batch.grids.items()}
    batch = replace(batch, grids=grids)
    masks, issued = show_all(batch, RECURRENT), torch.tensor([3, 1, 3])
    days = issued[:, None] + torch.arange(1, lead_time + 1)
    daily = {name: batch.series[name][:, :, days] for name in batch.series}
    for name in grids:
        assert RECURRENT.grid is not None
        means, _ = catchment_means(batch, name, masks[name], RECURRENT.grid)
        daily[name] = means.unflatten(0, batch.static.shape[:2])[:, :, days]
    hidden = ["flow"] if task is Task.FORECAST else list(daily)
    ahead = daily | {name: torch.full_like(daily[name], torch.nan) for name in hidden}
    forecast = model.forecast(batch, masks, "flow", issued, ahead)
    assert forecast.shape == (*batch.static.shape[:2], 3, lead_time)
    for number, day in enumerate(issued.tolist()):
        stop = day + 1 + lead_time
        ended = replace(
            batch,
            grids={name: grid[:, :stop] for name, grid in grids.items()},
            series={name: values[..., :stop] for name, values in batch.series.items()},
        )
        flow = list(RECURRENT.modalities).index("flow")
        tasks = WindowTasks.same(task, batch.windows, target=flow, lead_time=lead_time)
        of_window = model(ended, mask_windows(ended, RECURRENT, tasks), names=("flow",)).predictions["flow"]
        wanted = of_window.full(stop)[..., -lead_time:, 0].unflatten(0, batch.static.shape[:2])
        torch.testing.assert_close(forecast[:, :, number], wanted)


def test_a_model_without_a_recurrence_has_no_state_to_go_on_from() -> None:
    batch = make_batch(SMALL)
    with pytest.raises(ValueError, match="this model has none"):
        MultiModalMAE(SMALL).forecast(batch, show_all(batch, SMALL), "flow", torch.tensor([1]), {})
