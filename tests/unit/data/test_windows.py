"""Windows, what a step draws, and what is read for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from watercli.config import with_overrides
from watercli.data.blocks import to_patches
from watercli.data.held_out import regions
from watercli.data.reader import WindowReader
from watercli.data.scaling import Scaling
from watercli.data.steps import Steps, fixed_steps
from watercli.data.structure import store_model_config
from watercli.data.windows import Windows, draw_catchments, draw_starts
from watercli.errors import ConfigError
from watercli.run.directory import open_run
from watercli.store import Store
from watercli.transforms import TRANSFORMS


@given(
    first=st.integers(0, 50),
    length=st.integers(5, 60),
    days=st.integers(2, 5),
    batch=st.integers(1, 4),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_every_window_comes_once_in_an_epoch(first: int, length: int, days: int, batch: int, seed: int) -> None:
    windows = Windows.within(slice(first, first + length), days, "training")
    assert windows.last + days == first + length
    drawn = [draw_starts(windows, step=step, batch=batch, seed=seed) for step in range(len(windows))]
    assert sorted(np.concatenate(drawn)[: len(windows)]) == list(range(windows.first, windows.last + 1))


def test_catchments_that_tell_come_first() -> None:
    rng = np.random.default_rng(0)
    with_target = rng.random((200, 7)) < 0.5
    drawn = draw_catchments(with_target, 3, rng)
    assert drawn.shape == (200, 3)
    assert (np.diff(drawn, axis=1) > 0).all()
    for row, told in zip(drawn, with_target, strict=True):
        assert told[row].sum() == min(told.sum(), 3)
    assert np.bincount(draw_catchments(np.ones((700, 7), bool), 3, rng).ravel()).min() > 240  # of 300
    assert draw_catchments(np.ones((2, 2), bool), 3, rng).tolist() == [[0, 1], [0, 1]]
    assert draw_catchments(np.ones((2, 0), bool), 3, rng).shape == (2, 0)


def test_a_window_that_asks_for_flow_draws_gauges_that_have_it(tiny_store: Store) -> None:
    """Two of six catchments have a gauge that is not hidden: they are drawn wherever river flow is asked for."""
    hidden = [gauge for at, gauge in enumerate(tiny_store.gauge_ids) if at not in (2, 4)]
    overrides = [
        "train.tasks={simulation: 0.4, forecast_without_forcing: 0.2}",
        "train.catchments_per_window=3",
        "train.batch_size=8",
        f"train.held_out_gauges={{gauges: {hidden}}}",
    ]
    config = with_overrides(tiny_store.config, overrides)
    reader = WindowReader(tiny_store, config, Scaling.of(tiny_store, config))
    training = Windows.within(tiny_store.period("train"), config.window_days, "train")
    steps = Steps(reader, training, config, store_model_config(config, tiny_store))
    drawn: dict[bool, list[float]] = {True: [], False: []}
    for number in range(6):
        step = steps[number]
        gauged = torch.isfinite(step.batch.series["riverflow"]).any(-1).sum(1)
        random = step.masks["evap"].target.any(-1).unflatten(0, (8, 3)).any(-1)
        for asks_all, count in zip(random, gauged, strict=True):
            drawn[bool(asks_all)].append(float(count))
    assert np.mean(drawn[False]) > 1.8  # a gap may leave one of them without a value in a window
    assert np.mean(drawn[True]) < 1.4
    assert min(len(one) for one in drawn.values()) > 10


def test_a_period_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="validation period has 20 days, fewer than window"):
        Windows.within(slice(10, 30), 21, "validation")


def test_spread_covers_the_period() -> None:
    windows = Windows(100, 399, 30)
    assert windows.spread(4).tolist() == [100, 200, 299, 399]
    assert windows.spread(10_000).tolist() == list(range(100, 400))


@pytest.fixture(scope="module")
def reader(tiny_store: Store) -> WindowReader:
    return WindowReader(tiny_store, tiny_store.config, Scaling.of(tiny_store, tiny_store.config))


def test_batches_hold_the_stores_values(reader: WindowReader, tiny_store: Store) -> None:
    """Read back to physical units, a batch is a slice of the store, and missing is still missing."""
    starts, catchments = np.array([3, 700]), np.array([[0, 5], [2, 4]])
    batch = reader.read(starts, catchments)
    for name in ("precip", "riverflow"):
        stored, scale = tiny_store.dataset[name], reader.scaling.modalities[name]
        values = batch.grids[name] if name in batch.grids else batch.series[name]
        for row, start in enumerate(starts):
            days = slice(start, start + tiny_store.config.window_days)
            if name == "precip":
                wanted = to_patches(stored.values[days], tiny_store.patch_size)[:, tiny_store.land_patches]
            else:
                wanted = stored.values[catchments[row], days]
            np.testing.assert_allclose(scale.inverse(values[row].numpy()), wanted, rtol=1e-3, atol=1e-3)
    assert np.isnan(tiny_store.dataset["riverflow"].values).any(), "the demo has gaps"
    assert torch.isfinite(batch.static).all()


def test_training_values_are_standardised(reader: WindowReader, tiny_store: Store) -> None:
    period = tiny_store.period("train")
    for name in ("precip", "riverflow"):
        scale = reader.scaling.modalities[name]
        values = tiny_store.dataset[name].isel(time=period).values
        if name == "precip":
            values = values[:, tiny_store.dataset["land_fraction"].values > 0]
        scaled = scale.forward(values)
        assert np.nanmean(scaled) == pytest.approx(0, abs=1e-3)
        assert np.nanstd(scaled) == pytest.approx(1, abs=1e-3)


def test_how_often_a_day_is_shown() -> None:
    windows, sample, catchments = Windows(20, 58, 7), 3, 5
    shown = np.zeros((catchments, 100))
    for step in range(12):
        starts = draw_starts(windows, step=step, batch=4, seed=1)
        which = draw_catchments(np.ones((4, catchments), dtype=bool), sample, np.random.default_rng(step))
        for start, some in zip(starts, which, strict=True):
            shown[some, start : start + 7] += 1
    assert shown[:, 20:65].mean() == pytest.approx(windows.showings(48, sample, catchments))
    assert shown[:, 65:].sum() == 0
    assert windows.showings(48, 9, catchments) == windows.showings(48, 5, 0) == 48 * 7 / 45


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_transforms_invert(name: str) -> None:
    transform = TRANSFORMS[name]  # type: ignore[index]
    x = np.array([0.0, 0.004, 0.3, 7, 180, np.nan])
    np.testing.assert_allclose(transform.inverse(transform.forward(x)), x, rtol=1e-6, atol=1e-9)
    assert (np.diff(transform.forward(x[:-1])) > 0).all()


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_step_is_the_same_for_any_number_of_processes(reader: WindowReader, tiny_store: Store, world: int) -> None:
    config = with_overrides(tiny_store.config, ["train.batch_size=4"])
    structure = store_model_config(config, tiny_store)
    windows = Windows.within(tiny_store.period("train"), config.window_days, "training")
    whole = Steps(reader, windows, config, structure)[5]
    parts = [Steps(reader, windows, config, structure, rank, world)[5] for rank in range(world)]
    for name in config.modalities:
        visible = torch.cat([part.masks[name].visible for part in parts])
        assert torch.equal(visible, whole.masks[name].visible)
    flow = torch.cat([part.batch.series["riverflow"] for part in parts])
    torch.testing.assert_close(flow, whole.batch.series["riverflow"], equal_nan=True)


def test_steps_differ_in_windows_and_masks(reader: WindowReader, tiny_store: Store) -> None:
    config = tiny_store.config
    structure = store_model_config(config, tiny_store)
    steps = Steps(reader, Windows.within(tiny_store.period("train"), config.window_days, "training"), config, structure)
    one, two = steps[0], steps[1]
    assert not torch.equal(one.masks["evap"].visible, two.masks["evap"].visible)
    assert not torch.equal(one.batch.grids["temp"], two.batch.grids["temp"])


def test_training_windows_lie_in_the_training_period(tiny_store: Store) -> None:
    windows = Windows.within(tiny_store.period("train"), tiny_store.config.window_days, "training")
    last = tiny_store.times[windows.last + windows.days - 1]
    assert f"{last:%Y-%m-%d}" == "2001-06-30"


def test_validation_masks_are_fixed(reader: WindowReader, tiny_store: Store) -> None:
    config = tiny_store.config
    structure, starts = store_model_config(config, tiny_store), np.array([600, 610, 620])
    one, two = (fixed_steps(reader, starts, config, structure, catchments=3, size=2) for _ in range(2))
    assert [step.batch.windows for step in one] == [2, 1]
    for left, right in zip(one, two, strict=True):
        assert torch.equal(left.masks["precip"].target, right.masks["precip"].target)


def test_a_run_keeps_its_scaling(tiny_run: Path, tiny_store: Store) -> None:
    assert open_run(tiny_run).scaling == Scaling.of(tiny_store, tiny_store.config)


def test_regions_are_compact_and_of_equal_size() -> None:
    rng = np.random.default_rng(0)
    latitude, longitude = rng.uniform(50, 58, 66), rng.uniform(-5, 1, 66)
    for number in (2, 3, 4, 5):
        found = regions(latitude, longitude, number)
        sizes = np.bincount(found, minlength=number)
        assert len(sizes) == number
        assert sizes.max() - sizes.min() <= 2
    # Cut once across the longer side, the north to the south, which no gauge then crosses.
    halves = regions(latitude, longitude, 2)
    assert latitude[halves == 0].max() <= latitude[halves == 1].min()
