"""``watercli embed``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watercli.cli.options import (
    CatchmentsOption,
    DebugOption,
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
    from watercli.api.arguments import EmbedOptions

Names = list[str] | None


def embed(
    out: Annotated[Path, typer.Option(help="Where to write the embeddings; a name with .nc or .csv makes one file.")],
    run: RunOption = None,
    model: ModelOption = None,
    store: StoreOption = None,
    map: MapOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    stride: Annotated[int | None, typer.Option(help="Days between two dates.")] = None,
    catchments: CatchmentsOption = None,
    modalities: Annotated[Names, typer.Option(help="Modalities to write; by default all inputs.")] = None,
    excluded_inputs: Annotated[Names, typer.Option(help="Modalities that the encoder never sees, or 'none'.")] = None,
    causal: Annotated[bool | None, typer.Option(help="Use no days after a date; the default.")] = None,
    layers: Annotated[bool | None, typer.Option("--layers", help="Write each encoder layer too.")] = None,
    decoder_state: Annotated[
        bool | None, typer.Option("--decoder-state", help="Write decoder states of excluded series.")
    ] = None,
    patches: Annotated[bool | None, typer.Option("--patches", help="Write the grids' patches too.")] = None,
    format: Annotated[str | None, typer.Option(help="zarr or parquet.")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of this machine to work on.")] = 0,
    processes: Annotated[int, typer.Option(min=0, help="Processes to work with on CPU.")] = 0,
    append: Annotated[bool, typer.Option("--append", help="Add later dates to the embeddings at --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print size and time; write nothing.")] = False,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Export the multi-layer weighted embeddings of every catchment and date."""
    from watercli.api.run import open_pretrained
    from watercli.errors import ConfigError
    from watercli.inference.formats import format_of
    from watercli.inference.single_file import is_asked_for, opener
    from watercli.log import log

    options: EmbedOptions = {
        "since": since, "until": until, "stride": stride, "catchments": split_names(catchments),
        "modalities": split_names(modalities), "excluded_inputs": split_names(excluded_inputs), "causal": causal,
        "layers": layers, "decoder_state": decoder_state, "patches": patches, "settings": settings or [],
    }  # fmt: skip
    if append and dry_run:
        raise ConfigError("--append and --dry-run exclude each other; give only one")
    opened = open_pretrained(run, model, as_map(map))
    if dry_run:
        opened.preview_embeddings(
            out, store, format=format, overwrite=overwrite, processes=processes, gpus=gpus, **options
        )
        return
    note_idle_gpus(gpus, processes)
    opened.export_embeddings(
        out, store, format=format, append=append, overwrite=overwrite, processes=processes, gpus=gpus, **options
    )
    if is_asked_for(out):
        log.info("Done: %s opens them", opener(out))
        return
    opens = {"zarr": f"xarray.open_zarr('{out}')", "parquet": f"pandas.read_parquet('{out / 'rows'}')"}
    log.info("Done: %s opens them", opens[format_of(out) or "zarr"])
