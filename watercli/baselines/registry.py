"""The registry of methods: tables, figures, messages and the page's explorer take names, labels and colours from it."""

from __future__ import annotations

from collections.abc import Iterable

from watercli import plugins
from watercli.baselines.method import Method
from watercli.plugins import Registry

METHODS = Registry(plugins.METHODS, Method)
"""In the order of the tables: built-in methods, then those that installed packages add."""


def labels(names: Iterable[str]) -> str:
    """Return the labels of methods, as a list in words."""
    return ", ".join(METHODS[name].label for name in names)


def in_order(names: Iterable[str]) -> list[str]:
    """Return names in the order of the tables."""
    chosen = set(names)
    return [name for name in METHODS if name in chosen]
