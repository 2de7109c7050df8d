"""``watercli pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import (
    ConfigOption,
    DebugOption,
    OverwriteOption,
    SetOption,
    StoreOption,
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
    from watercli.api import training
    from watercli.log import log

    if dry_run:
        training.preview_pretrain(
            store, run, config=config, settings=settings or [], gpus=gpus, processes=processes, hostfile=hostfile,
            resume=resume,
        )  # fmt: skip
        return
    note_idle_gpus(gpus, processes)
    trained = training.pretrain(
        store, run, config=config, settings=settings or [], gpus=gpus, processes=processes, hostfile=hostfile,
        resume=resume, overwrite=overwrite,
    )  # fmt: skip
    best = trained.checkpoint
    log.info("Done: best validation loss %.4f at step %d. Next: watercli evaluate --run %s", best.validation_loss,
             best.step, trained.path)  # fmt: skip
