"""``watercli inspect``."""

from __future__ import annotations

from typing import Annotated

import typer

from watercli.cli.options import DebugOption, ModelOption, SetOption


def inspect(
    what: Annotated[
        str | None,
        typer.Argument(
            help="A configuration, a store, a run directory, a model, embeddings or simulated flow.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    settings: SetOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print a store, finished or not, as JSON.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of a store, an export or a run, and compare checksums.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Show what a configuration, a store, a run or an export holds; of a model, its card and its parameters."""
    from watercli.api import inspection
    from watercli.errors import ConfigError

    if model is not None:
        if what or settings or json:
            raise ConfigError("inspect --model takes no other argument or option; leave the others out")
        inspection.inspect_model(model)
        return
    if what is None:
        raise ConfigError("inspect needs a configuration, a store, a run, a model or an export; name one")

    if verify:
        typer.echo(inspection.verify(what))
    elif json:
        from watercli.inspection.show import wide_console

        wide_console().print_json(data=inspection.describe(what), default=str)
    else:
        inspection.inspect(what, settings or [])
