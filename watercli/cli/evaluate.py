"""``watercli evaluate``."""

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


def evaluate(
    run: RunOption = None,
    store: StoreOption = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the report; by default RUN/evaluation.")] = None,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Say how good a run is: reconstruction and river flow on the test period, beside baselines."""
    from watercli.checkpoint import open_run
    from watercli.config import with_overrides
    from watercli.evaluation import evaluate as judge
    from watercli.log import log
    from watercli.store import Store

    place = find_run(run)
    checkpoint = open_run(place)
    config = with_overrides(checkpoint.config, settings or [])
    opened = Store.open(find_store(store, place))
    folder = judge(checkpoint, opened, out or place / "evaluation", config, run=place, overwrite=overwrite)
    log.info("Done: open %s", folder / "report.html")
