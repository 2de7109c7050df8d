"""Pretraining tasks: which tokens are hidden, which are predicted, and that nothing hidden reaches its prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.masking import TokenMask, show_all, tokens
from multimodal_mae.tasks import MASKS, Task, WindowTasks, draw_noise, draw_tasks, mask_windows

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_model
from tests.unit.multimodal_mae.test_antecedent_state import WITH_STATE, moved, with_past
from tests.unit.multimodal_mae.test_cross_modal import OVERLAPS

FLOW = list(SMALL.modalities).index("flow")
DAYS, LEAD = 6, 2


@pytest.fixture
def batch() -> Batch:
    return with_past(replace(make_batch(SMALL, missing=0.1), patch_index=OVERLAPS))


def noise_of(seed: int = 0) -> dict[str, torch.Tensor]:
    return draw_noise(SMALL, windows=2, catchments=3, days=DAYS, generator=torch.Generator().manual_seed(seed))


def masks_of(batch: Batch, *tasks: Task) -> dict[str, TokenMask]:
    """Return masks of windows that predict flow, the last `LEAD` days of it in a forecast."""
    windows = WindowTasks(torch.tensor(tasks), torch.full((2,), FLOW), torch.full((2,), LEAD))
    return mask_windows(batch, SMALL, windows, noise_of())


def by_window(mask: torch.Tensor) -> torch.Tensor:
    """``[R, N]`` to ``[B, rows, days, places]``."""
    return mask.unflatten(0, (2, -1)).unflatten(-1, (DAYS, -1))


def test_a_simulation_hides_the_series_and_its_past_and_shows_all_else(batch: Batch) -> None:
    masks = masks_of(batch, Task.SIMULATION, Task.RANDOM_MASKING)
    for name, mask in masks.items():
        available = tokens(batch, SMALL, name)
        shown, target = by_window(mask.visible)[0], by_window(mask.target)[0]
        assert mask.past is not None
        if name == "flow":
            assert not shown.any()
            assert torch.equal(target, by_window(available.observed)[0])
            assert not mask.past.unflatten(0, (2, -1))[0].any()
        else:
            assert torch.equal(shown, by_window(available.complete)[0])
            assert not target.any()
        assert mask.past.unflatten(0, (2, -1))[1].all()


def test_random_windows_stay_as_they_were(batch: Batch) -> None:
    mixed, random = masks_of(batch, Task.SIMULATION, Task.RANDOM_MASKING), masks_of(batch, *[Task.RANDOM_MASKING] * 2)
    for name in SMALL.modalities:
        assert torch.equal(by_window(mixed[name].visible)[1], by_window(random[name].visible)[1])
        assert torch.equal(by_window(mixed[name].target)[1], by_window(random[name].target)[1])


def test_a_forecast_hides_the_last_days(batch: Batch) -> None:
    masks = masks_of(batch, Task.FORECAST, Task.FORECAST_WITHOUT_FORCING)
    for name, mask in masks.items():
        available = tokens(batch, SMALL, name)
        shown, complete, observed = (by_window(one) for one in (mask.visible, available.complete, available.observed))
        target = by_window(mask.target)
        assert torch.equal(shown[..., : DAYS - LEAD, :], complete[..., : DAYS - LEAD, :])
        assert not shown[1, ..., DAYS - LEAD :, :].any()
        if name == "flow":
            assert not shown[0, ..., DAYS - LEAD :, :].any()
            assert torch.equal(target[..., DAYS - LEAD :, :], observed[..., DAYS - LEAD :, :])
            assert not target[..., : DAYS - LEAD, :].any()
        else:
            assert torch.equal(shown[0], complete[0])
            assert not target.any()
        assert mask.past is not None
        assert mask.past.all()


def test_places_are_hidden_on_all_days(batch: Batch) -> None:
    masks = masks_of(batch, Task.SPATIAL_MASKING, Task.SPATIAL_MASKING)
    totals = {"visible": 0, "target": 0}
    for name, mask in masks.items():
        available = tokens(batch, SMALL, name)
        shown, target, observed = (by_window(one) for one in (mask.visible, mask.target, available.observed))
        hidden = target.any(2, keepdim=True)
        assert torch.equal(target, observed & hidden)
        assert not (shown & hidden).any()
        totals["visible"] += int(shown.any())
        totals["target"] += int(target.any())
    assert all(totals.values())


@pytest.mark.parametrize("task", [Task.SIMULATION, Task.FORECAST, Task.FORECAST_WITHOUT_FORCING])
@pytest.mark.parametrize("attention", ["none", "decoder", "joint"])
def test_what_is_hidden_does_not_reach_its_prediction(batch: Batch, task: Task, attention: str) -> None:
    model = make_model(replace(WITH_STATE, cross_modal_attention=attention))  # type: ignore[arg-type]
    masks = masks_of(batch, task, task)
    late = torch.arange(DAYS) >= DAYS - LEAD
    changed = batch.series["flow"].where(~late if task != Task.SIMULATION else torch.zeros(DAYS) > 0, 9.0)
    changed = torch.where(torch.isfinite(batch.series["flow"]), changed, torch.nan)
    other = replace(batch, series=batch.series | {"flow": changed})
    if task == Task.SIMULATION:
        other = moved(other, "flow")
    with torch.no_grad():
        one, two = (model(some, masks).predictions["flow"].full(DAYS) for some in (batch, other))
    torch.testing.assert_close(two, one, equal_nan=True, atol=0, rtol=0)
    assert torch.isfinite(one).any()


def test_show_all_predicts_every_day_of_its_targets(batch: Batch) -> None:
    masks = show_all(batch, SMALL, excluded=("flow",), targets=("flow",))
    assert masks["flow"].target.all()
    assert not masks["flow"].visible.any()
    assert masks["flow"].past is not None
    assert not masks["flow"].past.any()
    assert not masks["rain"].target.any()


def test_tasks_are_drawn_by_their_shares() -> None:
    shares = {Task.SIMULATION: 0.5, Task.FORECAST: 0.2}
    drawn = draw_tasks(shares, [1, 3], 7, 20_000, torch.Generator().manual_seed(0))
    for task, share in (*shares.items(), (Task.RANDOM_MASKING, 0.3)):
        assert float((drawn.task == task).double().mean()) == pytest.approx(share, abs=0.015)
    assert set(drawn.target.tolist()) == {1, 3}
    assert set(drawn.lead_time.tolist()) == set(range(1, 8))


def test_masks_that_are_drawn_need_noise(batch: Batch) -> None:
    for task in (Task.RANDOM_MASKING, Task.SPATIAL_MASKING):
        with pytest.raises(ValueError, match="noise"):
            mask_windows(batch, SMALL, WindowTasks.same(task, 2))


def by_hand(
    batch: Batch, name: str, row: int, task: Task, target: int, lead: int, noise: torch.Tensor
) -> tuple[list[bool], list[bool], bool]:
    """Mask one row of a modality, token by token; return visible and target tokens and whether the past is visible."""
    available, modality = tokens(batch, SMALL, name), SMALL.modalities[name]
    own = list(SMALL.modalities)[target] == name
    observed, complete = (tokens_of[row].tolist() for tokens_of in (available.observed, available.complete))
    lots, places = noise.flatten().tolist(), len(observed) // DAYS
    ranked = sorted((lot, token) for token, lot in enumerate(lots) if observed[token])
    masked = {token for _, token in ranked[: round(len(ranked) * modality.mask_ratio)]}
    visible, predicted = [], []
    for token in range(len(observed)):
        late, tube = token // places >= DAYS - lead, lots[token % places] < modality.mask_ratio
        hidden, scored = {
            Task.RANDOM_MASKING: (token in masked, token in masked),
            Task.SIMULATION: (own, own),
            Task.FORECAST: (own and late, own and late),
            Task.FORECAST_WITHOUT_FORCING: (late, own and late),
            Task.SPATIAL_MASKING: (tube, tube),
        }[task]
        visible.append(complete[token] and not hidden)
        predicted.append(observed[token] and scored)
    past = {
        Task.SIMULATION: not own,
        Task.SPATIAL_MASKING: modality.kind == "grid" or not lots[0] < modality.mask_ratio,
    }.get(task, True)
    return visible, predicted, past


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("first", Task)
@pytest.mark.parametrize("second", Task)
def test_every_token_is_what_its_own_window_says(batch: Batch, first: Task, second: Task, seed: int) -> None:
    """Two windows of any tasks, targets and lead times, against a loop over their tokens."""
    generator = torch.Generator().manual_seed(seed)
    targets, leads = (torch.randint(low, high, (2,), generator=generator) for low, high in ((0, 4), (1, DAYS)))
    noise = noise_of(seed)
    masks = mask_windows(batch, SMALL, WindowTasks(torch.tensor([first, second]), targets, leads), noise)
    for name, mask in masks.items():
        rows = len(mask.visible) // 2
        assert mask.past is not None
        for row in range(2 * rows):
            window = row // rows
            lots = noise[name].reshape(2 * rows, -1)[row]
            visible, target, past = by_hand(
                batch, name, row, (first, second)[window], int(targets[window]), int(leads[window]), lots
            )
            assert mask.visible[row].tolist() == visible
            assert mask.target[row].tolist() == target
            assert bool(mask.past[row]) == past


def test_every_task_has_its_mask() -> None:
    assert set(MASKS) == set(Task)
