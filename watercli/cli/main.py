"""The command line: options become arguments of one function of the API; errors end in one sentence."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from watercli import __version__
from watercli.cli import (
    compare,
    config,
    embed,
    evaluate,
    export,
    finetune,
    inspect,
    models,
    prepare,
    pretrain,
    simulate,
    transfer,
)
from watercli.cli.threads import wait_briefly
from watercli.errors import WatercliError, of_the_machine
from watercli.plugins import METHODS, PROTOCOLS, READERS, Group

app = typer.Typer(
    help="Pretrain a hydrology foundation model on gridded weather and catchment series.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
HELP_NAMES: dict[Callable[..., None], tuple[Group, ...]] = {
    prepare.prepare: (READERS,),
    pretrain.pretrain: (),
    finetune.finetune: (),
    evaluate.evaluate: (PROTOCOLS, METHODS),
    compare.compare: (),
    transfer.transfer: (),
    embed.embed: (),
    simulate.simulate: (),
    export.export: (),
    models.models: (),
    inspect.inspect: (),
    config.config: (),
}
"""The commands, and the kinds of plug-in that the help of each names."""
for command, groups in HELP_NAMES.items():
    app.command(epilog=" ".join(group.in_words() for group in groups))(command)


def _version(given: bool) -> None:
    if given:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def watercli(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Prepare a store, pretrain or fine-tune on it, evaluate and compare runs, export embeddings, simulate flow."""


def main() -> None:
    """Run a command; every error a user can cause ends in one sentence and exit code 1 or 2."""
    wait_briefly()
    # --debug may stand anywhere, as in 'watercli pretrain --debug'.
    debug = "--debug" in sys.argv or bool(os.environ.get("WATERCLI_DEBUG"))
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    from watercli.log import configure

    configure(logging.DEBUG if debug else logging.INFO)
    code = _run(arguments, debug)
    sys.exit(code if _flush_output() else code or 1)


def _run(arguments: list[str], debug: bool) -> int:
    # SIGTERM removes half-written output as Ctrl-C does (pretrain has its own way to stop).
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command: Any = typer.main.get_command(app)
    try:
        # Typer ends wrong usage itself, with code 2, and Ctrl-C with 130.
        command(args=arguments, prog_name="watercli")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        if code == 130:
            typer.echo("Interrupted.", err=True)
        return code
    except WatercliError as error:
        if debug:
            raise
        typer.echo(f"Error: {error}", err=True)
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        text = f"{type(error).__name__}: {' '.join(str(error).split())} (a bug? --debug shows where)"
        typer.echo(f"Error: {of_the_machine(error) or text}", err=True)
        return 1
    return 0


def _flush_output() -> bool:
    """Return whether all that was printed could be written; what could not is given up, without a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        typer.echo(f"Error: Standard output cannot be written ({reason}); send it to another place", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True
