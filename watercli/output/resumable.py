"""Preparing in a folder beside the output: what an interruption leaves there, the same command goes on with.

``.<name>.partial/`` holds the unfinished store, the summaries of its finished blocks and, in ``state.json``, what it
is being made of. One process at a time owns it; the system frees its lock when the process dies, however it dies. The
output itself is replaced by renaming, at the end.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from watercli.errors import ConfigError, DataError, RunError, WatercliError
from watercli.log import log
from watercli.output.atomic import DISK_FULL, Target

Stamp = tuple[int, int]


@dataclass(frozen=True)
class Inputs:
    """The source files as they were before anything was read: size in bytes and time of change in nanoseconds."""

    stamps: Mapping[Path, Stamp]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Inputs:
        """Look at the files."""
        return cls({path: _stamp(path) for path in paths})

    def check(self, used: Iterable[Path], name: Callable[[Path], str]) -> None:
        """Refuse to go on if a file is no longer what it was; ``name`` says what a file is called in the error.

        Raises
        ------
        DataError
            If one of the ``used`` files was changed or removed in the meantime.
        """
        for path in used:
            if path in self.stamps and (not path.is_file() or _stamp(path) != self.stamps[path]):
                raise DataError(f"{name(path)} was changed while it was read; prepare again when nothing writes to it")

    def key(self, *content: Any) -> str:
        """Return a hash of the files and of all else that determines what is made of them."""
        files = [[str(path), *stamp] for path, stamp in sorted(self.stamps.items())]
        return hashlib.sha256(json.dumps([files, *content], sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class Work:
    """The folder in which a store is made."""

    folder: Path

    @classmethod
    def beside(cls, out: Path) -> Work:
        """Return the folder that belongs to an output; it need not exist."""
        return cls(out.with_name(f".{out.name}.partial"))

    @property
    def store(self) -> Path:
        """The unfinished store."""
        return self.folder / "store.zarr"

    def marks(self, variable: str) -> Path:
        """Return the folder of the summaries of a variable's finished blocks; it exists once the array does."""
        return self.folder / "blocks" / variable

    @property
    def state(self) -> dict[str, Any]:
        """What is being made: ``key``, ``created`` and what else was given; empty if there is nothing."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    @property
    def created(self) -> str:
        """When the making began; a continued store keeps it."""
        return str(self.state["created"])

    def begin(self, state: Mapping[str, Any]) -> None:
        """Go on with what is here if it was begun from the same ``key``, else (and if that is None) start anew."""
        found = self.state
        if found and found["key"] == state["key"] is not None:
            self._sweep()
            done = len(list(self.folder.glob("blocks/*/*")))
            log.info("Continuing what was begun at %s: %d blocks are done", found["created"], done)
            return
        if self.folder.exists():
            log.info(
                "What lies half-made in %s is of another recipe or other files, or an extension: starting anew",
                self.folder,
            )
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        text = json.dumps({"created": _now(), **state}, indent=1)
        (self.folder / "state.tmp").write_text(text, encoding="utf-8")
        (self.folder / "state.tmp").replace(self.folder / "state.json")

    def _sweep(self) -> None:
        """Remove what was written only in part: torn files, and all but the grids, which are told block by block."""
        for torn in (*self.folder.rglob("*.partial"), *self.folder.rglob("*.tmp")):  # Zarr's, and those of summaries
            torn.unlink()
        for path in self.store.iterdir() if self.store.exists() else ():
            if path.is_file():
                path.unlink()
            elif not self.marks(path.name).is_dir():
                shutil.rmtree(path)
        for marks in self.folder.glob("blocks/*"):
            if not (self.store / marks.name).is_dir():  # the store had been put in its place already
                shutil.rmtree(marks)


def _now() -> str:
    """Return the time, or what SOURCE_DATE_EPOCH gives for it (reproducible-builds.org): equal runs, equal bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = dt.datetime.fromtimestamp(int(epoch), dt.UTC) if epoch.isdecimal() else dt.datetime.now(dt.UTC)
    return now.isoformat(timespec="seconds")


@contextmanager
def working(place: Target, state: Mapping[str, Any]) -> Iterator[Work]:
    """Yield the folder in which to make a store; on a clean exit the store becomes the target.

    An error of the user's removes the folder, as it could not be continued, and so does any error if ``key`` is None.
    Whatever else ends the work leaves it.

    Raises
    ------
    ConfigError
        If another process is making the same output, or it may not be written.
    RunError
        If the disk is full.
    """
    place.check()
    out, work = place.path, Work.beside(place.path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _naming_a_full_disk(out), _locked(out):
        _restore(out)
        try:
            work.begin(state)
            yield work
        except BaseException as error:
            if state["key"] is None or (isinstance(error, WatercliError) and not isinstance(error, RunError)):
                shutil.rmtree(work.folder, ignore_errors=True)
            elif isinstance(error, KeyboardInterrupt):
                log.info("What is done is kept in %s; the same command goes on from there", work.folder)
            raise
        place.check()  # something may have come into being since
        _replace(work.store, out)
        shutil.rmtree(work.folder, ignore_errors=True)


@contextmanager
def _naming_a_full_disk(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise RunError(
            f"The disk of {out} can take no more ({error.strerror}); make room and give the same command again: "
            "what is done is not done twice"
        ) from error


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Own an output; the lock file says which process does."""
    path = out.with_name(f".{out.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = path.read_text(encoding="utf-8").strip()
        raise ConfigError(
            f"Another watercli (process {owner or 'unknown'}) is writing {out}; wait for it, or give another --out"
        ) from None
    try:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is ours: who comes next makes a new one
        lock.release()


def _replaced(out: Path) -> Path:
    return out.with_name(f".{out.name}.replaced")


def _restore(out: Path) -> None:
    """Bring back, or remove, the store that was being replaced when a process died between two renames."""
    if _replaced(out).exists():
        if out.exists():
            shutil.rmtree(_replaced(out))
        else:
            _replaced(out).rename(out)


def _replace(store: Path, out: Path) -> None:
    """Put a finished store in its place; if that fails, the old one stays."""
    if out.exists():
        out.rename(_replaced(out))
    try:
        store.rename(out)
    except BaseException:
        _restore(out)
        raise
    shutil.rmtree(_replaced(out), ignore_errors=True)
