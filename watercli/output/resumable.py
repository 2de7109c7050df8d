"""Work in a folder beside the output: what an interruption leaves there, the same command goes on with.

``.<name>.partial/`` holds the unfinished output, the marks of its finished blocks and, in ``state.json``, what it is
being made of. One process at a time owns it. The output itself is replaced by renaming, at the end.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watercli.errors import RunError, WatercliError
from watercli.log import log
from watercli.output.atomic import DISK_FULL, Target, partial_of, put, restore, write_text
from watercli.output.lock import locked


@dataclass(frozen=True)
class Work:
    """The folder in which an output is made."""

    folder: Path

    @classmethod
    def beside(cls, out: Path) -> Work:
        """Return the folder that belongs to an output; it need not exist."""
        return cls(partial_of(out))

    @property
    def store(self) -> Path:
        """The unfinished output."""
        return self.folder / "store.zarr"

    def marks(self, variable: str) -> Path:
        """Return the folder of the marks of a variable's finished blocks; it exists once the array does."""
        return self.folder / "blocks" / variable

    @property
    def state(self) -> dict[str, Any]:
        """What is being made: ``key``, ``created`` and what the maker added; empty if nothing is."""
        try:
            state: dict[str, Any] = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state

    @property
    def created(self) -> str:
        """When the making began; a continued output keeps it."""
        return str(self.state["created"])

    def begin(self, state: Mapping[str, Any]) -> None:
        """Go on with what is here if it was begun from the same ``key``; otherwise, or if that is None, start anew."""
        begun = self.state
        if begun and begun["key"] == state["key"] is not None:
            self._sweep()
            done = len(list(self.folder.glob("blocks/*/*")))
            log.info("Continuing what was begun at %s: %d blocks are done", begun["created"], done)
            return
        if self.folder.exists():
            log.info(
                "What lies half-made in %s is of another recipe or other files, or an extension: starting anew",
                self.folder,
            )
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        write_text(self.folder / "state.json", json.dumps({"created": _now(), **state}, indent=1))

    def _sweep(self) -> None:
        """Remove what was written only in part: torn files, and every array that has no marks of its blocks."""
        for torn in self.folder.rglob("*.partial"):  # Zarr's, and those of marks
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
def working(target: Target, state: Mapping[str, Any]) -> Iterator[Work]:
    """Yield the folder in which to make an output; on a clean exit the output becomes the target.

    An error of the user's removes the folder, as it could not be continued, and so does any error if ``key`` is None.
    Whatever else ends the work leaves it.

    Raises
    ------
    ConfigError
        If another process is making the same output, or it may not be written.
    RunError
        If the disk is full.
    """
    target.check()
    out, work = target.path, Work.beside(target.path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _naming_a_full_disk(out), locked(out):
        restore(out)
        try:
            work.begin(state)
            yield work
        except BaseException as error:
            if state["key"] is None or (isinstance(error, WatercliError) and not isinstance(error, RunError)):
                shutil.rmtree(work.folder, ignore_errors=True)
            elif isinstance(error, KeyboardInterrupt):
                log.info("What is done is kept in %s; the same command goes on from there", work.folder)
            raise
        target.check()  # something may have come into being since
        put(work.store, out)
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
