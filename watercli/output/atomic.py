"""Files and folders appear whole or not at all: written beside their place, and renamed into it when finished.

Beside ``<name>`` stand, while it is written, ``.<name>.partial`` (what is unfinished), ``.<name>.replaced`` (the old
one, between two renames) and ``.<name>.lock`` (its owner; see `watercli.output.lock`).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from watercli.errors import ConfigError
from watercli.log import log
from watercli.output.lock import locked

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system calls a disk, a quota or a file that can take no more."""


@dataclass(frozen=True)
class Target:
    """A folder to be written: where, and what may be replaced there."""

    path: Path
    overwrite: bool
    what: str
    """What it is, for messages: "store", "embeddings"."""
    is_own: Callable[[Path], bool]
    """Whether a folder is one that watercli wrote as such; nothing else is ever replaced."""

    def check(self) -> None:
        """Refuse to write where something is that may not be replaced.

        Raises
        ------
        ConfigError
            If the path exists and ``overwrite`` is off, or it is something else.
        """
        if not self.path.exists() and not self.path.is_symlink():
            parent = existing_parent(self.path)
            if not parent.is_dir() or not os.access(parent, os.W_OK):
                raise ConfigError(f"{self.path} cannot be written: {parent} is no folder one may write to")
            return
        if not self.path.exists():
            raise ConfigError(f"{self.path} is a link to nothing ({self.path.readlink()}); give another --out")
        if not self.overwrite:
            raise ConfigError(f"{self.path} exists; give another --out, or --overwrite to replace it")
        if self.path.is_symlink() or not self.path.is_dir() or not self.is_own(self.path):
            raise ConfigError(
                f"{self.path} holds no {self.what} of watercli, and --overwrite replaces nothing else; "
                "give another --out"
            )

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the target: what takes long is refused before its work, not after.

        Raises
        ------
        ConfigError
            If the target may not be written, or another process is writing it.
        """
        self.check()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            yield

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Yield an unused path; on a clean exit the folder there becomes the target, on any other it is removed.

        Raises
        ------
        ConfigError
            If the target may not be written, or another process is writing it.
        """
        with self.owned(), written_folder(self.path) as partial:
            yield partial
            self.check()  # something may have come into being since


def existing_parent(path: Path) -> Path:
    """Return the nearest folder above a path that exists."""
    return next(parent for parent in path.absolute().parents if parent.exists())


@contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """Yield an unused path; on a clean exit the file there becomes ``path``, on any other it is removed.

    Several processes may write the same file: each has a name of its own until the rename.
    """
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, which appears whole or not at all."""
    with written_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def written_folder(out: Path) -> Iterator[Path]:
    """Yield an unused path; on a clean exit the folder there becomes ``out``, on any other it is removed.

    Who may be met by another process at ``out`` locks it before; see `Target.writing`.
    """
    restore(out)
    partial = partial_of(out)
    if partial.exists():
        log.info("Removing %s, left by a process that ended", partial)
        shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        put(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def partial_of(out: Path) -> Path:
    """Return the name of what will be ``out``."""
    return out.with_name(f".{out.name}.partial")


def put(folder: Path, out: Path) -> None:
    """Put a finished folder in its place; if that fails, what was there before stays."""
    if out.exists():
        out.rename(_replaced(out))
    try:
        folder.rename(out)
    except BaseException:
        restore(out)
        raise
    shutil.rmtree(_replaced(out), ignore_errors=True)


def restore(out: Path) -> None:
    """Bring back, or remove, what was being replaced when a process died between two renames."""
    if _replaced(out).exists():
        if out.exists():
            shutil.rmtree(_replaced(out))
        else:
            _replaced(out).rename(out)


def recover(out: Path) -> None:
    """Do what `restore` does, where there is something to restore, before an output is read.

    Raises
    ------
    ConfigError
        If another process is writing it just now.
    """
    if _replaced(out).exists():
        with locked(out):
            restore(out)


def _replaced(out: Path) -> Path:
    return out.with_name(f".{out.name}.replaced")


def flush(path: Path) -> None:
    """Have the disk hold what was written: a rename that outlives a power cut must not outlive its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link(source: str, target: str) -> None:
    """Share a file where the file system can, and copy it elsewhere; for `shutil.copytree`.

    A file that is shared must be replaced, never written into; Zarr does so.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
