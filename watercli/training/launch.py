"""Starts DeepSpeed's own launcher and turns what goes wrong in its processes into one sentence."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from watercli.errors import ConfigError, RunError, WatercliError
from watercli.log import log

LOGS = "logs"


def launch(run: Path, *, gpus: int, processes: int) -> None:
    """Run ``watercli.training.worker`` in several processes on this machine.

    Raises
    ------
    ConfigError
        If a process refused its configuration.
    RunError
        If a process failed; its log is named.
    """
    logs = run / LOGS
    logs.mkdir(exist_ok=True)
    for old in logs.iterdir():
        old.unlink()
    number = gpus or processes
    command = [
        *(sys.executable, "-m", "deepspeed.launcher.runner"),
        *("--num_gpus", str(number), "--master_port", str(_free_port())),
        *("--module", "watercli.training.worker", "--run", str(run)),
    ]
    environment = os.environ | {
        "PYTHONSAFEPATH": "1",
        "DS_ACCELERATOR": "cuda" if gpus else "cpu",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // number, 1))),
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        _forward(process, logs / "launcher.log")
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if code:
        raise _failure(logs)


def _forward(process: subprocess.Popen[str], file: Path) -> None:
    """Write all that the processes say to a file, and what rank 0 logs to our own log as well."""
    ours = re.compile(r"\d\d:\d\d:\d\d (INFO|WARNING|ERROR) (.*)")
    assert process.stdout is not None
    with file.open("w", encoding="utf-8") as copy:
        for line in process.stdout:
            copy.write(line)
            copy.flush()
            match = ours.match(line)
            if match:
                log.log(logging.getLevelNamesMapping()[match[1]], "%s", match[2])


def _failure(logs: Path) -> WatercliError:
    """Return the error that a process left, or one that points to its log."""
    for file in sorted(logs.glob("rank-*.error")):
        code, _, message = file.read_text(encoding="utf-8").partition("\n")
        return (ConfigError if code == "2" else RunError)(message)
    return RunError(f"A training process ended without a word (killed?); its log is in {logs}; continue with --resume")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    log.debug("DeepSpeed meets at port %d", port)
    return port
