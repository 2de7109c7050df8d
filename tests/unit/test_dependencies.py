"""What watercli declares and what it is tested with agree: no dependency is unpinned, no pin outside its range."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNPINNED = ("wandb", "mlflow")
"""Extras that are not pinned, as constraints.txt says."""


def declared() -> list[Requirement]:
    """Return what watercli and its pinned extras need."""
    extras = [lines for name, lines in PROJECT["optional-dependencies"].items() if name not in UNPINNED]
    lines = dict.fromkeys([*PROJECT["dependencies"], *(line for extra in extras for line in extra)])
    return [Requirement(line) for line in lines]


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_dependencies_are_pinned_within_their_range(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    pinned = [pin for pin in pins() if canonicalize_name(pin.name) == name]
    assert pinned, f"constraints.txt pins no {name}"
    (specifier,) = pinned[0].specifier
    assert requirement.specifier.contains(specifier.version), f"pyproject.toml does not allow {pinned[0]}"


def test_pins_are_exact_and_single() -> None:
    names = [canonicalize_name(pin.name) for pin in pins()]
    assert sorted(names) == sorted(set(names))
    assert len(names) > 50
    for pin in pins():
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin


def test_least_versions_are_declared() -> None:
    without = [str(requirement) for requirement in declared() if not requirement.specifier]
    assert not without, f"pyproject.toml gives no least version of {without}"
