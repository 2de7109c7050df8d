"""``watercli evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import (
    DebugOption,
    GpuOption,
    MapOption,
    ModelOption,
    OverwriteOption,
    RunOption,
    SetOption,
    StoreOption,
    as_map,
    note_idle_gpus,
)


def evaluate(
    given: Annotated[list[str] | None, typer.Argument(hidden=True, help="None: --run names the run.")] = None,
    run: RunOption = None,
    model: ModelOption = None,
    store: StoreOption = None,
    map: MapOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; by default RUN/evaluation, or MODEL-evaluation here.")
    ] = None,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Reproduce the stored scores of a tiny case on this machine.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be scored, size and time; write nothing.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what takes long: networks, probes, donors, long protocols.")
    ] = False,
    gpus: GpuOption = 0,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Score a run or a model on the test period, in reconstruction and river flow, beside baselines."""
    from watercli.errors import ConfigError

    if given:
        raise ConfigError(
            f"evaluate takes no argument '{given[0]}'; give --run {given[0]}, or compare runs with 'watercli compare'"
        )
    if self_check:
        from watercli.evaluation.self_check import self_check as check

        check()
        return
    from watercli.api.run import open_pretrained
    from watercli.log import log

    opened = open_pretrained(run, model, as_map(map))
    folder = out or (opened.run / "evaluation" if opened.run else Path(f"{opened.path.name}-evaluation"))
    changes = [*(settings or []), *["evaluate.quick=true"] * quick]
    if dry_run:
        opened.preview_evaluation(folder, store, settings=changes, overwrite=overwrite, gpus=gpus)
        return
    note_idle_gpus(gpus)
    opened.evaluate(store, settings=changes, out=folder, overwrite=overwrite, gpus=gpus)
    log.info("Done: open %s", folder / "report.html")
