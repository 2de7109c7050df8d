"""Cells that a spreadsheet would take for formulas."""

from __future__ import annotations

from typing import Any

import pytest

from watercli.output.csv_cells import plain


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@sum", "'@sum"),
        ("-Elbe", "'-Elbe"),
        ("-5", "-5"),
        ("+1.5", "+1.5"),
        ("Dee = Don", "Dee = Don"),
        ("", ""),
        (-3.5, -3.5),
        (None, None),
    ],
)
def test_a_formula_is_text(value: Any, cell: Any) -> None:
    assert plain(value) == cell
