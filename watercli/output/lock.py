"""One owner of an output at a time: the system frees the lock when its owner dies, however it dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from watercli.errors import ConfigError
from watercli.log import log


@contextmanager
def locked(out: Path, *, wait: bool = False) -> Iterator[None]:
    """Own an output; the file ``.<name>.lock`` beside it says which process does. Its owner may own it again.

    With ``wait``, an output that another process owns is waited for, until that process is done or dead.

    Raises
    ------
    ConfigError
        If another process, or another thread of this one, owns it.
    """
    out = out.absolute()
    path = out.with_name(f".{out.name}.lock")
    lock = FileLock(path, is_singleton=True)
    path.touch()  # where no file can be made, the lock would be tried for again and again
    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = _owner(path)
        if not wait:
            raise ConfigError(
                f"Another watercli (process {owner}) is writing {out}; wait for it, or choose another place"
            ) from None
        log.info("Waiting for another watercli (process %s), which is writing %s", owner, out)
        lock.acquire()
    try:
        if lock.lock_counter == 1:
            path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        if lock.lock_counter == 1:
            path.unlink(missing_ok=True)  # while this process owns it: the next one makes its own
        lock.release()


def _owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown"
    except OSError:  # it has just been done
        return "unknown"
