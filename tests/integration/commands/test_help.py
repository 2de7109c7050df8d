"""Help answers at once: nothing heavy is imported for it, and nothing half-way."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

COMMANDS = (
    "prepare", "pretrain", "finetune", "transfer",
    "evaluate", "compare", "embed", "simulate", "export", "models", "inspect", "config",
)  # fmt: skip
HEAVY = ("torch", "deepspeed", "xarray", "zarr", "dask", "numpy", "pandas", "sklearn", "matplotlib", "scores", "pyproj")
OURS = ("watercli.config", "watercli.store", "model")
SCRIPT = f"""
import sys
from watercli.cli.main import main
try:
    main()
finally:
    print("imported:", [name for name in {HEAVY + OURS} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "command", [(), *((name,) for name in COMMANDS)], ids=lambda words: "".join(words) or "watercli"
)
def test_help_answers_at_once(command: tuple[str, ...]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command, "--help"], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer.returncode == 0, answer.stderr
    assert "Usage: watercli" in answer.stdout
    assert "imported: []" in answer.stdout
    # Processor time, which others on the machine do not lengthen as they do the time on the wall.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_help_names_every_command_and_what_it_is_for() -> None:
    from typer.main import get_command

    from watercli.cli.main import app

    group = get_command(app)
    assert set(group.commands) == set(COMMANDS)  # type: ignore[attr-defined]
    for command in group.commands.values():  # type: ignore[attr-defined]
        assert command.help
        for parameter in command.params:
            assert getattr(parameter, "help", None) or parameter.name == "help", (command.name, parameter.name)


def test_version() -> None:
    from watercli import __version__

    answer = subprocess.run(
        [sys.executable, "-m", "watercli", "--version"], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout.strip()) == (0, __version__)
