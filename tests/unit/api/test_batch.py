"""``run.batch``: windows by dates and gauge ids, of which ``run.model.encode`` sees no river flow unless it may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from multimodal_mae.masking import show_all

import watercli as wc

DAY = "2001-06-20"


@pytest.fixture(params=["fused", "tiny"])
def run(request: pytest.FixtureRequest) -> wc.Run:
    """A causal, fused model with an antecedent state, and one without either."""
    return wc.open_run(request.getfixturevalue(f"{request.param}_run"))


def test_river_flow_is_hidden_unless_it_is_asked_for(run: wc.Run, tiny_store: wc.Store) -> None:
    """What the batch leaves out is what masks hide: in the window, and before it."""
    shown = run.batch(tiny_store, DAY, ["01001", "03003"], excluded_inputs=[])
    batch = run.batch(tiny_store, DAY, ["01001", "03003"])
    assert torch.isfinite(shown.series["riverflow"]).any()
    assert not torch.isfinite(batch.series["riverflow"]).any()
    with torch.inference_mode():
        features = run.model.encode(batch)
        masked = run.model.encode(shown, show_all(shown, run.model.config, excluded=("riverflow",)))
        seen = run.model.encode(shown)
    for name in run.config.modalities:
        assert torch.equal(features[name].valid, masked[name].valid)
        for left, right in zip(features[name].layers, masked[name].layers, strict=True):
            torch.testing.assert_close(left[features[name].valid], right[masked[name].valid])
    assert seen["riverflow"].valid.sum() > features["riverflow"].valid.sum()


def test_a_grid_can_be_excluded(run: wc.Run, tiny_store: wc.Store) -> None:
    batch = run.batch(tiny_store, DAY, "01001", excluded_inputs=["precip", "riverflow"])
    shown = run.batch(tiny_store, DAY, "01001", excluded_inputs="riverflow")
    with torch.inference_mode():
        features = run.model.encode(batch)
        masks = show_all(shown, run.model.config, excluded=("precip", "riverflow"))
        masked = run.model.encode(shown, masks)
    for name in run.config.modalities:
        torch.testing.assert_close(
            features[name].layers[-1][features[name].valid], masked[name].layers[-1][masked[name].valid]
        )


def test_windows_end_on_the_dates(run: wc.Run, tiny_store: wc.Store) -> None:
    dates = pd.date_range(DAY, periods=3)
    batch = run.batch(tiny_store, dates, ["03003", "01001"], excluded_inputs=[])
    assert (batch.windows, batch.days, batch.static.shape[1]) == (3, run.config.window_days, 2)
    evap = tiny_store.dataset["evap"].sel(catchment=["03003", "01001"], time=dates).values.T
    scale = run.checkpoint.scaling.modalities["evap"]
    np.testing.assert_allclose(batch.series["evap"][:, :, -1], scale.forward(evap), rtol=1e-5, atol=1e-6)


def test_all_catchments_of_the_run_s_own_store(run: wc.Run, tiny_store: wc.Store) -> None:
    batch = run.batch(None, DAY)
    assert batch.static.shape[:2] == (1, len(tiny_store.gauge_ids))


def test_a_store_without_river_flow_serves(fused_run: Path, tiny_store: wc.Store) -> None:
    bare = replace(
        tiny_store,
        dataset=tiny_store.dataset.drop_vars("riverflow"),
        config=tiny_store.config.model_copy(
            update={"modalities": {k: v for k, v in tiny_store.config.modalities.items() if k != "riverflow"}}
        ),
    )
    run = wc.open_run(fused_run)
    torch.testing.assert_close(
        run.batch(bare, DAY).past["riverflow"], torch.zeros_like(run.batch(tiny_store, DAY).past["riverflow"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("2000-01-02", "01001"), "windows of 10 days that end from 2000-01-10 to 2002-03-31"),
        (("2010-01-01", "01001"), "windows of 10 days"),
        (([], "01001"), "windows of 10 days"),
        (("20 June", "01001"), "date '20 June' is no date"),
        ((DAY, "01002"), "'01002'.*did you mean '02002'"),
        ((DAY, "01001", "rain"), "excluded_inputs names 'rain'"),
    ],
)
def test_mistakes(fused_run: Path, tiny_store: wc.Store, arguments: tuple[str, ...], message: str) -> None:
    excluded = {"excluded_inputs": arguments[2]} if len(arguments) > 2 else {}
    with pytest.raises(wc.ConfigError, match=message):
        wc.open_run(fused_run).batch(tiny_store, *arguments[:2], **excluded)
