"""The model's settings stand once: a user's configuration is the structure that the model is built from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest
from multimodal_mae.config import LayersByKind, MAEConfig, Structure

from tests.unit.multimodal_mae.conftest import SMALL
from watercli.config import load, parse, with_overrides
from watercli.data.structure import model_config
from watercli.errors import ConfigError


def test_a_users_structure_is_the_models() -> None:
    config = with_overrides(load("demo"), ["model.width=32", "model.use_fm_layers={grid: [0, 2]}"])
    built = model_config(config, SMALL.grid, attributes=3)
    assert isinstance(config.model, Structure)
    assert {setting.name: getattr(built, setting.name) for setting in fields(Structure)} == vars(config.model)
    assert config.model.use_fm_layers == LayersByKind(grid=(0, 2))
    assert parse(config.to_yaml(), origin="here") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.widht=32", "Unknown setting 'model.widht' in --set; did you mean 'width'?"),
        ("model.antecedent_state={widht: 8}", "'model.antecedent_state.widht' in --set; did you mean 'width'?"),
        ("model.use_fm_layers={grids: [2]}", "'model.use_fm_layers.grids' in --set; did you mean 'grid'?"),
        ("model.width=0", "Setting 'model.width' in --set (is 0): input should be greater than 0"),
        ("model.heads=3", "Setting 'model.width' in --set: 128 is no multiple of heads (3)"),
        ("model.use_fm_layers=all", "Setting 'model.use_fm_layers' in --set (is 'all')"),
        ("model=large", "Setting 'model' in --set (is 'large'): must be a mapping of settings"),
    ],
)
def test_a_mistake_names_the_setting(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load("demo", [override])
    assert message in str(error.value)


@pytest.mark.parametrize("layers", [(0, 2), LayersByKind(grid=(0, 2))])
def test_a_list_of_layers_is_for_grids(layers: tuple[int, ...] | LayersByKind) -> None:
    config = MAEConfig.of(Structure(grid_layers=3, use_fm_layers=layers), SMALL.modalities, SMALL.grid, attributes=3)
    assert config.map_layers("grid") == (0, 2)
    assert config.map_layers("series") == (0, 1, 2, 3)


def test_a_configuration_is_read_without_torch() -> None:
    code = "import sys, watercli.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
