"""Numbers as the report writes them."""

from __future__ import annotations

import math
import re

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def number(value: float) -> str:
    """Return two decimals with a true minus sign; a dash for what is not a number."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:.2f}"
    return ("0.00" if text == "-0.00" else text).replace("-", MINUS)


def interval(low: float, high: float, form: str = ".2f") -> str:
    """Return both ends of an interval in a number format; ``no interval`` of too few catchments."""
    return f"{low:{form}} to {high:{form}}" if math.isfinite(low + high) else "no interval"


def significant(value: float) -> str:
    """Return three significant digits; a dash for what is not a number."""
    return f"{value:.3g}".replace("-", MINUS) if math.isfinite(value) else DASH


def percent(value: float) -> str:
    """Return whole percent of a share; a dash for what is not a number."""
    return f"{100 * value:.0f}\N{NO-BREAK SPACE}%".replace("-", MINUS) if math.isfinite(value) else DASH


def with_minus(text: str) -> str:
    """Return a text with minus signs before its negative numbers; hyphens within names and dates stay."""
    return re.sub(r"(?<![\w-])-(?=\d)", MINUS, text)
