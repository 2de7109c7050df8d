"""Convert a configuration of watercli 0.1.0 to today's names: ``python docs/convert.py old.yaml > new.yaml``.

The names come from the tables of ``docs/reference/renames.md``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parent / "reference" / "renames.md"
NAMED = ("modalities", "recipe.catchments.attributes")
"""Mappings whose keys are names of the user's choice."""


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without the table's own heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [re.findall(r"`([^`]+)`", line) for line in lines]


SETTINGS: dict[str, str] = {old: new for old, new in table("Settings")}  # noqa: C416
VALUES = {(setting, old): new for setting, old, new in table("Values of settings")}


def convert(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of 0.1.0 with today's keys and values."""
    converted: dict[str, Any] = _section(old, "", "")
    return converted


def _section(old: Mapping[str, Any], old_path: str, new_path: str) -> dict[str, Any]:
    return dict(_entry(key, value, old_path, new_path) for key, value in old.items())


def _entry(key: str, value: Any, old_path: str, new_path: str) -> tuple[str, Any]:
    step = "NAME" if old_path in NAMED else key
    old = f"{old_path}.{step}".lstrip(".")
    new = SETTINGS.get(old, f"{new_path}.{step}".lstrip("."))
    return (key if step == "NAME" else new.rpartition(".")[2]), _value(value, old, new)


def _value(value: Any, old: str, new: str) -> Any:
    if isinstance(value, Mapping):
        return _section(value, old, new)
    if isinstance(value, list):
        return [_value(item, old, new) for item in value]
    return VALUES.get((new, value), value) if isinstance(value, str) else value


if __name__ == "__main__":
    old = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(yaml.safe_dump(convert(old), sort_keys=False, allow_unicode=True))
