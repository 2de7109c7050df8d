"""The registry of readers, by the name that ``modalities.<name>.source.reader`` gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import xarray as xr

from watercli.errors import ConfigError, nearest
from watercli.preparation.readers import camels_gb, camels_us, caravan, demo, derived, grid, hadukgrid, nrfa, table
from watercli.preparation.readers.request import Request


@dataclass(frozen=True)
class Reader:
    """A kind of source: what it yields, and whether it needs files."""

    read: Callable[[Request], xr.DataArray]
    kinds: tuple[Literal["grid", "series"], ...]
    needs_files: bool = True


READERS = {
    "grid": Reader(grid.read, ("grid",)),
    "hadukgrid": Reader(hadukgrid.read, ("grid",)),
    "camels_gb": Reader(camels_gb.read, ("series",)),
    "camels_us": Reader(camels_us.read, ("series",)),
    "caravan": Reader(caravan.read, ("series",)),
    "nrfa": Reader(nrfa.read, ("series",)),
    "table": Reader(table.read, ("series",)),
    "grid_mean": Reader(derived.grid_mean, ("series",), needs_files=False),
    "pet": Reader(derived.pet, ("series",), needs_files=False),
    "demo": Reader(demo.read, ("grid", "series"), needs_files=False),
}


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
        fitting = [other for other, found in READERS.items() if kind in found.kinds]
        raise ConfigError(f"Reader '{name}' ({setting}.reader) yields no {kind}; use one of {', '.join(fitting)}")
    return reader
