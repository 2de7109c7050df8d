"""``watercli config`` says of every setting what may be given, what holds otherwise, and what it means."""

from __future__ import annotations

import pytest

from watercli.errors import ConfigError
from watercli.inspection.settings import section_at, show


def test_a_setting_is_shown_alone() -> None:
    shown = show("modalities.rain.source.table.separator")
    first = "modalities.NAME.source.table.separator: `,` or `;` or `|` or `tab` or `space`; default `,`"
    assert shown.splitlines()[0] == first
    assert "What separates the columns of a text table" in shown


def test_a_default_that_depends_is_shown_by_case() -> None:
    steps = "default `5000` (series alone), `5000` (with grids), `3000` (with grids, series by transformers), fitted to"
    assert steps in " ".join(show("train.steps").split())
    assert "`basin_averaged_nse` (river flow), `mse` (otherwise)" in " ".join(show("modalities.NAME.loss").split())


@pytest.mark.parametrize("path", ["", "train", "model.antecedent_state", "recipe.catchments.tables", "modalities"])
def test_a_section_is_shown_whole(path: str) -> None:
    section, prefix, setting = section_at(path)
    shown = show(path)
    assert setting is None
    for name in getattr(section, "model_fields", None) or vars(section)["__dataclass_fields__"]:
        assert f"{prefix}.{name}: ".removeprefix(".") in shown


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(ConfigError, match="No setting 'stpes' of train; did you mean 'steps'"):
        show("train.stpes")
    with pytest.raises(ConfigError, match="No setting 'trian'"):
        show("trian.steps")
