"""What windows ask: which tokens are hidden, which are asked for, and that nothing hidden reaches its prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.masking import (
    Task,
    TokenMask,
    WindowTasks,
    apply_tasks,
    draw_noise,
    draw_tasks,
    mask_batch,
    show_all,
    tokens,
)

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_model
from tests.unit.multimodal_mae.test_antecedent_state import REMEMBERING, moved, with_past
from tests.unit.multimodal_mae.test_cross_modal import DRAINS

FLOW = list(SMALL.modalities).index("flow")
DAYS, LEAD = 6, 2


@pytest.fixture
def batch() -> Batch:
    return with_past(replace(make_batch(SMALL, missing=0.1), patch_index=DRAINS))


def masks_of(batch: Batch, *kinds: Task) -> dict[str, TokenMask]:
    """Return masks of windows that ask for flow, the last `LEAD` days of it if they ask for a forecast."""
    noise = draw_noise(SMALL, windows=2, catchments=3, days=DAYS, generator=torch.Generator().manual_seed(0))
    asked = WindowTasks(torch.tensor(kinds), torch.full((2,), FLOW), torch.full((2,), LEAD))
    return apply_tasks(batch, SMALL, mask_batch(batch, SMALL, noise), asked, noise)


def by_window(mask: torch.Tensor) -> torch.Tensor:
    """``[R, N]`` to ``[B, rows, days, places]``."""
    return mask.unflatten(0, (2, -1)).unflatten(-1, (DAYS, -1))


def test_a_simulation_hides_the_series_and_its_past_and_shows_all_else(batch: Batch) -> None:
    masks = masks_of(batch, Task.SIMULATION, Task.RANDOM)
    for name, mask in masks.items():
        have = tokens(batch, SMALL, name)
        shown, wanted = by_window(mask.visible)[0], by_window(mask.target)[0]
        assert mask.past is not None
        if name == "flow":
            assert not shown.any()
            assert torch.equal(wanted, by_window(have.observed)[0])
            assert not mask.past.unflatten(0, (2, -1))[0].any()
        else:
            assert torch.equal(shown, by_window(have.complete)[0])
            assert not wanted.any()
        assert mask.past.unflatten(0, (2, -1))[1].all()


def test_random_windows_stay_as_they_were(batch: Batch) -> None:
    asked, random = masks_of(batch, Task.SIMULATION, Task.RANDOM), masks_of(batch, *[Task.RANDOM] * 2)
    for name in SMALL.modalities:
        assert torch.equal(by_window(asked[name].visible)[1], by_window(random[name].visible)[1])
        assert torch.equal(by_window(asked[name].target)[1], by_window(random[name].target)[1])


def test_a_forecast_hides_the_last_days(batch: Batch) -> None:
    masks = masks_of(batch, Task.FORECAST, Task.FORECAST_WITHOUT_FORCING)
    for name, mask in masks.items():
        have = tokens(batch, SMALL, name)
        shown, complete, observed = (by_window(one) for one in (mask.visible, have.complete, have.observed))
        wanted = by_window(mask.target)
        assert torch.equal(shown[..., : DAYS - LEAD, :], complete[..., : DAYS - LEAD, :])
        assert not shown[1, ..., DAYS - LEAD :, :].any()
        if name == "flow":
            assert not shown[0, ..., DAYS - LEAD :, :].any()
            assert torch.equal(wanted[..., DAYS - LEAD :, :], observed[..., DAYS - LEAD :, :])
            assert not wanted[..., : DAYS - LEAD, :].any()
        else:
            assert torch.equal(shown[0], complete[0])
            assert not wanted.any()
        assert mask.past is not None
        assert mask.past.all()


def test_places_are_hidden_on_all_days(batch: Batch) -> None:
    masks = masks_of(batch, Task.SPATIAL_MASKING, Task.SPATIAL_MASKING)
    some = {"visible": 0, "target": 0}
    for name, mask in masks.items():
        have = tokens(batch, SMALL, name)
        shown, wanted, observed = (by_window(one) for one in (mask.visible, mask.target, have.observed))
        hidden = wanted.any(2, keepdim=True)
        assert torch.equal(wanted, observed & hidden)
        assert not (shown & hidden).any()
        some["visible"] += int(shown.any())
        some["target"] += int(wanted.any())
    assert all(some.values())


@pytest.mark.parametrize("kind", [Task.SIMULATION, Task.FORECAST, Task.FORECAST_WITHOUT_FORCING])
@pytest.mark.parametrize("fusion", ["none", "decoder", "joint"])
def test_what_is_hidden_does_not_reach_its_prediction(batch: Batch, kind: Task, fusion: str) -> None:
    model = make_model(replace(REMEMBERING, cross_modal_attention=fusion))  # type: ignore[arg-type]
    masks = masks_of(batch, kind, kind)
    late = torch.arange(DAYS) >= DAYS - LEAD
    changed = batch.series["flow"].where(~late if kind != Task.SIMULATION else torch.zeros(DAYS) > 0, 9.0)
    changed = torch.where(torch.isfinite(batch.series["flow"]), changed, torch.nan)
    other = replace(batch, series=batch.series | {"flow": changed})
    if kind == Task.SIMULATION:
        other = moved(other, "flow")
    with torch.no_grad():
        one, two = (model(some, masks)["flow"].full(DAYS) for some in (batch, other))
    torch.testing.assert_close(two, one, equal_nan=True, atol=0, rtol=0)
    assert torch.isfinite(one).any()


def test_show_all_asks_for_every_day_of_what_is_asked_for(batch: Batch) -> None:
    masks = show_all(batch, SMALL, excluded=("flow",), targets=("flow",))
    assert masks["flow"].target.all()
    assert not masks["flow"].visible.any()
    assert masks["flow"].past is not None
    assert not masks["flow"].past.any()
    assert not masks["rain"].target.any()


def test_questions_are_drawn_by_their_shares() -> None:
    shares = {Task.SIMULATION: 0.5, Task.FORECAST: 0.2}
    drawn = draw_tasks(shares, [1, 3], 7, 20_000, torch.Generator().manual_seed(0))
    for kind, share in (*shares.items(), (Task.RANDOM, 0.3)):
        assert float((drawn.kind == kind).double().mean()) == pytest.approx(share, abs=0.015)
    assert set(drawn.target.tolist()) == {1, 3}
    assert set(drawn.lead_time.tolist()) == set(range(1, 8))
