"""``watercli pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watercli.cli.options import (
    ConfigOption,
    DebugOption,
    OverwriteOption,
    SetOption,
    StoreOption,
    note_idle_gpus,
)

if TYPE_CHECKING:
    from watercli.run.checkpoint import Checkpoint

SEVERAL = "Several processes, through DeepSpeed"


def pretrain(
    store: StoreOption = None,
    run: Annotated[
        Path | None, typer.Option(help="The run directory; by default runs/NAME of the configuration.")
    ] = None,
    config: ConfigOption = None,
    parent: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A trained model, or a run, whose weights and scaling training begins with.",
            metavar="NAME|PATH|URL",
        ),
    ] = None,
    gpus: Annotated[
        int,
        typer.Option(min=0, help="GPUs to train on, on each machine: a process for each GPU.", rich_help_panel=SEVERAL),
    ] = 0,
    processes: Annotated[
        int, typer.Option(min=0, help="Processes to train with on the CPU of each machine.", rich_help_panel=SEVERAL)
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
            help="Go on from the newest complete checkpoint, with any number of processes. --set may change steps, "
            "intervals and what saves memory, but no setting that makes another experiment.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure a few steps, and print memory and time; write nothing.")
    ] = False,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Pretrain the masked autoencoder on a store (by default with the configuration of the store).

    It trains in this process, on the CPU. With --gpus or --processes, DeepSpeed starts several processes, which share
    the windows of each step; on one machine that needs no setup.

    With --from it begins with the weights of a trained model of the same structure, in place of random ones.

    Ctrl-C finishes the step, saves a checkpoint and says how to go on; a second Ctrl-C stops at once.
    --dry-run estimates memory and time beforehand.
    """
    from watercli.api import training
    from watercli.log import log

    if dry_run:
        training.preview_pretrain(
            store, run, config=config, parent=parent, settings=settings or [], gpus=gpus, processes=processes,
            hostfile=hostfile, resume=resume,
        )  # fmt: skip
        return
    note_idle_gpus(gpus, processes)
    trained = training.pretrain(
        store, run, config=config, parent=parent, settings=settings or [], gpus=gpus, processes=processes,
        hostfile=hostfile, resume=resume, overwrite=overwrite,
    )  # fmt: skip
    log.info("Done: %s. Next: watercli evaluate --run %s", why_best(trained.checkpoint), trained.path)


def why_best(checkpoint: Checkpoint) -> str:
    """Return which score made a run's checkpoint the best; see `watercli.run.directory.best_of`."""
    if checkpoint.validation_nse is None:
        return f"step {checkpoint.step} is best, by its validation loss of {checkpoint.validation_loss:.4f}"
    return f"step {checkpoint.step} is best, by the median NSE of its simulated series, {checkpoint.validation_nse:.3f}"
