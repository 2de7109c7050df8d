"""``watercli simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watercli.cli.options import (
    CatchmentsOption,
    DebugOption,
    GpuOption,
    MapOption,
    ModelOption,
    OverwriteOption,
    RunOption,
    SetOption,
    SinceOption,
    StoreOption,
    UntilOption,
    as_map,
    note_idle_gpus,
    split_names,
)

if TYPE_CHECKING:
    from watercli.api.arguments import SimulateOptions


def simulate(
    out: Annotated[Path, typer.Option(help="Where to write the flow: a Zarr store, or a file named .nc or .csv.")],
    run: RunOption = None,
    model: ModelOption = None,
    store: StoreOption = None,
    map: MapOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    catchments: CatchmentsOption = None,
    target: Annotated[str | None, typer.Option(help="The series; by default evaluate.target of the run.")] = None,
    neighbours: Annotated[
        str | None,
        typer.Option(
            help="Flow of other gauges that may be evidence: up to the day before, or the day itself, or with short "
            "gaps interpolated. By default day.",
            metavar="none|past|day|all",
        ),
    ] = None,
    own_flow: Annotated[
        str | None,
        typer.Option(
            help="Flow of the gauge itself that may be evidence for its other days. By default none.",
            metavar="none|before|all|FROM..TO",
        ),
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="Single measurements as evidence: a CSV file with gauge_id, date, flow.")
    ] = None,
    fill: Annotated[bool, typer.Option("--fill", help="Fill gaps: keep what is observed, flag what is not.")] = False,
    init_time: Annotated[
        str | None,
        typer.Option(
            help="Forecast from here: the last day on which flow is known. FROM..TO: an archive of forecasts.",
            metavar="DATE|FROM..TO",
        ),
    ] = None,
    lead_time: Annotated[int | None, typer.Option(min=1, help="Days to forecast; by default 10.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Days between two forecasts of an archive.")] = None,
    forecast_weather: Annotated[
        str | None,
        typer.Option(
            help="Weather after --init-time; by default that of the store's forecast product if it has one, otherwise "
            "the observed.",
            metavar="observed|product|none",
        ),
    ] = None,
    weather_only: Annotated[
        bool, typer.Option("--weather-only", help="Write the simulation without evidence beside it.")
    ] = False,
    append: Annotated[bool, typer.Option("--append", help="Add later days to the simulation at --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print size and time; write nothing.")] = False,
    gpus: GpuOption = 0,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Simulate the river flow of every catchment, gauged or not: the best estimate from all that may be known.

    The flow of a gauge is no evidence for itself unless an option says so; that of other gauges in the store is.
    A store of other names and units is read as the model knows them; a table says how.
    """
    from watercli.api.run import open_pretrained
    from watercli.errors import ConfigError
    from watercli.inference.single_file import is_asked_for, opener
    from watercli.log import log

    options: SimulateOptions = {
        "since": since, "until": until, "catchments": split_names(catchments), "target": target,
        "neighbours": neighbours, "own_flow": own_flow, "measured": measured, "fill": fill or None,
        "init_time": init_time, "lead_time": lead_time, "stride": stride, "forecast_weather": forecast_weather,
        "weather_only": weather_only or None,
        "settings": settings or [],
    }  # fmt: skip
    if append and dry_run:
        raise ConfigError("--append and --dry-run exclude each other; give only one")
    opened = open_pretrained(run, model, as_map(map))
    if dry_run:
        opened.preview_simulation(out, store, overwrite=overwrite, gpus=gpus, **options)
        return
    note_idle_gpus(gpus)
    opened.export_simulation(out, store, append=append, overwrite=overwrite, gpus=gpus, **options)
    log.info("Done: %s opens it", opener(out) if is_asked_for(out) else f"xarray.open_zarr('{out}')")
