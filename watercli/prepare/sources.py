"""The source files of a recipe: patterns to paths, and the checksums that a store keeps of what was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watercli.errors import ConfigError, DataError
from watercli.log import log, progress


@dataclass
class Sources:
    """Finds files below the data folder and remembers which were used."""

    root: Path | None
    used: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.root is not None and not self.root.is_dir():
            raise ConfigError(f"No data folder {self.root}; give an existing one with --data DIR or WATERCLI_DATA")

    def find(self, patterns: Sequence[str], setting: str) -> list[Path]:
        """Return the files that match any of the glob ``patterns``, sorted; ``setting`` names them in errors.

        Raises
        ------
        ConfigError
            If there is no data folder, or a pattern is no relative one.
        DataError
            If a pattern matches nothing.
        """
        if not patterns:
            raise ConfigError(f"{setting} names no files; give glob patterns below the data folder")
        if self.root is None:
            raise ConfigError(f"{setting} needs files; give their folder with --data DIR or set WATERCLI_DATA")
        found: set[Path] = set()
        for pattern in patterns:
            if not pattern or Path(pattern).is_absolute():
                raise ConfigError(f"{setting}: '{pattern}' must be a pattern relative to the data folder")
            matches = [path for path in self.root.glob(pattern) if path.is_file()]
            if not matches:
                raise DataError(f"No file matches '{pattern}' ({setting}) in the data folder {self.root}")
            found.update(matches)
        return sorted(found)

    def use(self, paths: Iterable[Path]) -> None:
        """Record files as read."""
        self.used.update(paths)

    def name(self, path: Path) -> str:
        """Return a file's name relative to the data folder."""
        return path.relative_to(self.root).as_posix() if self.root is not None else path.name

    def records(self) -> list[dict[str, str | int]]:
        """Return name, size and SHA-256 of every file that was used, by name."""
        paths = sorted(self.used, key=self.name)
        records: list[dict[str, str | int]] = []
        with progress() as display:
            task = display.add_task("Checksums of the sources", total=len(paths))
            for path in paths:
                with path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                records.append({"name": self.name(path), "bytes": path.stat().st_size, "sha256": digest})
                display.advance(task)
        if paths:
            log.info("Read %d source files, %.1f MB", len(paths), sum(path.stat().st_size for path in paths) / 1e6)
        return records


def unreadable(name: str, kind: str) -> DataError:
    """Return the error for a file that cannot be read at all."""
    return DataError(
        f"{name} cannot be read as {kind}: it is damaged or of another kind; fetch it again or leave it out"
    )
