"""What YAML takes for another thing than its author wrote."""

from __future__ import annotations

import pytest

from tests import factory
from watercli.config import load, parse
from watercli.errors import ConfigError


@pytest.mark.parametrize(("written", "number"), [("[01001, 02008]", 513), ("['02008', 010]", 8), ("12:30", 750)])
def test_ids_that_yaml_reads_as_other_numbers(written: str, number: int) -> None:
    text = factory.RECIPE.replace("  catchments:\n", f"  catchments:\n    gauges: {written}\n", 1)
    assert text != factory.RECIPE
    line = text[: text.index("gauges:")].count("\n") + 1
    with pytest.raises(ConfigError, match=rf"which YAML reads as the number {number}, at line {line}; write it in quo"):
        parse(text, origin="recipe.yaml")
    with pytest.raises(ConfigError, match=rf"--set recipe.catchments.gauges.* as the number {number}; write it in quo"):
        load("gb12", [f"recipe.catchments.gauges={written}"])


def test_ids_without_quotes_are_text() -> None:
    config = load("gb12", ["recipe.catchments.gauges=[39001, '01001', 02008]"])
    assert config.recipe is not None
    assert config.recipe.catchments is not None
    assert config.recipe.catchments.gauges == ("39001", "01001", "02008")


def test_norway() -> None:
    with pytest.raises(ConfigError, match=r"write no, NO, yes, on and off in quotes"):
        load("gb12", ["recipe.catchments.gauges=[SE, NO]"])
    with pytest.raises(ConfigError, match=r"write it in quotes \(YAML takes no, yes, on and off for true and false\)"):
        load("gb12", ["recipe.catchments.area=on"])
    attribute = "recipe.catchments.attributes.norway"
    with pytest.raises(ConfigError, match=rf"Setting '{attribute}.one_hot' .*write no, NO, yes"):
        load("gb12", [f"{attribute}={{column: country, one_hot: [NO]}}"])
