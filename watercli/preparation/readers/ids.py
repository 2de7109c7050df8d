"""Gauge ids as people and spreadsheets write them: leading zeros, ``.0``, prefixes, capitals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

EXPONENT = re.compile(r"\d+(\.\d+)?e\+?\d+", re.IGNORECASE)
"""An id that a spreadsheet has turned into 1.013500E+06."""
PREFIX = re.compile(r"^[^\W\d]\w*?[-_: ]+(?=\w)")
"""``USGS-`` of USGS-01013500, ``camelsgb_`` of camelsgb_11003."""


def own(gauge: str, prefix: str = "", digits: int = 0, new_prefix: str = "") -> str:
    """Return an id of a file as the recipe knows it.

    ``prefix`` is stripped. With ``digits``, an id that lost its leading zeros, or became a decimal number, gets them
    back: 1013500 and 1013500.0 are 01013500. ``new_prefix`` is put before it last. A
    spreadsheet's ``="01013500"`` is the text in it.
    """
    gauge = gauge.strip()
    if gauge.startswith('="') and gauge.endswith('"'):
        gauge = gauge[2:-1]
    gauge = gauge.removeprefix(prefix)
    return new_prefix + (re.sub(r"\.0+$", "", gauge).zfill(digits) if digits else gauge)


def alike(gauge: str, known: Iterable[str]) -> str:
    """Return the known id that differs in prefix, leading zeros, ``.0`` or capitals alone; empty if there is none."""
    core = _core(gauge)
    return next((name for name in map(str, known) if _core(name) == core), "")


def hint(gauge: str, known: Iterable[str], of_gauge: str, of_known: str) -> str:
    """Return how the nearest known id differs from ``gauge`` that is not among them, and the setting that cures it.

    ``of_gauge`` and ``of_known`` name the sections of the configuration that hold ``gauge_id_prefix`` and
    ``gauge_id_digits``, of where the one comes from and of where the others do; ``of_gauge`` is empty where the
    configuration itself names the gauge. The hint is empty where none is near.
    """
    names = [str(name) for name in known]
    same = alike(gauge, names)
    if not same:
        close = get_close_matches(gauge, names, n=1)
        return f"the nearest id there is {close[0]}" if close else ""
    if EXPONENT.fullmatch(gauge) or EXPONENT.fullmatch(same):
        return f"it is {same} there: a spreadsheet has made a number of it; save ids as text"
    differences, cures = _differences(gauge, same, of_gauge, of_known)
    cure = f"; {' and '.join(cures)}" if cures else "; mend one of them"
    return f"it is {same} there: they differ only in {' and '.join(differences)}{cure}"


def _differences(first: str, second: str, of_first: str, of_second: str) -> tuple[list[str], list[str]]:
    """Return in what two ids of one core differ, and the settings that make them equal."""
    differences: list[str] = []
    cures: list[str] = []
    prefixes = _prefix(first), _prefix(second)
    if prefixes[0] != prefixes[1]:
        differences.append(f"the prefix {prefixes[0] or prefixes[1]}")
        cures += [
            _cure(place, f"gauge_id_prefix to '{prefix}'", second)
            for place, prefix in zip((of_first, of_second), prefixes, strict=True)
            if prefix
        ]
    bare = first.removeprefix(prefixes[0]), second.removeprefix(prefixes[1])
    decimal = [bool(re.search(r"\.0+$", name)) for name in bare]
    whole = [re.sub(r"\.0+$", "", name) for name in bare]
    zeros = len(whole[0]) != len(whole[1])
    differences += (["leading zeros"] if zeros else []) + (["the '.0' of a number"] if any(decimal) else [])
    digits = max(len(name) for name in whole)
    cures += [
        _cure(place, f"gauge_id_digits to {digits}", second)
        for place, name, is_decimal in zip((of_first, of_second), whole, decimal, strict=True)
        if is_decimal or len(name) < digits
    ]
    return differences or ["capitals or signs"], list(dict.fromkeys(cures))


def _cure(section: str, setting: str, written: str) -> str:
    return f"set {section}.{setting}" if section else f"write {written}"


def _prefix(gauge: str) -> str:
    match = PREFIX.match(gauge)
    return match[0] if match else ""


def _core(gauge: str) -> str:
    """Return what is left of an id that is written in many ways."""
    bare = gauge.strip('="').casefold()
    bare = bare.removeprefix(_prefix(bare))
    if EXPONENT.fullmatch(bare):
        return f"{float(bare):.0f}"
    return re.sub(r"\.0+$", "", bare).lstrip("0")
