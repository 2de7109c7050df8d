"""A pass through the model returns what was named, and the same whatever else was named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.tasks import Task, WindowTasks, mask_windows

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_model
from tests.unit.multimodal_mae.test_antecedent_state import WITH_STATE, with_past
from tests.unit.multimodal_mae.test_cross_modal import OVERLAPS

FLOW = list(SMALL.modalities).index("flow")
APART = {name: replace(modality, feeds_catchments=False) for name, modality in SMALL.modalities.items()
         if modality.kind == "grid"}  # fmt: skip
"""Grids that no catchment reads."""


@pytest.fixture
def batch() -> Batch:
    return with_past(replace(make_batch(SMALL, missing=0.1), patch_index=OVERLAPS))


@pytest.fixture(params=["alone", "cross-modal", "grids apart"])
def config(request: pytest.FixtureRequest) -> MAEConfig:
    return {
        "alone": SMALL,
        "cross-modal": WITH_STATE,
        "grids apart": replace(WITH_STATE, modalities=SMALL.modalities | APART),
    }[request.param]


def test_only_what_is_named_is_computed(config: MAEConfig, batch: Batch) -> None:
    model = make_model(config)
    masks = mask_windows(batch, config, WindowTasks.same(Task.SIMULATION, 2, target=FLOW))
    with torch.no_grad():
        output = model(batch, masks, names=["flow"], features=["rain"])
        every = model(batch, masks)
        features = model.encode(batch, masks, ["rain", "loss"])
    assert list(output.predictions) == list(output.decoder_states) == ["flow"]
    assert set(output.features) == {*config.read_by("flow"), "rain"}
    assert list(every.predictions) == list(every.features) == list(config.modalities)
    assert list(features) == ["rain", "loss"]
    torch.testing.assert_close(output.predictions["flow"].values, every.predictions["flow"].values)


def test_features_do_not_depend_on_what_is_predicted(config: MAEConfig, batch: Batch) -> None:
    model = make_model(config)
    masks = mask_windows(batch, config, WindowTasks.same(Task.SIMULATION, 2, target=FLOW))
    with torch.no_grad():
        alone, beside = model.encode(batch, masks), model(batch, masks, ["flow"], config.modalities).features
    for name, features in alone.items():
        assert features.valid.any()
        given = beside[name]
        for left, right in zip((*features.layers, *features.maps), (*given.layers, *given.maps), strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_predictions_are_the_heads_of_decoder_states(config: MAEConfig, batch: Batch) -> None:
    model = make_model(config)
    masks = mask_windows(batch, config, WindowTasks.same(Task.FORECAST, 2, target=FLOW, lead_time=3))
    with torch.no_grad():
        output = model(batch, masks)
        for name, states in output.decoder_states.items():
            torch.testing.assert_close(model.decoders[name].head(states), output.predictions[name].values)
