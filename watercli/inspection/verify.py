"""``watercli inspect --verify``: every byte of a store, an export or a run is read and compared with its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import zarr

from watercli.errors import DataError, RunError, WatercliError
from watercli.inspection.export import is_tables
from watercli.log import track
from watercli.output.manifest import NAME, check_manifest
from watercli.output.sizes import in_bytes


def verify(path: Path) -> str:
    """Read all that lies at a path; return a sentence on what was read.

    Raises
    ------
    DataError, RunError
        If anything is not as it was written; every damage is named.
    """
    if (path / "config.yaml").is_file():
        return _run(path)
    if not (path / NAME).is_file():
        check_manifest(path)
        raise DataError(f"{path} has no {NAME} to be compared with; watercli writes one into stores and exports")
    check_manifest(path)
    damages = list(_tables(path) if is_tables(path) else _arrays(path))
    if damages:
        raise DataError("; ".join(damages))
    files = [file for file in path.rglob("*") if file.is_file()]
    size = in_bytes(sum(file.stat().st_size for file in files))
    return f"{path}: {len(files):,} files, {size}; all as they were written"


def _run(run: Path) -> str:
    from watercli.run.checkpoint import Checkpoint

    paths, damages = sorted((run / "checkpoints").glob("[0-9]*")), []
    for path in paths:
        try:
            Checkpoint.read(path).verify()
        except WatercliError as error:
            damages.append(str(error).partition(";")[0])
    if damages:
        raise RunError("; ".join(damages))
    return f"{run}: {len(paths)} checkpoints; all as they were written"


def _arrays(store: Path) -> Iterator[str]:
    """Yield a sentence on each damaged file of a Zarr store."""
    group = zarr.open_group(store, mode="r")
    members = sorted(group.members(max_depth=None))
    pieces = [(array, piece) for _, array in members if isinstance(array, zarr.Array) for piece in _pieces(array)]
    for array, piece in track(pieces, "verify"):
        try:
            array[piece]
        except DataError as error:
            yield str(error).partition(";")[0]


def _pieces(array: zarr.Array[Any]) -> Iterator[tuple[slice, ...]]:
    """Yield the part of an array that each of its files holds."""
    steps = array.shards or array.chunks
    starts = (range(0, size, step) for size, step in zip(array.shape, steps, strict=True))
    for first in product(*starts):
        yield tuple(slice(start, start + step) for start, step in zip(first, steps, strict=True))


def _tables(folder: Path) -> Iterator[str]:
    """Yield a sentence on each damaged Parquet file."""
    import pyarrow.parquet

    for file in track(sorted(folder.rglob("*.parquet")), "verify"):
        try:
            pyarrow.parquet.read_table(file, page_checksum_verification=True)
        except (OSError, ValueError) as error:
            yield f"{file} cannot be read ({' '.join(str(error).split())[:100]})"
