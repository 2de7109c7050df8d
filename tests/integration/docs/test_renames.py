"""The table of renames covers the settings of 0.1.0, leads to settings of today, and converts a configuration."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from watercli import config
from watercli.config import Config
from watercli.config.loading import section_in

ROOT = Path(__file__).parents[3]
OLD = (Path(__file__).parent / "settings-0.1.0.txt").read_text(encoding="utf-8").split()
"""Dotted names of all settings at commit 4484633."""
OLD_RECIPE = """
name: old
recipe:
  period: {start: 2010-01-01, end: 2010-12-31}
  splits:
    train: {start: 2010-01-01, end: 2010-06-30}
    validation: {start: 2010-07-01, end: 2010-09-30}
    test: {start: 2010-10-01, end: 2010-12-31}
  grid: {least_covered: 0.4}
  catchments:
    tables: [{files: attributes.csv}]
    attributes:
      chalk: {column: lithology, equals: chalk}
      window: {column: windows}
    unmatched: refuse
modalities:
  precip:
    kind: grid
    source: {reader: grid, variable: tp, files: "*.nc", daily: {how: sum, stamp: end, starts: 9}}
    drained: false
  memory:
    kind: series
    source: {reader: pet, variable: oudin, of: {tmean: temperature}}
    loss: standardised
  riverflow:
    kind: series
    source: {reader: table, variable: flow, files: "*.csv", table: {missing: [-999]}}
    loss: nse
window: 15
model: {fusion: keys, fusion_layers: 2, memory: {recent: 3}, grid_attention: day, grid_keys: day}
train:
  windows: 4
  questions: {of: [riverflow], places: 0.1, blind_forecast: 0.2, longest_lead: 5}
  hidden_gauges: {folds: 4, fold: 0}
  averaging: 2
evaluate: {protocols: [simulation, few_labels], methods: [simulation, corrected, moving_average], longest_lead: 5}
embed: {hide: [riverflow], pools: [last]}
"""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RENAMES = load(ROOT / "docs" / "convert.py")


def today(section: type = Config, path: str = "") -> set[str]:
    """Return the dotted names of all settings, with NAME for a name of the user's choice and N for a list's item."""
    names = set()
    for name, field in config.fields_of(section).items():
        names.add(path + name)
        inner = section_in(field.annotation)
        if inner is not None:
            written = str(field.annotation)
            step = "NAME." if written.startswith("dict[") else "N." if written.startswith("tuple[") else ""
            names |= today(inner, f"{path}{name}.{step}")
    return names


def without_items(path: str) -> str:
    return re.sub(r"\.N\b", "", path)


def test_old_settings_are_renamed_or_still_there() -> None:
    known = {without_items(path) for path in today()}
    lost = [path for path in OLD if path not in RENAMES.SETTINGS and without_items(path) not in known]
    assert not lost
    assert len(OLD) > 150


def test_new_settings_of_the_table_exist() -> None:
    known = {without_items(path) for path in today()}  # a list of one may be written as the item itself
    assert len(RENAMES.SETTINGS) > 40
    assert not [new for new in RENAMES.SETTINGS.values() if without_items(new) not in known]
    assert not [setting for setting, _ in RENAMES.VALUES if without_items(setting) not in known]


def test_renamed_settings_are_old_ones_that_are_gone() -> None:
    assert not set(RENAMES.SETTINGS) - set(OLD)
    assert not set(RENAMES.SETTINGS) & today()


def test_an_old_configuration_converts() -> None:
    converted = config.parse(yaml.safe_dump(RENAMES.convert(yaml.safe_load(OLD_RECIPE))), origin="converted")
    assert converted.train.tasks.forecast_without_forcing == 0.2
    assert converted.evaluate.methods == ("simulation", "neighbour_correction", "ema_mlp")
    assert converted.model.cross_modal_attention == "decoder"
    assert "memory" in converted.modalities, "a modality keeps the name that the user gave it"
    assert converted.recipe is not None
    assert converted.recipe.catchments is not None
    assert "window" in converted.recipe.catchments.attributes


@pytest.mark.parametrize("heading", ["Files and modules", "Tests"])
def test_new_files_exist(heading: str) -> None:
    pairs: list[Any] = RENAMES.table(heading)
    assert len(pairs) > 50
    missing = [new for _, new in pairs if not (ROOT / new).exists()]
    assert not missing
