"""Units as files and people write them, read by pint with the names that CF metadata use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pint
from cf_xarray.units import units as registry
from numpy.typing import NDArray

SPELLINGS = {
    "(0 - 1)": "1",
    "0-1": "1",
    "0 - 1": "1",
    "~": "1",
    "-": "1",
    "fraction": "1",
    "frac": "1",
    "ratio": "1",
    "decimal": "1",
    "unitless": "1",
    "none": "1",
    "pct": "%",
    "percent": "%",
    "per cent": "%",
    "percentage": "%",
    "vol%": "%",
    "vol. %": "%",
    "% vol": "%",
    "% (vol)": "%",
    "c": "degC",
    "oc": "degC",
    "cel": "degC",
    "celsius": "degC",
    "f": "degF",
    "fahrenheit": "degF",
    "k": "K",
    "kelvin": "K",
    "cusec": "ft3/s",
    "cusecs": "ft3/s",
    "kcfs": "1000 ft3/s",
    "cfsm": "ft3/s/mi2",
    "csm": "ft3/s/mi2",
    "cumec": "m3/s",
    "cumecs": "m3/s",
    "cms": "m3/s",
    "m3/s": "m3/s",
    "lps": "l/s",
    "ls-1": "l/s",
    "gpm": "gallon/minute",
    "mld": "megaliter/day",
    "mgd": "1e6 gallon/day",
    "mm": "mm",
    "mmd": "mm/day",
    "mmd-1": "mm/day",
    "mmday": "mm/day",
    "mmday-1": "mm/day",
    "mm/d": "mm/day",
    "mm/day": "mm/day",
    "mmh2o": "mm",
    "kgm-2": "kg/m2",
    "kgm-2s-1": "kg/m2/s",
    "wm-2": "W/m2",
    "jm-2": "J/m2",
    "w/m2": "W/m2",
    "ms-1": "m/s",
    "pa": "Pa",
    "hpa": "hPa",
    "kpa": "kPa",
    "mb": "mbar",
    "mm hg": "mmHg",
    "in hg": "inHg",
    "inches hg": "inHg",
    "inches of mercury": "inHg",
    "km2": "km2",
    "sqkm": "km2",
    "sqmi": "mi2",
    "ac": "acre",
    "ha": "hectare",
}
"""Units as hydrologists and others write them, in small letters, and as pint does."""
PHRASES = (
    (r"^\[(.*)\]$", r"\1"),
    (r"[{}]", ""),
    (r"[º˚]", "°"),
    (r"℃", "degC"),
    (r"℉", "degF"),
    (r"\s+(of water equivalent|w\.?\s?e\.?|water equivalent|of water)(?=\W|$)", ""),
    (r"(?<=\bmm)\s+h2o\b", ""),
    (r"^(1/10+|(?:ten|hundred|thousand)ths?\b)(\s+of(\s+an?)?)?\s*(?=[a-z°])", lambda match: _part(match[1])),
    (r"^millions?\s+(of\s+)?", "1e6 "),
    (r"^thousands?\s+(of\s+)?", "1e3 "),
    (r"^degs?(rees?)?[\s_.]*(c|celsius|f|fahrenheit|k|kelvin)$", lambda match: SPELLINGS[match[2].lower()[0]]),
    (r"°\s*([CF])$", r"deg\1"),
    (r"(/|\bper\s+)\s*24[\s-]*h(ou)?rs?\b|(/|\bper\s+)\s*24[\s-]*h\b", "/day"),
    (r"\s+24[\s-]*h(ou)?r?s?\s?(\*\*|\^)?-1$", " day-1"),
    (r"\bcfs\b", "ft3/s"),
    (r"\b(acre|ac)[- ]?(feet|foot|ft)\b|\baf\b", "acre_foot"),
    (r"\bt(acre_foot|af)\b|\bkaf\b", "1000 acre_foot"),
    (r"\bdsf\b|\bsfd\b", "ft3*day/s"),
    (r"\bmcm\b|(?-i:\bMm)(\^|\*\*)?3", "hm3"),
    (r"\bkilo[- ]?cubic feet\b", "1000 cubic feet"),
    (r"\bcu\.?\s?(?=(m|ft|feet|foot|met(er|re)s?)\b)", "cubic "),
    (r"\bsq\.\s?", "sq "),
    (r"\bmi\.$", "mi"),
    (r"\b(km|mi|ft|m) ([23])\b", r"\1\2"),
    (r"^ly\b|^langleys?\b", "langley"),
    (r"/mon\b", "/month"),
    (r"/dy\b", "/day"),
    (r"\bUS (?=gal)", ""),
)
"""What is replaced wherever it stands: patterns, and what pint reads instead."""
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻\u2212", "0123456789--")
FACTOR = re.compile(
    r"(?P<number>10(\*\*|\^)[-+]?\d{1,2}|(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?)(\s*\*?\s*(?P<unit>[A-Za-zµ°%(].*))?"
)
"""A number before the unit, which CF allows: ``0.1 mm/day``."""
PER_STEP = re.compile(r"(?P<unit>.*)(/|\bper\s)\s*(?P<count>\d+)\s*(?P<step>h|hrs?|hours?|min|minutes?|d|days?)")
"""An amount in several hours or minutes: ``mm/3h``."""
WORD = re.compile(r"\b(?!M(?!ega|illi|et|onth|inute|ile))(?:[A-Z][a-z]{4,}|Per|Day|Feet|Foot|Inch|Hour)\b")
"""A word with a capital letter that is no prefix: Kelvin, but not Mgal."""
UNSAFE = re.compile(r"[^A-Za-zµ°%]\s*(\*\*|\^)|(\*\*|\^)\s*[-+]?\d{3}|.{101}")
"""A power of anything but a unit, or a huge one: pint would work out ``10**10**10`` until the memory ends."""
NAMES = ("units", "unit", "Units", "Unit", "UNITS", "UNIT")
"""Attributes in which files state units; CF knows the first alone."""
WATER = registry.Quantity(1000.0, "kg/m3")
"""Density of water, by which a mass over an area is a depth: 1 kg m-2 is 1 mm."""

Quantity: TypeAlias = "pint.Quantity[float]"


def parse(text: str) -> Quantity:
    """Return units as a quantity: 1 of the unit, or as many as the factor before it says.

    Raises
    ------
    ValueError
        If they are no units.
    """
    spelt = _spelt(text)
    if (step := PER_STEP.fullmatch(spelt)) and int(step["count"]):
        shorter = parse(f"{step['unit']}/{step['step']}")
        return registry.Quantity(shorter.magnitude / int(step["count"]), shorter.units)
    match = FACTOR.fullmatch(spelt)
    factor, unit = (_number(match["number"]), _spelt(match["unit"] or "1")) if match else (1.0, spelt)
    if not factor or UNSAFE.search(unit):
        raise ValueError(f"'{text}' are no units")
    try:
        return registry.Quantity(factor, registry.Unit(unit))
    except Exception as error:  # pint raises half a dozen kinds, tokeniser errors among them
        raise ValueError(f"'{text}' are no units") from error


def scale_and_offset(given: Quantity, target: pint.Unit) -> tuple[float, float]:
    """Return what values in ``given`` units are multiplied by, and what is added, to be in ``target`` units.

    A mass of water over an area is a depth, and the reverse.

    Raises
    ------
    pint.DimensionalityError
        If the two are of other dimensions.
    """
    zero, unit = registry.Quantity(0.0, given.units), given
    if given.dimensionality != target.dimensionality:
        density = WATER if (given * WATER).dimensionality == target.dimensionality else 1 / WATER
        zero, unit = zero * density, unit * density
    offset = zero.to(target).magnitude
    return float(unit.to(target).magnitude - offset), float(offset)


def are_discharge_and_depth(given: str | None, target: str) -> bool:
    """Whether one is a volume per time and the other a depth per time, in whichever order."""
    try:
        pair = [parse(units).dimensionality for units in (given or "", target)]
    except ValueError:  # no units: who converts them says so
        return False
    depth, discharge = registry.Unit("mm/day").dimensionality, registry.Unit("m3/s").dimensionality
    return pair in ([depth, discharge], [discharge, depth])


def area_factor(given: str, target: str, area: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return what discharge is multiplied by to be runoff depth, or the reverse; ``area`` is in km2; ``[C]`` both."""
    amount, square = parse(given), registry.Quantity(1.0, "km2")
    to_depth = amount.dimensionality == registry.Unit("m3/s").dimensionality
    scale = (amount / square if to_depth else amount * square).to(parse(target).units).magnitude
    return float(scale) * (1 / area if to_depth else area)


def stated_in(attributes: Mapping[Any, Any]) -> str | None:
    """Return the units that a variable's attributes state; None where they state none."""
    stated = (str(attributes[name]).strip() for name in NAMES if name in attributes)
    return next((units for units in stated if units), None)


def _spelt(text: str) -> str:
    """Return units as pint spells them; a long word may begin with a capital letter."""
    text = text.strip().translate(SUPERSCRIPTS)
    for pattern, replacement in PHRASES:
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
    text = WORD.sub(lambda match: match[0].lower(), text.strip())
    return SPELLINGS.get(text.lower(), text)


def _part(words: str) -> str:
    """Return the factor that ``1/10``, ``tenths`` and the like mean."""
    if words.startswith("1/"):
        return f"{1 / float(words[2:]):g} "
    return {"ten": "0.1 ", "hun": "0.01 ", "tho": "0.001 "}[words.lower()[:3]]


def _number(text: str) -> float:
    base, _, exponent = text.replace("**", "^").partition("^")
    return float(f"1e{exponent}") if exponent else float(base)
