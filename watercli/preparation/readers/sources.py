"""The source files of a recipe: patterns to paths, and the checksums that a store keeps of what was read.

A Zarr store is one source: it is known by its metadata file, and its checksum is over all its files. A source may have
a URL that fsspec knows: files are fetched into a folder of their own first, Zarr stores are read where they are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.errors import ConfigError, DataError, nearest
from watercli.log import log, track

MOST_REMEMBERED = 512_000_000
"""Bytes of tables that are kept for the modalities that come after the one for which they were read."""
TEXT_BYTES = 60
"""Bytes of a short text."""
ZARR_METADATA = ("zarr.json", ".zmetadata", ".zgroup")
"""Files of which a Zarr store has one at its root."""


@dataclass
class Sources:
    """Finds files below the data folder or at a URL and remembers which were used."""

    root: Path | None
    used: set[Path] = field(default_factory=set)
    remote: dict[Path, str] = field(default_factory=dict)
    """URL of what was fetched, by where it is now."""
    tables: dict[Hashable, pd.DataFrame] = field(default_factory=dict)
    """Tables that were read, for other modalities of the same files."""
    _texts: dict[str, NDArray[np.object_]] = field(default_factory=dict)
    _remembered: int = 0

    def __post_init__(self) -> None:
        if self.root is not None and not self.root.is_dir():
            raise ConfigError(f"No data folder {self.root}; give an existing one with --data DIR or WATERCLI_DATA")

    def find(self, patterns: Sequence[str], setting: str) -> list[Path]:
        """Return the files that match any of the glob ``patterns``, sorted; ``setting`` names them in errors.

        Raises
        ------
        ConfigError
            If there is no data folder, a pattern is no relative one, or a package for a URL is missing.
        DataError
            If a pattern matches nothing.
        """
        if not patterns:
            raise ConfigError(f"{setting} names no files; give glob patterns below the data folder")
        paths: set[Path] = set()
        for pattern in patterns:
            paths.update(self._fetched(pattern, setting) if "://" in pattern else self._local(pattern, setting))
        return sorted(paths)

    def _local(self, pattern: str, setting: str) -> list[Path]:
        if self.root is None:
            raise ConfigError(f"{setting} needs files; give their folder with --data DIR or set WATERCLI_DATA")
        if not pattern or Path(pattern).is_absolute():
            raise ConfigError(f"{setting}: '{pattern}' must be a pattern relative to the data folder, or a URL")
        matches = [_metadata(path) if path.is_dir() else path for path in self.root.glob(pattern)]
        files = [path for path in matches if path is not None]
        if not files:
            raise DataError(self._unmatched(pattern, setting))
        return files

    def _unmatched(self, pattern: str, setting: str) -> str:
        """Return the sentence for a pattern without files: of a folder, or of files by a name that is nearly so."""
        assert self.root is not None
        if (self.root / pattern).is_dir():
            return f"'{pattern}' ({setting}) is a folder; name the files in it, such as {pattern.rstrip('/')}/*.csv"
        folder = (self.root / pattern).parent
        names = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
        alike = nearest(Path(pattern).name, names)
        hint = alike if alike.startswith("; did you mean") and "*" not in pattern else ""
        return f"No file matches '{pattern}' ({setting}) in the data folder {self.root}{hint}"

    def _fetched(self, pattern: str, setting: str) -> list[Path]:
        """Fetch files at a URL; of a Zarr store, its metadata."""
        import fsspec
        from fsspec.implementations.cache_mapper import BasenameCacheMapper

        try:
            system, path = fsspec.core.url_to_fs(pattern)
            stores = {url: f"{url}/{name}" for url in system.glob(path) for name in ZARR_METADATA
                      if url.endswith(".zarr") and system.exists(f"{url}/{name}")}  # fmt: skip
            files = {url: url for url in system.glob(path) if system.isfile(url)}
            addresses = {}
            for url, file in (stores | files).items():
                address = system.unstrip_protocol(file)
                place = hashlib.sha256(address.rpartition("/")[0].encode()).hexdigest()[:16]
                options = {
                    "cache_storage": str(cache_folder() / place),  # one for each folder, so that names can be kept
                    "cache_mapper": BasenameCacheMapper(),
                    "check_files": True,  # a file that has changed there is fetched again
                }
                here = Path(fsspec.open_local(f"filecache::{address}", filecache=options))
                addresses[here] = system.unstrip_protocol(url)
        except ImportError as error:
            raise ConfigError(f"{setting}: '{pattern}' needs a package ({error}); install it") from error
        except Exception as error:  # each kind of storage raises its own
            raise DataError(f"{setting}: '{pattern}' cannot be fetched ({_short(error)}); mend the URL") from error
        if not addresses:
            raise DataError(f"No file matches the URL '{pattern}' ({setting}); mend it")
        self.remote.update(addresses)
        return list(addresses)

    def remember(self, key: Hashable, table: pd.DataFrame) -> None:
        """Keep a table in `tables`, as long as there is room; columns of days that many files share are kept once."""
        size = 0
        for column in table.columns:
            size += table[column].memory_usage(index=False)
            if table[column].dtype == object:
                text = "\n".join(table[column].tolist())
                size += 0 if text in self._texts else TEXT_BYTES * len(table)
                table = table.assign(**{column: self._texts.setdefault(text, table[column].to_numpy())})
        if self._remembered + size <= MOST_REMEMBERED:
            self.tables[key] = table
            self._remembered += size

    def forget(self) -> None:
        """Forget all tables."""
        self.tables.clear()
        self._texts.clear()
        self._remembered = 0

    def use(self, paths: Iterable[Path]) -> None:
        """Record files as read."""
        self.used.update(paths)

    def address(self, path: Path) -> str:
        """Return what a file, or the Zarr store that it is part of, is opened by."""
        if path.name in ZARR_METADATA:
            return self.remote.get(path, str(path.parent))
        return str(path)

    def name(self, path: Path) -> str:
        """Return a file's name relative to the data folder, or its URL."""
        if path in self.remote:
            return self.remote[path]
        source = path.parent if path.name in ZARR_METADATA else path
        return source.relative_to(self.root).as_posix() if self.root is not None else source.name

    def records(self) -> list[dict[str, str | int]]:
        """Return name, size and SHA-256 of every file that was used, by name."""
        paths = sorted(self.used, key=self.name)
        records: list[dict[str, str | int]] = []
        for path in track(paths, "Checksums of the sources"):
            size, digest = self._digest(path)
            records.append({"name": self.name(path), "bytes": size, "sha256": digest})
        if paths:
            log.info("Read %d source files, %.1f MB", len(paths), sum(int(record["bytes"]) for record in records) / 1e6)
        return records

    def _digest(self, path: Path) -> tuple[int, str]:
        """Return size and SHA-256 of a file, or of all files of a Zarr store; of a remote one, of its metadata."""
        is_store = path.name in ZARR_METADATA and path not in self.remote
        parts = sorted(file for file in path.parent.rglob("*") if file.is_file()) if is_store else [path]
        digest = hashlib.sha256()
        for part in parts:
            with part.open("rb") as stream:
                if is_store:
                    digest.update(part.relative_to(path.parent).as_posix().encode())
                while block := stream.read(1 << 20):
                    digest.update(block)
        return sum(part.stat().st_size for part in parts), digest.hexdigest()


Stamp = tuple[int, int]


@dataclass(frozen=True)
class Snapshot:
    """The source files as they were before any was read: size in bytes and time of change in nanoseconds."""

    stamps: Mapping[Path, Stamp]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Snapshot:
        """Look at the files."""
        return cls({path: _stamp(path) for path in paths})

    def check(self, sources: Sources) -> None:
        """Refuse to go on if a file that was read is no longer what it was.

        Raises
        ------
        DataError
            If one of the used files was changed or removed in the meantime.
        """
        for path in sources.used & self.stamps.keys():
            if not path.is_file() or _stamp(path) != self.stamps[path]:
                raise DataError(
                    f"{sources.name(path)} was changed while it was read; prepare again when nothing writes to it"
                )

    def key(self, *content: Any) -> str:
        """Return a hash of the files and of all else that determines what is made of them."""
        files = [[str(path), *stamp] for path, stamp in sorted(self.stamps.items())]
        return hashlib.sha256(json.dumps([files, *content], sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def cache_folder() -> Path:
    """Return the folder that fetched files are kept in: ``WATERCLI_CACHE``, or one of the user's cache folder."""
    return Path(os.environ.get("WATERCLI_CACHE") or Path.home() / ".cache" / "watercli")


def _metadata(folder: Path) -> Path | None:
    """Return the metadata file by which a Zarr store is known; None for another folder."""
    if folder.suffix != ".zarr":
        return None
    return next((folder / name for name in ZARR_METADATA if (folder / name).is_file()), None)


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def unreadable(name: str, kind: str) -> DataError:
    """Return the error for a file that cannot be read at all."""
    return DataError(
        f"{name} cannot be read as {kind}: it is damaged or of another kind; fetch it again or leave it out"
    )
