"""What is carried into a window is what reading every day before it would give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from multimodal_mae.config import AntecedentStateConfig
from multimodal_mae.moving_averages import carry

from tests.conftest import FUSED
from watercli.config import with_overrides
from watercli.data.reader import WindowReader
from watercli.data.scaling import Scaling
from watercli.data.state_cache import EVERY, History
from watercli.store import Store

SHORT = AntecedentStateConfig(time_constants=(1.0, 5.0, 30.0), recent_days=4)  # reaches 120 days back
LONG = AntecedentStateConfig(time_constants=(2.0, 4000.0), recent_days=1)  # further than the store


@pytest.mark.parametrize("config", [SHORT, LONG])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_what_all_days_before_leave(config: AntecedentStateConfig, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 400, generator=generator)
    values[torch.rand(5, 400, generator=generator) < 0.3] = torch.nan
    values[3, 100:] = torch.nan  # what stopped long ago is forgotten
    weight = torch.rand(5, 400, generator=generator) if weighted else None
    history = History(values, config, weight)
    days = torch.tensor([0, 1, 3, EVERY - 1, EVERY, EVERY + 1, 250, 399, 400])
    places = torch.tensor([[0, 3, 4]]).expand(len(days), -1)
    found = history.before(days, places)
    for row, day in enumerate(days.tolist()):
        before = slice(max(day - config.past_days, 0), day)
        some = values[[0, 3, 4], before]
        counts = torch.isfinite(some).float() * (1 if weight is None else weight[[0, 3, 4], before])
        torch.testing.assert_close(found[row], carry(some.nan_to_num(), counts, config), rtol=1e-4, atol=1e-6)
    assert (found[0] == 0).all()


def test_a_reader_hands_it_over_for_series_patches_and_what_catchments_drain(tiny_store: Store) -> None:
    config = with_overrides(tiny_store.config, FUSED)
    assert config.model.antecedent_state is not None
    state = config.model.antecedent_state
    reader = WindowReader(tiny_store, config, Scaling.of(tiny_store, config))
    start, catchments = 75, np.array([[4, 1]])
    batch = reader.read(np.array([start]), catchments)
    earlier = reader.read(np.arange(start), np.tile(catchments, (start, 1)))  # first days of windows, one by one

    def carried(values: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        there = torch.isfinite(values).float() if weight is None else weight
        return carry(values.nan_to_num(), there, state)

    for name, values in earlier.series.items():
        torch.testing.assert_close(batch.past[name][0], carried(values[..., 0].T), rtol=1e-4, atol=1e-5)
    land = tiny_store.land_patches
    for name, grid in earlier.grids.items():
        means = grid[:, 0].nanmean(-1).T
        torch.testing.assert_close(batch.past[name][0], carried(means), rtol=1e-4, atol=1e-5)
        assert batch.patch_index is not None
        assert batch.patch_weight is not None
        for row in range(2):
            own, share = batch.patch_index[0, row], batch.patch_weight[0, row]
            which = [int(np.flatnonzero(land == int(patch))[0]) for patch in own if patch in land]
            share = share[[i for i, patch in enumerate(own) if patch in land]][:, None]
            there = share * torch.isfinite(means[which])
            mean = (share * means[which].nan_to_num()).sum(0) / there.sum(0).clamp_min(1e-6)
            found = batch.catchment_grid_past[name][0, row]
            torch.testing.assert_close(found, carried(mean[None], there.sum(0)[None])[0], rtol=1e-4, atol=1e-5)
