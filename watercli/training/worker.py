"""One process of a DeepSpeed run; started by its launcher with ``--run DIR``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

from watercli.errors import WatercliError
from watercli.log import configure
from watercli.store import Store
from watercli.training.engine import DeepSpeedEngine
from watercli.training.pretrain import RUN, run_config, work


def main() -> int:
    """Train; on a failure leave one sentence in ``logs/rank-N.error`` for the process that launched us."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--local_rank", type=int, default=0)
    run = parser.parse_args().run
    rank = int(os.environ.get("RANK", "0"))
    configure(logging.INFO if rank == 0 else logging.ERROR)
    try:
        config = run_config(run)
        store = Store.open(Path(json.loads((run / RUN).read_text(encoding="utf-8"))["store"]))
        work(config, store, run, lambda model: DeepSpeedEngine(model, config))
    except WatercliError as error:
        (run / "logs" / f"rank-{rank}.error").write_text(f"{error.exit_code}\n{error}", encoding="utf-8")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
