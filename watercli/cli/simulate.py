"""``watercli simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import (
    DebugOption,
    OverwriteOption,
    RunOption,
    SetOption,
    SinceOption,
    StoreOption,
    UntilOption,
    as_settings,
    find_run,
    find_store,
    note_idle_gpus,
)


def simulate(
    out: Annotated[Path, typer.Option(help="Where to write the flow, a Zarr store.")],
    run: RunOption = None,
    store: StoreOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    catchments: Annotated[
        list[str] | None, typer.Option(help="Gauge ids, with commas or repeated; by default all.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The series; by default evaluate.target of the run.")] = None,
    gpus: Annotated[int, typer.Option(min=0, max=1, help="1: the model works on a GPU of this machine.")] = 0,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the river flow of every catchment, gauged or not, as the model knows it from weather and attributes.

    Flow is hidden from the model, whether the store holds any or not.
    """
    from watercli.config import with_overrides
    from watercli.inference.processes import choose_device
    from watercli.inference.simulate import export_simulation
    from watercli.log import log
    from watercli.run.directory import open_run
    from watercli.store import Store

    device = choose_device(0, gpus)
    place = find_run(run)
    checkpoint = open_run(place)
    given = as_settings("simulate", target=target, since=since, until=until, catchments=catchments)
    chosen = with_overrides(checkpoint.config, [*(settings or ()), *given]).simulate
    opened = Store.open(find_store(store, place))
    note_idle_gpus(gpus)
    export_simulation(checkpoint, opened, out, chosen, overwrite=overwrite, device=device)
    log.info("Done: xarray.open_zarr('%s') opens it", out)
