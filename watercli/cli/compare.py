"""``watercli compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import DebugOption, GpuOption, OverwriteOption, SetOption, StoreOption


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Run directories, or a study (ungauged, ungauged-regions, ablation, report, or a YAML file).",
            metavar="RUN...|STUDY",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; by default comparison/, or of a study runs/STUDY/comparison."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            help="Of a study: a shipped configuration's name or a YAML file; by default the study's own, otherwise "
            "the store's.",
            metavar="NAME|FILE",
        ),
    ] = None,
    gpus: GpuOption = 0,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Put several runs, or the variants of a study, into one report; folds of one experiment make one row.

    A study's variants are pretrained, and runs are evaluated, unless they already are.
    """
    from watercli.api import comparison
    from watercli.evaluation.report.comparison import PAGE
    from watercli.log import log

    folder = out or comparison.default_folder(runs or [])
    comparison.compare(
        runs or [], store, config=config, settings=settings or [], out=folder, overwrite=overwrite, gpus=gpus
    )
    log.info("Done: open %s", folder / PAGE)
