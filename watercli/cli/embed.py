"""``watercli embed``."""

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

Names = list[str] | None


def embed(
    out: Annotated[Path, typer.Option(help="Where to write the embeddings.")],
    run: RunOption = None,
    store: StoreOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    stride: Annotated[int | None, typer.Option(help="Days between two dates.")] = None,
    catchments: Annotated[Names, typer.Option(help="Gauge ids, with commas or repeated; by default all.")] = None,
    modalities: Annotated[Names, typer.Option(help="Modalities to write; by default all that are seen.")] = None,
    excluded_inputs: Annotated[Names, typer.Option(help="Modalities that the encoder never sees, or 'none'.")] = None,
    causal: Annotated[bool | None, typer.Option(help="Whether nothing after a date is seen; the default.")] = None,
    layers: Annotated[bool | None, typer.Option("--layers", help="Write each encoder layer too.")] = None,
    decoder_state: Annotated[
        bool | None, typer.Option("--decoder-state", help="Write decoder states of excluded series.")
    ] = None,
    patches: Annotated[bool | None, typer.Option("--patches", help="Write the grids' patches too.")] = None,
    format: Annotated[str | None, typer.Option(help="zarr or parquet.")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of this machine to work on.")] = 0,
    processes: Annotated[int, typer.Option(min=0, help="Processes to work with on CPU.")] = 0,
    append: Annotated[bool, typer.Option("--append", help="Add later dates to what lies at --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how large and how long; write nothing.")] = False,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Export the multi-layer weighted embeddings of every catchment and date."""
    given = as_settings(
        "embed", since=since, until=until, stride=stride, catchments=catchments, modalities=modalities,
        excluded_inputs=excluded_inputs, causal=causal, layers=layers, decoder_state=decoder_state, patches=patches,
        format=format,
    )  # fmt: skip
    from watercli.config import with_overrides
    from watercli.errors import ConfigError
    from watercli.inference import embed as exports
    from watercli.inference.dry_run import dry_run as preview
    from watercli.inference.formats import format_of
    from watercli.inspection.show import wide_console
    from watercli.log import log
    from watercli.run.directory import open_run
    from watercli.store import Store

    fixed = [setting for setting in (*given, *(settings or ())) if not setting.startswith("embed.until=")]
    if append and (fixed or overwrite or dry_run):
        raise ConfigError("--append goes on as the embeddings were begun: beside it give --until alone, or nothing")
    place = find_run(run)
    checkpoint = open_run(place)
    chosen = with_overrides(checkpoint.config, [*(settings or ()), *given]).embed
    opened = Store.open(find_store(store, place))
    if dry_run:
        preview(checkpoint, opened, out, chosen, wide_console(), overwrite=overwrite, processes=processes,
                        gpus=gpus)  # fmt: skip
        return
    note_idle_gpus(gpus, processes)
    if append:
        until_then = chosen.until if given or settings else None
        exports.append(checkpoint, opened, out, until_then, processes=processes, gpus=gpus)
    else:
        exports.embed(checkpoint, opened, out, chosen, overwrite=overwrite, processes=processes, gpus=gpus)
    opens = {"zarr": f"xarray.open_zarr('{out}')", "parquet": f"pandas.read_parquet('{out / 'rows'}')"}
    log.info("Done: %s opens them", opens[format_of(out) or "zarr"])
