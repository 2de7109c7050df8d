"""The error tree: what a user can cause, and the exit code it ends in.

Every message is one sentence that names the file, variable or setting and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MOST_NAMES = 20
"""Known names that an error lists at most."""


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


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, otherwise the known names."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    shown = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
    return f"; known: {shown}" if names else ""
