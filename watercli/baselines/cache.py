"""Arrays that took long to compute, kept beside the run under names made of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli.errors import RunError
from watercli.log import log
from watercli.output.atomic import DISK_FULL, flush, written_file
from watercli.output.sizes import in_bytes
from watercli.run.checkpoint import versions

SCHEMA_VERSION = 3
"""Raised whenever an array of the same name is computed in another way."""

PIECE = 2**20
"""Bytes that are read at a time."""

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Cache:
    """A folder of arrays, each followed by a hash of its file; the newest of each kind replaces the one before.

    An array is written whole or not at all, and made anew where its file is not as it was written.
    """

    folder: Path

    def sweep(self) -> None:
        """Remove what killed processes left; nobody else may be using the cache."""
        for left in self.folder.glob(".*.partial"):
            left.unlink()

    def filled(
        self,
        kind: str,
        depends_on: Mapping[str, Any],
        shape: tuple[int, ...],
        fill: Callable[[Array], None],
        dtype: type[np.floating[Any]] = np.float32,
    ) -> Array:
        """Return the array of this kind, read-only and mapped from its file; ``fill`` makes it where there is none.

        Parameters
        ----------
        kind
            Begins the file's name.
        depends_on
            All that the array depends on, as JSON types; versions are added.
        shape
            Of the array that ``fill`` gets, all NaN.
        dtype
            Of its numbers.
        """
        key = {"schema": SCHEMA_VERSION, **versions(), "shape": list(shape), "dtype": dtype.__name__, **depends_on}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:20]
        path = self.folder / f"{kind}-{digest}.npy"
        if _is_whole(path):
            log.info("Kept from before: %s", kind.replace("_", " "))
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_file(path) as partial:
                array = _with_room(partial, shape, dtype)
                array[:] = np.nan
                fill(array)
                array.flush()
                del array
                _seal(partial)
                for old in self.folder.glob(f"{kind}-*.npy"):
                    old.unlink()
        kept: Array = np.load(path, mmap_mode="r")
        return kept


def _with_room(path: Path, shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> np.memmap[Any, Any]:
    """Return an array mapped from a new file.

    Its room is taken first: to write into a mapped file that has none ends a process on a full disk (SIGBUS).

    Raises
    ------
    RunError
        If the disk is full.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise RunError(
            f"The disk of {path.parent} has no room for {in_bytes(math.prod(shape) * np.dtype(dtype).itemsize)} "
            f"({error.strerror}); make room, or set evaluate.cache=false and TMPDIR to a larger disk"
        ) from error
    return array


def _seal(path: Path) -> None:
    """Append a hash of the file to it; NumPy reads no further than the array."""
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(digest)
    flush(path)


def _is_whole(path: Path) -> bool:
    """Return whether a file is there and as `_seal` left it."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END) - hashlib.sha256().digest_size
            file.seek(max(size, 0))
            seal = file.read()
    except OSError:
        return False
    if size > 0 and seal == _digest(path, size):
        return True
    log.warning("%s is not as it was written; making it anew", path)
    return False


def _digest(path: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size and (piece := file.read(min(size, PIECE))):
            digest.update(piece)
            size -= len(piece)
    return digest.digest()
