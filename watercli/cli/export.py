"""``watercli export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import DebugOption, ModelOption, OverwriteOption, RunOption


def export(
    out: Annotated[Path, typer.Option(help="Where to write the model, a folder.")],
    run: RunOption = None,
    model: ModelOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; by default that of the folder.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Write weights of 16 bits: half the size.")] = False,
    evaluation: Annotated[
        Path | None, typer.Option(help="Evaluation whose scores the card shows; by default that of the run.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Store of that evaluation, for scores by climate; by default the run's own.")
    ] = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a run's best model to a folder that others can use: weights, JSON and a card."""
    from watercli.api.run import open_pretrained
    from watercli.log import log

    opened = open_pretrained(run, model)
    written = opened.export(out, name=name, half=half, evaluation=evaluation, store=store, overwrite=overwrite)
    log.info("Done: %s. Next: watercli simulate --model %s", written, written)
