"""Options that several commands share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from watercli.errors import ConfigError
from watercli.log import log

STORE = Path("store.zarr")
RUNS = Path("runs")


def _date_of(option: str) -> Callable[[str], str]:
    def date(text: str) -> str:
        try:
            return dt.date.fromisoformat(text).isoformat()
        except ValueError:
            raise ConfigError(f"{option} '{text}' is no date; write it as 2014-10-01") from None

    return date


SinceOption = Annotated[str | None, typer.Option(help="First date.", metavar="DATE", parser=_date_of("--since"))]
UntilOption = Annotated[str | None, typer.Option(help="Last date.", metavar="DATE", parser=_date_of("--until"))]
ConfigOption = Annotated[
    str | None,
    typer.Option("--config", "-c", help="A shipped configuration's name or a YAML file.", metavar="NAME|FILE"),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Change one setting; may be repeated.", metavar="KEY=VALUE")
]
StoreOption = Annotated[Path | None, typer.Option(help="The store; by default the run's own, else store.zarr.")]
RunOption = Annotated[Path | None, typer.Option(help="The run directory; by default the newest in runs/.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what lies at the output.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def find_run(run: Path | None) -> Path:
    """Return the run directory given, or the newest in ``runs/``.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if run is not None:
        return run
    found = sorted(RUNS.glob("*/run.json"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise ConfigError("There is no run in runs/; make one with 'watercli pretrain' or give --run")
    chosen = found[-1].parent
    if len(found) > 1:
        log.info("Taking the newest of %d runs, %s; choose with --run", len(found), chosen)
    return chosen


def find_store(store: Path | None, run: Path | None = None) -> Path:
    """Return the store given, else the one the run was trained on if it still lies there, else ``store.zarr``."""
    if store is not None:
        return store
    if run is not None and (run / "run.json").is_file():
        import json

        recorded = Path(json.loads((run / "run.json").read_text(encoding="utf-8"))["store"])
        if recorded.exists():
            return recorded
    return STORE


def as_settings(section: str, **given: object) -> list[str]:
    """Return options as overrides of a section's settings; those not given are left out.

    Of several names, each may hold several with commas; ``none`` alone means no name.
    """
    import json

    def plain(value: object) -> object:
        if not isinstance(value, list):
            return value
        names = [name.strip() for one in value for name in one.split(",")]
        return [] if names == ["none"] else names

    return [f"{section}.{key}={json.dumps(plain(value))}" for key, value in given.items() if value is not None]


def note_idle_gpus(gpus: int, processes: int = 0) -> None:
    """Say so if GPUs of this machine stand idle because nobody asked for them."""
    import torch

    there = 0 if gpus or processes else torch.cuda.device_count()
    if there:
        log.info("Working on the CPU, though this machine has %d GPU%s; --gpus puts them to work", there,
                 "" if there == 1 else "s")  # fmt: skip
