"""``watercli inspect``."""

from __future__ import annotations

from typing import Annotated

import typer

from watercli.cli.options import DebugOption, SetOption


def inspect(
    what: Annotated[
        str, typer.Argument(help="A configuration, a store, a run directory, embeddings or simulated flow.")
    ],
    settings: SetOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print a store, finished or not, as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Show what a configuration, a store, a run or an export holds; of a model, the table of its parameters."""
    from watercli.api import inspection

    if json:
        from watercli.inspection.show import wide_console

        wide_console().print_json(data=inspection.describe(what), default=str)
    else:
        inspection.inspect(what, settings or [])
