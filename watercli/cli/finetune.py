"""``watercli finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import (
    DebugOption,
    MapOption,
    OverwriteOption,
    SetOption,
    as_map,
    note_idle_gpus,
)
from watercli.cli.pretrain import SEVERAL, why_best


def finetune(
    model: Annotated[
        str | None,
        typer.Option(
            help="The parent: a name that 'watercli models' lists, a folder, a URL, or a run directory.",
            metavar="NAME|PATH|URL",
        ),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="The store to fine-tune on; by default store.zarr.")] = None,
    run: Annotated[Path | None, typer.Option(help="The new run directory; by default runs/NAME-finetuned.")] = None,
    map: MapOption = None,
    parent_store: Annotated[
        Path | None,
        typer.Option(help="A store of the parent's gauges, on whose test period forgetting is measured."),
    ] = None,
    gpus: Annotated[
        int, typer.Option(min=0, help="GPUs to train on, a process for each.", rich_help_panel=SEVERAL)
    ] = 0,
    processes: Annotated[
        int, typer.Option(min=0, help="Processes to train with on the CPU.", rich_help_panel=SEVERAL)
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest complete checkpoint; --model may be left out.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure a few steps, and print memory and time; write nothing.")
    ] = False,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Fine-tune a trained model on a store: a short training that begins with its weights and keeps its scaling.

    A store of other names and units is read as the model knows them; a table says how. The best step is chosen by
    validation, and the parent itself is a candidate. The result is a run directory, which every command takes.
    """
    from watercli.api import training
    from watercli.log import log

    names, changes = as_map(map), settings or []
    if dry_run:
        training.preview_finetune(
            model, store, run, names=names, settings=changes, gpus=gpus, processes=processes, resume=resume
        )
        return
    note_idle_gpus(gpus, processes)
    child = training.finetune(
        model, store, run, names=names, settings=changes, gpus=gpus, processes=processes, resume=resume,
        overwrite=overwrite, parent_store=parent_store,
    )  # fmt: skip
    best = child.checkpoint
    unchanged = "" if best.step else ", the parent itself"
    log.info("Done: %s%s. Next: watercli simulate --run %s", why_best(best), unchanged, child.path)
