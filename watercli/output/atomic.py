"""Outputs appear whole or not at all: written under a temporary name beside their own, renamed when finished.

The temporary name holds machine and process, so that what a killed process left can be told from what a living one
still writes.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from watercli.errors import ConfigError
from watercli.log import log

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
            above = next(one for one in self.path.absolute().parents if one.exists())
            if not above.is_dir() or not os.access(above, os.W_OK):
                raise ConfigError(f"{self.path} cannot be written: {above} is no folder one may write to")
            return
        if not self.overwrite:
            raise ConfigError(f"{self.path} exists; give another --out, or --overwrite to replace it")
        if self.path.is_symlink() or not self.path.is_dir() or not self.is_own(self.path):
            raise ConfigError(
                f"{self.path} holds no {self.what} of watercli, and --overwrite replaces nothing else; "
                "give another --out"
            )

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Yield a temporary path; on a clean exit it becomes the target, on any other it is removed."""
        self.check()
        out = self.path
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(out)
        mark = f"{socket.gethostname()}-{os.getpid()}"
        partial, replaced = (out.with_name(f".{out.name}.{kind}-{mark}") for kind in ("partial", "replaced"))
        shutil.rmtree(partial, ignore_errors=True)
        try:
            yield partial
            self.check()  # something may have come into being since
            if out.exists():
                out.rename(replaced)
            try:
                partial.rename(out)
            except BaseException:
                if replaced.exists():
                    replaced.rename(out)
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if out.exists():
                shutil.rmtree(replaced, ignore_errors=True)


def _remove_stale(out: Path) -> None:
    """Remove what processes of this machine that no longer live left beside ``out``."""
    pattern = re.compile(rf"\.{re.escape(out.name)}\.(partial|replaced)-{re.escape(socket.gethostname())}-(\d+)")
    for path in out.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match is None or alive(int(match[2])):
            continue
        # A replaced folder is the only copy if the process died between its two renames.
        if match[1] == "partial" or out.exists():
            log.info("Removing %s, left by a process that ended", path)
            shutil.rmtree(path, ignore_errors=True)


def alive(pid: int) -> bool:
    """Return whether a process of this machine lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def zarr_with(*attributes: str) -> Callable[[Path], bool]:
    """Return a test whether a folder is a Zarr group whose root has these attributes."""

    def is_own(path: Path) -> bool:
        import zarr

        try:
            found = zarr.open_group(path, mode="r").attrs
        except Exception:
            return False
        return all(name in found for name in attributes)

    return is_own
