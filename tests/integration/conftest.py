"""Fixtures that the unit tests of a package own and commands, faults and processes need as well."""

from tests.unit.training.conftest import copied, said, uninterrupted

__all__ = ["copied", "said", "uninterrupted"]
