"""What a store or an export was written with: the size of every file, and hashes of those that carry no checksum.

The manifest is a file of the folder, ``manifest.json``. Chunks of Zarr arrays carry checksums themselves, which are
compared whenever one is read; of them the manifest knows names and sizes, so that a lost or torn one is an error and
not a fill value. To open a folder, names and sizes are compared, and the hashes of its metadata.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from watercli.errors import DataError
from watercli.log import log
from watercli.output.atomic import write_text
from watercli.output.sealed import Damaged, read_sealed, sealed

NAME = "manifest.json"
METADATA = "zarr.json"


def write_manifest(folder: Path) -> None:
    """Record what a finished folder holds."""
    sizes = dict(sorted(_sizes(folder).items()))
    hashes = {path: _sha256(folder / path) for path in sizes if _is_metadata(path)}
    write_text(folder / NAME, sealed({"sizes": sizes, "hashes": hashes}))


def check_manifest(folder: Path) -> None:
    """Compare a folder with its manifest, without reading values; one that has none is warned of.

    Raises
    ------
    DataError
        If a file is lost or torn, an array has one more, or metadata hold something else than was written.
    """
    try:
        manifest = read_sealed(folder / NAME)
    except (FileNotFoundError, NotADirectoryError):
        if (folder / METADATA).is_file():
            log.warning("%s has no %s, as watercli writes it: a lost file would not be noticed", folder, NAME)
        return
    except (Damaged, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not hold what was written"
        raise DataError(f"{folder / NAME} cannot be read ({reason}){_REMEDY}") from error
    sizes, written = _sizes(folder), manifest["sizes"]
    for path in [*written, *(path for path in sizes.keys() - written.keys() if "/" in path)]:
        if sizes.get(path) != written.get(path):
            raise DataError(_difference(folder, path, sizes.get(path), written.get(path)) + _REMEDY)
    for path, digest in manifest["hashes"].items():
        if _sha256(folder / path) != digest:
            raise DataError(f"{folder / path} does not hold what was written{_REMEDY}")


_REMEDY = ": the folder was altered, or copied or removed in part; copy the whole folder again, or make it again"


def _difference(folder: Path, path: str, size: int | None, written: int | None) -> str:
    array = f" of '{path.partition('/')[0]}'" if "/" in path else ""
    if size is None:
        return f"{folder / path}{array} is missing"
    if written is None:
        return f"{folder / path}{array} was not written by watercli"
    return f"{folder / path}{array} has {size:,} bytes, not {written:,}"


def _is_metadata(path: str) -> bool:
    """Return whether a file is small and without a checksum of its own."""
    return path.rpartition("/")[2] == METADATA or "/" not in path


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file that belongs to a folder, by its path within it; -1 for a link to nothing."""
    sizes, pending = {}, [("", os.fspath(folder))]
    for prefix, path in pending:  # which grows as folders are found
        with os.scandir(path) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append((f"{name}/", entry.path))
                elif name != NAME and not entry.name.startswith("."):
                    sizes[name] = entry.stat().st_size if entry.is_file() else -1
    return sizes


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
