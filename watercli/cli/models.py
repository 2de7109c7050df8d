"""``watercli models``."""

from __future__ import annotations

from watercli.cli.options import DebugOption


def models(debug: DebugOption = False) -> None:
    """List the models that --model takes by name: those shipped, and those fetched from URLs."""
    from rich.table import Table

    from watercli.api.run import models as listed
    from watercli.inspection.show import wide_console

    table = Table("name", "MB", "from", "description")
    for model in listed().itertuples():
        table.add_row(str(model.name), str(model.megabytes), str(model.origin), str(model.description))
    wide_console().print(table)
