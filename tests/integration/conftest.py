"""Fixtures that the unit tests of a package own and commands, faults and processes need as well."""

from pathlib import Path

import pytest

from tests.unit.training.conftest import copied, said, uninterrupted

__all__ = ["copied", "said", "uninterrupted"]
USERS = ("model", "configs", "tests", "docs")
"""Names of modules that a user may well have; the repository has folders of these names."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with such modules, which fail when they are imported."""
    for name in USERS:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name}.py of the user was imported')\n")
    return tmp_path
