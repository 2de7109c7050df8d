"""How training is stopped after the step under way: by a signal, by the command that launched it, by its death."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from watercli.log import log

STOP_FILE = "stop"
"""In a run's ``logs``: made by the command that launched several processes, seen by rank 0 wherever it runs."""


class Stop:
    """Notes a request to stop this process; a second signal breaks at once.

    Parameters
    ----------
    file
        Stops the process once it exists.
    launcher
        Machine and process id of the command that launched this process. Its death stops the process, as does that of
        the parent. None, as in a run of one process, watches neither.
    """

    def __init__(self, file: Path | None = None, launcher: tuple[str, int] | None = None) -> None:
        self._file, self._launcher = file, launcher
        self._parent = os.getppid()
        self._signalled = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        log.warning("Stopping after this step; once more to stop at once")

    @property
    def requested(self) -> bool:
        """Whether this process is to stop."""
        return self._signalled or self._orphaned() or (self._file is not None and self._file.exists())

    def _orphaned(self) -> bool:
        if self._launcher is None:
            return False
        machine, process = self._launcher
        return os.getppid() != self._parent or (machine == socket.gethostname() and not alive(process))


def alive(pid: int) -> bool:
    """Return whether a process of this machine lives; one that ended lives no more, reaped or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended and nobody has asked how, as in containers without an init."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it is gone just now, or this system has no /proc
        return False
    return status.rpartition(")")[2].split()[0] == "Z"
