"""Cells of CSV files that a spreadsheet shows, and does not work out."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """Return a value for a cell: text that a spreadsheet would take for a formula gets an apostrophe before it.

    Names and ids of gauges come from others' files; see https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA and not _is_number(value) else value


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a formula may begin with."""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
