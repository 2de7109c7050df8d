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
    StoreOption,
    find_run,
    find_store,
)


def embed(
    out: Annotated[Path, typer.Option(help="Where to write the embeddings, a Zarr store.")],
    run: RunOption = None,
    store: StoreOption = None,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Export the multi-layer weighted embeddings of every catchment and date."""
    from watercli.checkpoint import open_run
    from watercli.config import with_overrides
    from watercli.embed import embed as export
    from watercli.log import log
    from watercli.store import Store

    place = find_run(run)
    checkpoint = open_run(place)
    chosen = with_overrides(checkpoint.config, settings or []).embed
    export(checkpoint, Store.open(find_store(store, place)), out, chosen, overwrite=overwrite)
    log.info("Done: xarray.open_zarr('%s') opens them", out)
