"""Decoded grids that do not fit into memory: files beside the store, made once and shared by all processes and runs.

A file holds the land patches of a grid as a window has them: float32, day by day. There follow the
CRC-32 of every block of `BLOCK_DAYS` days, and the SHA-256 of these and of all that the values depend on. The latter is
compared when the file is opened, that of a block when a process first reads of it. So what is used was checked, and no
process waits for a look at the rest. Files are read, not mapped: the system keeps one copy of their pages for all
processes either way, and a disk that fails is an error instead of a signal.

Shapes: D days of the store, T of them that are read, L land patches, V cells of a patch.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from watercli.data.land_patches import Floats, LandPatches, blocks
from watercli.log import log, track
from watercli.output.atomic import flush, written_file
from watercli.output.lock import locked
from watercli.output.sealed import Damaged
from watercli.output.sizes import in_bytes

SUFFIX = ".patches"
VALUE, SUM = np.dtype(np.float32), np.dtype(np.uint32)
SEAL_BYTES = hashlib.sha256().digest_size
BLOCK_DAYS = 10
"""Days that are checked at a time; it divides `watercli.data.land_patches.DAYS_AT_ONCE`."""


class NoRoomError(OSError):
    """A disk has no room for a file."""


@dataclass(frozen=True)
class DecodedFile:
    """An opened file."""

    path: Path
    shape: tuple[int, int, int]
    """D, L and V."""
    sums: NDArray[np.uint32]
    """Of every block."""
    checked: NDArray[np.bool_]
    """Blocks that this process has compared with their sums."""

    @classmethod
    def open(cls, path: Path, source: LandPatches) -> DecodedFile:
        """Open a file, without reading values.

        Raises
        ------
        OSError
            If there is none, or it cannot be read.
        Damaged
            If it is torn, or was made of something else.
        """
        values = math.prod(source.shape) * VALUE.itemsize
        number = -(-source.shape[0] // BLOCK_DAYS)
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size != values + number * SUM.itemsize + SEAL_BYTES:
                raise Damaged(f"{path} is torn")
            file.seek(values)
            sums, seal = file.read(number * SUM.itemsize), file.read()
        if seal != _seal(source, sums):
            raise Damaged(f"{path} does not hold what was written")
        return cls(path, source.shape, np.frombuffer(sums, SUM), np.zeros(number, dtype=bool))

    def read(self, days: slice, out: Floats) -> None:
        """Read days into ``[T, L, V]``.

        Raises
        ------
        OSError
            If they cannot be read.
        Damaged
            If they are not as they were written.
        """
        first, stop = days.start // BLOCK_DAYS, -(-days.stop // BLOCK_DAYS)
        if self.checked[first:stop].all():
            self._fill(out, days.start)
            return
        whole = slice(first * BLOCK_DAYS, min(stop * BLOCK_DAYS, self.shape[0]))
        values = np.empty((whole.stop - whole.start, *self.shape[1:]), np.float32)
        self._fill(values, whole.start)
        if _sums(values) != self.sums[first:stop].tolist():
            raise Damaged(f"{self.path} does not hold what was written")
        self.checked[first:stop] = True
        out[:] = values[days.start - whole.start : days.stop - whole.start]

    def _fill(self, out: Floats, first: int) -> None:
        """Read consecutive days from ``first`` on, without a look at their sums."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(first * math.prod(self.shape[1:]) * VALUE.itemsize)
            if file.readinto(out.data.cast("B")) != out.nbytes:
                raise Damaged(f"{self.path} is torn")


def opened(store: Path, name: str, source: LandPatches, *, make: bool) -> DecodedFile | None:
    """Return the file of a store's grid; None where there is none, and none can be made.

    Parameters
    ----------
    store, name, source
        The store, the modality, and what reads it.
    make
        Make the file where there is none, or a damaged one. Of several processes one makes it, and the others wait.
    """
    path = folder_of(store) / f"{name}-{source.fingerprint[:12]}-{source.key[:12]}{SUFFIX}"
    try:
        if make:
            sweep(store, source.fingerprint)
            _ensure(path, name, source)
        return DecodedFile.open(path, source)
    except Damaged as error:
        log.warning("%s; windows are read from the store", error)
    except OSError as error:
        if make:
            log.warning(
                "Grid '%s' is read from the store window by window, which is slow: %s cannot be written (%s); set "
                "WATERCLI_CACHE to a folder that has room, or raise train.grid_cache_gib",
                name, path, error.strerror,
            )  # fmt: skip
    return None


def folder_of(store: Path) -> Path:
    """Return the folder of a store's decoded grids: in ``WATERCLI_CACHE`` if that is set, otherwise beside it."""
    store = store.resolve()
    if cache := os.environ.get("WATERCLI_CACHE"):
        place = hashlib.sha256(os.fspath(store).encode()).hexdigest()[:8]
        return Path(cache) / "grids" / f"{store.name}-{place}"
    return store.with_name(f"{store.name}.cache")


def sweep(store: Path, fingerprint: str) -> None:
    """Remove decoded grids of what the store was before it changed."""
    for path in folder_of(store).glob(f"*{SUFFIX}"):
        if f"-{fingerprint[:12]}-" not in path.name:
            path.unlink(missing_ok=True)


def _ensure(path: Path, name: str, source: LandPatches) -> None:
    """Make the file unless it is there and whole."""
    if _is_whole(path, source):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, wait=True):
        if _is_whole(path, source):
            return  # another process has made it meanwhile
        for left in path.parent.glob(f".{path.name}.*.partial"):
            left.unlink()
        _check_room(path, math.prod(source.shape) * VALUE.itemsize)
        _make(path, name, source)


def _is_whole(path: Path, source: LandPatches) -> bool:
    try:
        DecodedFile.open(path, source)
    except FileNotFoundError:
        return False
    except Damaged as error:
        log.warning("%s; making it anew", error)
        return False
    return True


def _check_room(path: Path, size: int) -> None:
    """Leave at least as much room on the disk as is taken, for the checkpoints of the run."""
    free = shutil.disk_usage(path.parent).free
    if free < 2 * size:
        raise NoRoomError(None, f"it takes {in_bytes(size)} of {in_bytes(free)} that are free")


def _make(path: Path, name: str, source: LandPatches) -> None:
    days = slice(0, source.shape[0])
    log.info("Decoding '%s' once into %s: %s", name, path, in_bytes(math.prod(source.shape) * VALUE.itemsize))
    sums: list[int] = []
    with written_file(path) as partial:
        with partial.open("wb") as file:
            for block in track(blocks(days), "decode", total=days.stop, size=lambda block: block.stop - block.start):
                values = source.read(block)
                sums += _sums(values)
                file.write(np.ascontiguousarray(values).data)
            table = np.array(sums, SUM).tobytes()
            file.write(table + _seal(source, table))
        flush(partial)


def _sums(values: Floats) -> list[int]:
    """Return the CRC-32 of every block of days."""
    return [zlib.crc32(values[first : first + BLOCK_DAYS].data) for first in range(0, len(values), BLOCK_DAYS)]


def _seal(source: LandPatches, sums: bytes) -> bytes:
    return hashlib.sha256(f"{source.key} {sys.byteorder}".encode() + sums).digest()
