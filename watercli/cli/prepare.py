"""``watercli prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import STORE, ConfigOption, DebugOption, OverwriteOption, SetOption


def prepare(
    config: ConfigOption = None,
    out: Annotated[Path, typer.Option(help="Where to write the store.")] = STORE,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder below which the recipe's files lie.", envvar="WATERCLI_DATA"),
    ] = None,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Make no store if anything looks wrong in the data.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Make a Zarr store of grids, catchment series and attributes (without options: of the built-in demo domain)."""
    from watercli.config import load
    from watercli.log import log

    loaded = load(config or "demo", settings or ())
    from watercli.prepare import prepare as run

    store = run(loaded, out, data=data, overwrite=overwrite, strict=strict)
    log.info("Done: %s. Next: watercli pretrain --store %s", store.path, store.path)
