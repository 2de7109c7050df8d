"""``watercli config``."""

from __future__ import annotations

from typing import Annotated

import typer

from watercli.cli.options import DebugOption


def config(
    section: Annotated[
        str | None,
        typer.Argument(
            help="A section or a setting, such as train, train.tasks, modalities.NAME.source.table or train.steps; by "
            "default the top of a configuration.",
            metavar="SECTION",
            show_default=False,
        ),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Print the settings of a configuration, with what may be given, their defaults and their meaning."""
    from watercli.inspection.settings import show

    typer.echo(show(section))
