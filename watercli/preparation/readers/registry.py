"""The registry of readers, by the name that ``modalities.<name>.source.reader`` gives."""

from __future__ import annotations

from typing import Literal

from watercli import plugins
from watercli.errors import ConfigError, nearest
from watercli.plugins import Registry
from watercli.preparation.readers.reader import Reader

READERS = Registry(plugins.READERS, Reader)
"""Built-in readers, and those that installed packages add."""


def find(name: str, kind: Literal["grid", "series"], setting: str) -> Reader:
    """Return the reader of a name; ``setting`` names the modality's source in errors.

    Raises
    ------
    ConfigError
        If there is none, or it yields no modality of that kind.
    """
    if name not in READERS:
        raise ConfigError(f"No reader '{name}' ({setting}.reader){nearest(name, READERS)}")
    reader = READERS[name]
    if kind not in reader.kinds:
        fitting = [known for known, record in READERS.items() if kind in record.kinds]
        raise ConfigError(f"Reader '{name}' ({setting}.reader) yields no {kind}; use one of {', '.join(fitting)}")
    return reader
