"""``watercli simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import (
    CatchmentsOption,
    DebugOption,
    GpuOption,
    OverwriteOption,
    RunOption,
    SetOption,
    SinceOption,
    StoreOption,
    UntilOption,
    note_idle_gpus,
    split_names,
)


def simulate(
    out: Annotated[Path, typer.Option(help="Where to write the flow, a Zarr store.")],
    run: RunOption = None,
    store: StoreOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    catchments: CatchmentsOption = None,
    target: Annotated[str | None, typer.Option(help="The series; by default evaluate.target of the run.")] = None,
    gpus: GpuOption = 0,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Simulate the river flow of every catchment, gauged or not, from weather and attributes.

    Flow is never an input of the model, even where the store holds it.
    """
    from watercli.api.run import open_run
    from watercli.log import log

    opened = open_run(run)
    note_idle_gpus(gpus)
    opened.export_simulation(
        out,
        store,
        since=since,
        until=until,
        catchments=split_names(catchments),
        target=target,
        settings=settings or [],
        overwrite=overwrite,
        gpus=gpus,
    )
    log.info("Done: xarray.open_zarr('%s') opens it", out)
