"""``watercli transfer``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import DebugOption, MapOption, SetOption, as_map, as_numbers, split_names


def transfer(
    model: Annotated[
        str,
        typer.Option(
            help="The parent: a name that 'watercli models' lists, a folder, a URL, or a run directory.",
            metavar="NAME|PATH|URL",
        ),
    ],
    store: Annotated[
        Path | None, typer.Option(help="A store with gauges that the model never saw; by default store.zarr.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The study's folder; what it holds is not done again.")] = Path("transfer"),
    gauges: Annotated[str, typer.Option(help="Numbers of local gauges to learn from.")] = "0,4,8,16,32",
    years: Annotated[str, typer.Option(help="Years of their record, or all.")] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, with other local gauges.")] = 2,
    methods: Annotated[
        list[str] | None, typer.Option(help="Rows of the table, comma-separated or repeated; by default all.")
    ] = None,
    period: Annotated[str, typer.Option(help="The split that is judged: test or validation.")] = "test",
    parent_store: Annotated[
        Path | None,
        typer.Option(help="A store with the flow of the parent's gauges, on which the LSTM is pretrained."),
    ] = None,
    map: MapOption = None,
    settings: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Measure whether pretraining pays: a model as it is, fine-tuned and from scratch, and its rivals, at new gauges.

    Some gauges that the model never saw are local: their flow may be learnt from. All others are judged. The same
    command goes on where it was interrupted, and adds methods, seeds and smaller numbers of gauges.
    """
    from watercli.api import transfer as api
    from watercli.evaluation.transfer.methods import METHODS
    from watercli.log import log

    result = api.transfer(
        model, store, out, gauges=as_numbers(gauges, "--gauges"),
        years=_years(years), seeds=seeds, methods=split_names(methods) or list(METHODS),
        names=as_map(map), settings=settings or [], period=period, parent_store=parent_store,
    )  # fmt: skip
    log.info("Done:\n%s", result.write(out).read_text(encoding="utf-8"))


def _years(text: str) -> list[int | None]:
    """Return lengths of a record; ``all`` is None."""
    parts = [part.strip() for part in text.split(",")]
    return [None if part == "all" else as_numbers(part, "--years")[0] for part in parts]
