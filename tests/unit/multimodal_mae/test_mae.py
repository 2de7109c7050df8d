"""The figures of the report, from the shipped configurations."""

from __future__ import annotations

import pytest
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import GridConfig, MAEConfig
from multimodal_mae.encoder import GridEncoder, SeriesEncoder
from multimodal_mae.feature_maps import WeightedFeatureMaps
from multimodal_mae.mae import MultiModalMAE, total_loss
from multimodal_mae.masking import Selection

from tests.unit.multimodal_mae.conftest import make_masks
from watercli.config import load
from watercli.data.structure import model_config

FIGURES = {
    "report-crossmae": {"all": 25_596_846, "tensors": 623, "grid": 1_002_724, "series": 923_137},
    "report-crossmae-wfm": {"all": 25_607_190, "tensors": 668, "grid": 1_004_796, "series": 925_201},
}


def structure(name: str) -> MAEConfig:
    config = load(name)
    assert config.shape is not None
    # Any 94 patches: which ones changes no figure.
    grid = GridConfig(config.shape.grid, config.shape.patch_size, tuple(range(200, 200 + config.shape.land_patches)))
    return model_config(config, grid, config.shape.attributes)


def size(*modules: torch.nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.fixture(scope="module", params=list(FIGURES))
def report(request: pytest.FixtureRequest) -> tuple[str, MultiModalMAE]:
    torch.manual_seed(0)
    return request.param, MultiModalMAE(structure(request.param))


def test_parameters(report: tuple[str, MultiModalMAE]) -> None:
    name, model = report
    figures = FIGURES[name]
    assert size(model) == figures["all"]
    for modality, config in model.config.modalities.items():
        encoder = {"grid": 4_788_992, "series": 3_187_712}[config.kind]
        assert size(model.encoders[modality]) == encoder
        maps = [model.feature_maps[modality]] if modality in model.feature_maps else []
        assert size(model.decoders[modality], *maps) == figures[config.kind]


def test_every_tensor_receives_a_gradient(report: tuple[str, MultiModalMAE]) -> None:
    name, model = report
    config = model.config
    assert config.grid is not None
    land = len(config.grid.land_patches), config.grid.values
    batch = Batch(
        grids={one: torch.randn(2, 5, *land) for one in config.of_kind("grid")},
        cells={one: torch.ones(land, dtype=torch.bool) for one in config.of_kind("grid")},
        series={one: torch.randn(2, 1, 5) for one in config.of_kind("series")},
        static=torch.randn(2, 1, 11),
    )
    model.zero_grad()
    total_loss(model(batch, make_masks(batch, config)).predictions, config).backward()
    received = [parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters()]
    assert sum(received) == len(received) == FIGURES[name]["tensors"]


def test_shapes_of_encoders(report: tuple[str, MultiModalMAE]) -> None:
    name, model = report
    layers = {"report-crossmae": (1, 1), "report-crossmae-wfm": (6, 4)}[name]
    patches = torch.randn(2, 5, 522, 100)
    visible = torch.zeros(2, 5 * 522, dtype=torch.bool)
    visible[:, 200:294] = True
    encoder = model.encoders["precip"]
    assert isinstance(encoder, GridEncoder)
    features = encoder(patches, visible)
    assert [tuple(layer.shape) for layer in features.layers] == [(2, 94, 256)] * layers[0]
    encoder = model.encoders["riverflow"]
    assert isinstance(encoder, SeriesEncoder)
    seen = torch.arange(20).expand(2, 20) < 8
    features = encoder(torch.randn(2, 20), torch.randn(2, 11), seen)
    assert [tuple(layer.shape) for layer in features.layers] == [(2, 9, 256)] * layers[1]


@pytest.mark.parametrize(("modality", "tokens", "days", "values"), [("precip", 5 * 522, 5, 100), ("evap", 20, 20, 1)])
def test_shapes_of_decoders(
    report: tuple[str, MultiModalMAE], modality: str, tokens: int, days: int, values: int
) -> None:
    from multimodal_mae.encoder import Features

    _, model = report
    length = 100 if values > 1 else 10
    number = model.config.decoder_layers if model.config.use_weighted_fm else 1
    index = torch.arange(length).expand(2, length)
    maps = tuple(torch.randn(2, length, 256) for _ in range(number))
    features = Features((), index, torch.ones(2, length, dtype=torch.bool), index, maps)
    queries = Selection(torch.arange(tokens).expand(2, tokens), torch.ones(2, tokens, dtype=torch.bool))
    predicted, states = model.decoders[modality](features, queries, days)
    assert predicted.shape == (2, tokens, values)
    assert states.shape == (2, tokens, model.config.decoder_width)


def test_weighted_feature_maps_of_the_report() -> None:
    maps = WeightedFeatureMaps(6, 4, 256)
    assert maps.weight.numel() == 24
    assert WeightedFeatureMaps(4, 4, 256).weight.numel() == 16
    stacked = torch.stack(maps([torch.randn(2, 50, 256) for _ in range(6)]), dim=-1)
    assert stacked.shape == (2, 50, 256, 4)
