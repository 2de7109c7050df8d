"""``watercli prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import ConfigOption, DebugOption, OverwriteOption, SetOption


def prepare(
    config: ConfigOption = None,
    out: Annotated[Path, typer.Option(help="Where to write the store.")] = Path("store.zarr"),
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the recipe's files.", envvar="WATERCLI_DATA"),
    ] = None,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    append: Annotated[
        bool,
        typer.Option("--append", help="Add later days to the store at --out, by default with its own configuration."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Make no store if a check of the data finds anything.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be read and made; write nothing.")
    ] = False,
    scheduler: Annotated[
        str | None, typer.Option(help="A dask scheduler whose workers write the grids.", metavar="tcp://HOST:PORT")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Make a Zarr store of grids, catchment series and attributes (by default of the built-in demo domain)."""
    from watercli.api import store as api
    from watercli.errors import ConfigError
    from watercli.log import log

    if append and (overwrite or dry_run):
        raise ConfigError(
            f"--append and {'--overwrite' if overwrite else '--dry-run'} exclude each other; give only one"
        )
    changes = settings or []
    if dry_run:
        api.preview_prepare(config or "demo", out, data=data, settings=changes, overwrite=overwrite)
        return
    store = api.prepare(
        config, out, data=data, settings=changes, overwrite=overwrite, append=append, strict=strict,
        scheduler=scheduler,
    )  # fmt: skip
    log.info("Done: %s. Next: watercli pretrain --store %s", store.path, store.path)
