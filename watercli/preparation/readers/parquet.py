"""Parquet: tables of series and of attributes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from watercli.errors import ConfigError
from watercli.preparation.readers.sources import unreadable

ENDINGS = (".parquet", ".pq")


def read(path: Path, name: str) -> pd.DataFrame:
    """Return a table, its named index as columns.

    Raises
    ------
    ConfigError
        If pyarrow is missing.
    DataError
        If the file cannot be read.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"Reading {name} needs pyarrow; pip install 'watercli[parquet]'") from error
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises a dozen kinds
        raise unreadable(name, "Parquet") from error
    table = table.reset_index() if table.index.names != [None] else table
    return table.rename(columns=str)
