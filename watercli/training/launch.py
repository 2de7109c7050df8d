"""Starts DeepSpeed's own launcher, passes on a request to stop, and says in a sentence what went wrong.

watercli -> deepspeed.launcher.runner -> (pdsh, for several machines) -> deepspeed.launcher.launch -> our workers.
A signal to the launcher would kill the workers, so a first Ctrl-C makes a file that rank 0 looks for after each step.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from watercli.errors import ConfigError, RunError, WatercliError
from watercli.log import log
from watercli.training.display import Display, relayed
from watercli.training.stop import STOP_FILE

LOGS = "logs"
LAUNCHER_LOG = "launcher.log"
PATIENCE = 40.0
"""Seconds that processes have to end after a second signal; DeepSpeed's launcher waits 30 of them."""


@dataclass(frozen=True)
class Processes:
    """How many processes train, where, and on what."""

    gpus: int = 0
    """GPUs of each machine; 0 trains on CPU."""
    processes: int = 0
    """Processes on each machine, on CPU."""
    hostfile: Path | None = None
    """The machines, in DeepSpeed's format; None for this one."""

    def __post_init__(self) -> None:
        if self.gpus and self.processes:
            raise ConfigError("--gpus and --processes exclude each other; --processes is for CPU")
        if self.hostfile and not self.several:
            raise ConfigError(
                "--hostfile names machines; say with --gpus, or on CPU with --processes, how many processes each starts"
            )
        if self.hostfile and not shutil.which("pdsh"):
            raise ConfigError(
                "--hostfile needs the program pdsh, with which DeepSpeed starts processes on other machines; "
                "install it (on Debian: apt install pdsh)"
            )

    @property
    def several(self) -> bool:
        """Whether DeepSpeed starts processes; otherwise training is this process's own work."""
        return bool(self.gpus or self.processes)

    @property
    def each(self) -> int:
        """Number of processes on a machine."""
        return self.gpus or self.processes or 1

    @property
    def world(self) -> int:
        """Number of processes in all.

        Raises
        ------
        ConfigError
            If the hostfile cannot be read, or a machine has fewer slots than processes.
        """
        return self.each * (len(slots(self.hostfile, self.each)) if self.hostfile else 1)


def slots(hostfile: Path, needed: int = 1) -> dict[str, int]:
    """Return the machines of a hostfile and their slots: lines such as ``node1 slots=4``.

    Raises
    ------
    ConfigError
        If there is no such file, a line is malformed, or a machine stands twice or has fewer slots than needed.
    """
    if not hostfile.is_file():
        raise ConfigError(f"No hostfile {hostfile}; write one, with a line such as 'node1 slots=4' for each machine")
    slots_of: dict[str, int] = {}
    for number, line in enumerate(hostfile.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        match = re.fullmatch(r"(\S+)\s+slots=(\d+)", words)
        if match is None:
            raise ConfigError(f"Line {number} of {hostfile} is no 'HOST slots=N': {words}")
        host, available = match[1], int(match[2])
        if host in slots_of:
            raise ConfigError(
                f"Line {number} of {hostfile} names {host} a second time; leave one line for each machine"
            )
        if available < needed:
            raise ConfigError(
                f"{host} has {available} slots in {hostfile}, fewer than the {needed} processes of each machine; "
                "start fewer"
            )
        slots_of[host] = available
    if not slots_of:
        raise ConfigError(f"{hostfile} names no machine; write a line such as 'node1 slots=4' for each")
    return slots_of


def command(run: Path, processes: Processes, port: int) -> list[str]:
    """Return the command line of DeepSpeed's launcher."""
    # Without a name DeepSpeed takes /job/hostfile, where a cluster has put one.
    hosts = ["--hostfile", str(processes.hostfile or "")]
    if processes.hostfile and len(slots(processes.hostfile)) == 1:
        hosts += ["--force_multi"]  # otherwise a single machine is taken for this one
    return [
        *(sys.executable, "-m", "deepspeed.launcher.runner", *hosts),
        *("--num_gpus", str(processes.each), "--master_port", str(port)),
        *("--module", "watercli.training.worker", "--run", str(run.resolve())),
        *("--launcher", f"{socket.gethostname()}:{os.getpid()}"),
        *("--accelerator", "cuda" if processes.gpus else "cpu", "--threads", str(threads(processes.each))),
    ]


def threads(processes: int) -> int:
    """Return how many threads each of several processes on a machine may have."""
    return int(os.environ.get("OMP_NUM_THREADS", max((os.cpu_count() or 1) // processes, 1)))


def launch(run: Path, processes: Processes, display: Display) -> None:
    """Run ``watercli.training.worker`` in several processes.

    Raises
    ------
    ConfigError
        If a process refused its configuration.
    RunError
        If a process failed or the run was stopped; a failure names the log.
    """
    logs = run / LOGS
    logs.mkdir(exist_ok=True)
    for file in logs.iterdir():
        file.unlink()
    # DeepSpeed reads these wherever it is imported, in its launcher too.
    environment = os.environ | {
        "PYTHONSAFEPATH": "1",
        "DS_ACCELERATOR": "cuda" if processes.gpus else "cpu",
        "OMP_NUM_THREADS": str(threads(processes.each)),
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        command(run, processes, _free_port()),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    # Workers outlive a launcher that is killed: the stop file then ends them.
    watch = threading.Thread(target=_stop_when_gone, args=(process, logs / STOP_FILE), daemon=True)
    watch.start()
    try:
        with _stop_on_signal(logs / STOP_FILE), display:
            _forward(process, logs / LAUNCHER_LOG, display)
            process.wait()
    except BaseException:
        _end(process)
        raise
    watch.join()
    (logs / STOP_FILE).unlink()
    failure = _failure(logs)
    if failure or process.returncode:
        raise failure or RunError(f"A training process ended without a word (killed?); its log is in {logs}; "
                                  f"continue with 'watercli pretrain --run {run} --resume'")  # fmt: skip


def _stop_when_gone(process: subprocess.Popen[str], file: Path) -> None:
    process.wait()
    file.touch()


@contextlib.contextmanager
def _stop_on_signal(file: Path) -> Iterator[None]:
    """Make the stop file on a first Ctrl-C or SIGTERM; a second one breaks."""

    def note(number: int, frame: FrameType | None) -> None:
        if file.exists():
            raise KeyboardInterrupt
        file.touch()
        log.warning("Stopping after this step; once more to stop at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[str]) -> None:
    """End the launcher and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
            if not _group_lives(process.pid):
                return


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _forward(process: subprocess.Popen[str], file: Path, display: Display) -> None:
    """Write all that the processes say to a file; show what rank 0 reports, and log what it logs."""
    # pdsh puts the machine's name before each line.
    ours = re.compile(r"(?:\S+: )?\d\d:\d\d:\d\d (INFO|WARNING|ERROR) (.*)")
    assert process.stdout is not None
    with file.open("w", encoding="utf-8") as copy:
        for line in process.stdout:
            report = relayed(line)
            if report is not None:
                display.show(report)
                continue
            copy.write(line)
            copy.flush()
            match = ours.match(line)
            if match:
                log.log(logging.getLevelNamesMapping()[match[1]], "%s", match[2])


def _failure(logs: Path) -> WatercliError | None:
    """Return the error that was left first, None if there is none; those that lost another process come last."""
    reports = sorted(logs.glob("rank-*.*"), key=lambda file: (file.suffix, file.stat().st_mtime_ns))
    for file in (file for file in reports if file.suffix in (".error", ".lost")):
        code, _, message = file.read_text(encoding="utf-8").partition("\n")
        return (ConfigError if code == "2" else RunError)(message)
    return None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    log.debug("DeepSpeed meets at port %d", port)
    return port
