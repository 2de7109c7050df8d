"""The error tree: what a user can cause, and the exit code it ends in.

Every message is one sentence that names the file, variable or setting and says what to do.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

MOST_NAMES = 20
"""Known names that an error lists at most."""
_FULL = "{file} cannot be written: the disk can take no more; make room, and give the same command again"
_NO_PERMISSION = "No permission for {file}; change its permissions, or choose another place"
_MACHINE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: "{file} cannot be written: its disk is read-only; choose another place",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.ENOENT: "{file} is not there, or is a link to nothing; mend the path",
    errno.ENOTDIR: "{file} lies below a file, which is no folder; mend the path",
    errno.EEXIST: "{file} exists, and is no folder; choose another place",
    errno.EISDIR: "{file} is a folder, and must be a file; mend the path",
    errno.ELOOP: "{file} is a link to itself; mend the path",
    errno.ENAMETOOLONG: "'{name:.40}...' is a name too long for the disk; choose a shorter one",
    errno.EIO: "{file} cannot be read or written: the disk reports an error; look at the disk, or copy the file again",
    errno.EMFILE: "Too many files are open; raise the limit with 'ulimit -n 4096'",
}
"""What the system refuses, in words."""


class WatercliError(Exception):
    """Base of every error a user can cause; the command ends in a sentence and ``exit_code``."""

    exit_code = 1


class ConfigError(WatercliError):
    """Wrong usage: a setting, an option or a path given on the command line."""

    exit_code = 2


class DataError(WatercliError):
    """A source file or a store does not hold the expected data."""


class RunError(WatercliError):
    """A run failed on the way, or a run directory lacks what a command needs."""


def of_the_machine(error: BaseException) -> str | None:
    """Return in a sentence what the machine refused; None if the error is none of its."""
    if isinstance(error, MemoryError):
        return "Memory ran out; make the work smaller, or use a larger machine"
    if not isinstance(error, OSError) or (sentence := _MACHINE.get(error.errno or 0)) is None:
        return None
    file = str(error.filename or "A file or standard output")
    return sentence.format(file=file, name=Path(file).name)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, otherwise the known names."""
    names = sorted(known)
    close = [other for other in names if other.casefold() == name.casefold()] or get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    shown = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
    return f"; known: {shown}" if names else ""
