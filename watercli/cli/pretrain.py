"""``watercli pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import (
    RUNS,
    ConfigOption,
    DebugOption,
    OverwriteOption,
    SetOption,
    StoreOption,
    find_store,
    note_idle_gpus,
)

SEVERAL = "Several processes, through DeepSpeed"


def pretrain(
    store: StoreOption = None,
    run: Annotated[
        Path | None, typer.Option(help="The run directory; by default runs/NAME of the configuration.")
    ] = None,
    config: ConfigOption = None,
    gpus: Annotated[
        int,
        typer.Option(min=0, help="GPUs to train on, one process for each; of each machine.", rich_help_panel=SEVERAL),
    ] = 0,
    processes: Annotated[
        int, typer.Option(min=0, help="Processes to train with on the CPU; of each machine.", rich_help_panel=SEVERAL)
    ] = 0,
    hostfile: Annotated[
        Path | None,
        typer.Option(
            help="Machines to train on: a line 'HOST slots=N' for each. They need the same paths, ssh without a "
            "password, and pdsh.",
            rich_help_panel=SEVERAL,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the newest whole checkpoint, with as many processes as you like. Steps, intervals and "
            "what saves memory may change with --set; what makes another experiment may not.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what training would take, from a few steps; write nothing.")
    ] = False,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Pretrain the masked autoencoder on a store (without --config: as the store was prepared for).

    It trains in this process, on the CPU. --gpus or --processes has DeepSpeed start several, which share
    the windows of each step; nothing has to be set up for that on one machine.

    Ctrl-C finishes the step, saves a checkpoint and says how to go on; a second one stops at once.
    --dry-run says beforehand what memory and time it takes.
    """
    from watercli.config import load, with_overrides
    from watercli.log import log
    from watercli.store import Store
    from watercli.training.launch import Processes
    from watercli.training.pretrain import pretrain as train
    from watercli.training.pretrain import run_config

    changes, parts = settings or [], Processes(gpus, processes, hostfile)
    opened = Store.open(find_store(store, run if resume else None))
    place = run or RUNS / (load(config) if config else opened.config).name
    if config is not None:
        loaded = load(config, changes)
    else:
        loaded = with_overrides(run_config(place) if resume else opened.config, changes)
    if dry_run:
        from watercli.training.dry_run import estimate, show
        from watercli.training.pretrain import check

        check(loaded, opened, parts)
        show(estimate(loaded, opened, parts), loaded, parts)
        return
    note_idle_gpus(gpus, processes)
    best = train(loaded, opened, place, resume=resume, overwrite=overwrite, processes=parts)
    log.info("Done: best validation loss %.4f at step %d. Next: watercli evaluate --run %s", best.validation_loss,
             best.step, place)  # fmt: skip
