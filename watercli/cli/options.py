"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.log import log

SinceOption = Annotated[str | None, typer.Option(help="First date.", metavar="DATE")]
UntilOption = Annotated[str | None, typer.Option(help="Last date.", metavar="DATE")]
CatchmentsOption = Annotated[
    list[str] | None, typer.Option(help="Gauge ids, comma-separated or repeated; by default all.")
]
ConfigOption = Annotated[
    str | None,
    typer.Option("--config", "-c", help="A shipped configuration's name or a YAML file.", metavar="NAME|FILE"),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Change a setting; repeatable.", metavar="KEY=VALUE")
]
StoreOption = Annotated[Path | None, typer.Option(help="The store; by default the run's own, otherwise store.zarr.")]
RunOption = Annotated[Path | None, typer.Option(help="The run directory; by default the newest in runs/.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="A model in place of a run: a name that 'watercli models' lists, a folder, or a URL.",
        metavar="NAME|PATH|URL",
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="Which variable of the store is a modality or attribute of the model, as in precip=rain; repeatable.",
        metavar="MODEL=STORE",
    ),
]
GpuOption = Annotated[int, typer.Option(min=0, max=1, help="1: the model works on a GPU of this machine.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def as_map(pairs: list[str] | None) -> dict[str, str]:
    """Return what ``--map`` says, the store's name by the model's.

    Raises
    ------
    ConfigError
        If it is not written as NAME=NAME.
    """
    from watercli.errors import ConfigError

    names = {}
    for pair in pairs or ():
        first, equals, second = (part.strip() for part in pair.partition("="))
        if not (first and equals and second):
            raise ConfigError(f"--map {pair} is not written as MODEL=STORE; write it like --map precip=rain")
        names[first] = second
    return names


def as_numbers(text: str, option: str) -> list[int]:
    """Return comma-separated whole numbers.

    Raises
    ------
    ConfigError
        If a part is none.
    """
    from watercli.errors import ConfigError

    parts = [part.strip() for part in text.split(",")]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise ConfigError(f"{option} {text} holds '{wrong[0]}', which is no whole number; write it like 4,8,16")
    return [int(part) for part in parts]


def split_names(names: list[str] | None) -> list[str] | None:
    """Return names that were comma-separated or repeated; ``none`` alone means no name."""
    if names is None:
        return None
    split = [name.strip() for listed in names for name in listed.split(",")]
    return [] if split == ["none"] else split


def note_idle_gpus(gpus: int, processes: int = 0) -> None:
    """Log that GPUs of this machine are idle, if neither GPUs nor processes were chosen."""
    import torch

    idle = 0 if gpus or processes else torch.cuda.device_count()
    if idle:
        log.info("Working on the CPU, though this machine has %d GPU%s; --gpus uses them", idle,
                 "" if idle == 1 else "s")  # fmt: skip
