"""One process of a DeepSpeed run; started by its launcher with ``--run DIR``."""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TextIO

from watercli.errors import WatercliError


def main() -> int:
    """Train; on a failure leave one sentence in ``logs/rank-N.error`` for the command that launched this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--launcher", required=True, help="machine:process of the command that launched this process")
    parser.add_argument("--accelerator", required=True)
    parser.add_argument("--threads", required=True)
    parser.add_argument("--local_rank", type=int, default=0)
    given = parser.parse_args()
    # Other machines do not inherit these.
    os.environ |= {"DS_ACCELERATOR": given.accelerator, "TORCH_CPP_LOG_LEVEL": "ERROR"}
    os.environ.setdefault("OMP_NUM_THREADS", given.threads)
    rank, logs = int(os.environ["RANK"]), given.run / "logs"
    if not logs.is_dir():
        print(  # noqa: T201
            f"ERROR No run {given.run} here: every machine must see the run by the same path", file=sys.stderr
        )
        return 1
    heard = _say_to(logs / f"rank-{rank}.log")
    leave = functools.partial(_leave, logs, rank, heard)
    try:
        _train(given.run, rank, given.launcher, heard)
    except WatercliError as error:
        leave(error.exit_code, str(error))
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        from watercli.training.failures import lost_another

        again = f"continue with 'watercli pretrain --run {given.run} --resume'"
        if lost_another(error):
            text = f"A training process was killed or lost (out of memory?); the logs are in {logs}; {again}"
            leave(1, text, "lost")
        else:
            text = " ".join(str(error).split())[:300]
            where = logs / f"rank-{rank}.log"
            leave(1, f"Rank {rank} failed ({type(error).__name__}: {text}); its log is {where}; {again}")
        return 1
    return 0


def _say_to(file: Path) -> TextIO:
    """Send all that this process and its libraries print to a file; return where the launching command listens."""
    heard = os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1)
    with file.open("w", encoding="utf-8") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    return heard


def _leave(logs: Path, rank: int, heard: TextIO, code: int, sentence: str, kind: str = "error") -> None:
    """Leave a sentence where the launching command finds it; if the disk can take no more, have it logged there."""
    try:
        (logs / f"rank-{rank}.{kind}").write_text(f"{code}\n{sentence}", encoding="utf-8")
    except OSError:
        heard.write(f"{time.strftime('%H:%M:%S')} ERROR {sentence}\n")
        heard.flush()


def _train(run: Path, rank: int, launcher: str, heard: TextIO) -> None:
    from watercli.log import configure
    from watercli.run.parent import RECORD, parent_of
    from watercli.store import Store
    from watercli.training.deepspeed_engine import DeepSpeedEngine
    from watercli.training.display import Relay
    from watercli.training.pretrain import run_config, work
    from watercli.training.stop import STOP_FILE, Stop

    configure(logging.INFO if rank == 0 else logging.ERROR, heard if rank == 0 else sys.stderr)
    config = run_config(run)
    store = Store.open(Path(json.loads((run / RECORD).read_text(encoding="utf-8"))["store"]))
    parent = parent_of(run)
    store = store if parent is None else parent.read(store)
    machine, _, process = launcher.rpartition(":")
    stop = Stop(run / "logs" / STOP_FILE if rank == 0 else None, (machine, int(process)))
    work(config, store, run, lambda model: DeepSpeedEngine(model, config), display=Relay(heard), stop=stop)


if __name__ == "__main__":
    sys.exit(main())
