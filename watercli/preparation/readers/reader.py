"""The record of a reader, which stands beside its function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import xarray as xr

from watercli.preparation.readers.request import Request


@dataclass(frozen=True)
class Reader:
    """A kind of source: its function, what it yields, and whether it needs files."""

    read: Callable[[Request], xr.DataArray]
    """Returns what `watercli.preparation.readers.request` says."""
    kinds: tuple[Literal["grid", "series"], ...]
    needs_files: bool = True
