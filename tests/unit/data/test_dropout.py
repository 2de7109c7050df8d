"""Inputs that training takes as missing: drawn by the seed, whatever the number of processes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from watercli.config import with_overrides
from watercli.data.reader import WindowReader
from watercli.data.scaling import Scaling
from watercli.data.steps import Steps, fixed_steps
from watercli.data.structure import store_model_config
from watercli.data.windows import Windows
from watercli.errors import ConfigError
from watercli.store import Store

TASKS = ("train.tasks={simulation: 1.0}", "train.batch_size=8")
DROPS = ("train.attribute_dropout=0.3", "modalities.evap.dropout=0.5", *TASKS)


def steps_of(store: Store, *overrides: str, rank: int = 0, world: int = 1) -> Steps:
    config = with_overrides(store.config, overrides)
    reader = WindowReader(store, config, Scaling.of(store, config))
    training = Windows.within(store.period("train"), config.window_days, "train")
    return Steps(reader, training, config, store_model_config(config, store), rank, world)


def test_one_process_or_two(tiny_store: Store) -> None:
    whole = steps_of(tiny_store, *DROPS)[3]
    halves = [steps_of(tiny_store, *DROPS, rank=rank, world=2)[3] for rank in range(2)]
    torch.testing.assert_close(
        torch.cat([half.batch.static for half in halves]), whole.batch.static, equal_nan=True, rtol=0, atol=0
    )
    seen = torch.cat([half.masks["evap"].visible for half in halves])
    assert torch.equal(seen, whole.masks["evap"].visible)
    shown = whole.masks["evap"].visible.any(1).float().mean()
    assert 0.2 < shown < 0.8
    assert 0.3 < torch.isnan(whole.batch.static).float().mean() < 0.7
    assert whole.masks["riverflow"].target.any(1).all()


def test_nothing_else_is_drawn_otherwise(tiny_store: Store) -> None:
    """Windows, catchments and masks are those of a training without dropout; values that are known are the same."""
    plain, dropping = steps_of(tiny_store, *TASKS)[1], steps_of(tiny_store, *DROPS)[1]
    known = torch.isfinite(dropping.batch.static)
    assert torch.equal(plain.batch.static[known], dropping.batch.static[known])
    assert torch.equal(plain.masks["riverflow"].target, dropping.masks["riverflow"].target)
    assert torch.equal(plain.batch.grids["precip"].nan_to_num(), dropping.batch.grids["precip"].nan_to_num())


def test_validation_drops_nothing(tiny_store: Store) -> None:
    config = with_overrides(tiny_store.config, DROPS)
    reader = WindowReader(tiny_store, config, Scaling.of(tiny_store, config))
    structure = store_model_config(config, tiny_store)
    assert structure.attribute_flags
    (step,) = fixed_steps(reader, np.array([600, 620]), config, structure, catchments=4, size=2)
    assert torch.isfinite(step.batch.static).all()
    assert step.masks["evap"].visible.any(1).all()


def test_only_a_fraction_can_be_dropped(tiny_store: Store) -> None:
    with pytest.raises(ConfigError, match=r"modalities.evap.dropout.*less than 1"):
        with_overrides(tiny_store.config, ["modalities.evap.dropout=1.0"])


def test_what_the_same_catchments_lack_is_missing_at_once(tiny_store: Store) -> None:
    """Two attributes that one catchment lacks come from a table; they are missing together elsewhere too."""
    dataset = tiny_store.dataset.copy()
    static = dataset["static"].values.copy()
    static[1, :2] = np.nan
    gappy = replace(tiny_store, dataset=dataset.assign(static=(dataset["static"].dims, static)))
    steps = steps_of(gappy, "train.attribute_dropout=0.1", *TASKS)
    config = with_overrides(gappy.config, [])
    reader = WindowReader(gappy, config, Scaling.of(gappy, config))
    assert reader.attribute_sets.tolist() == [[True, True] + [False] * (static.shape[1] - 2)]
    missing = torch.cat([torch.isnan(steps[step].batch.static).flatten(0, 1) for step in range(12)])
    both, third = missing[:, :2].all(1), missing[:, 2]
    assert (both & ~third).float().mean() > 0.15
    assert 0.1 < third.float().mean() < 0.3
