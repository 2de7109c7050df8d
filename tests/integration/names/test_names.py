"""What is installed has names of its own: a user's files hide none of it, and it hides none of theirs.

Workers of several processes beside such files: `tests/integration/processes`.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from watercli.store import Store

API = """
import watercli as wc
run = wc.open_run({run!r})
store = wc.open_store({store!r})
features = run.model.encode(run.batch(store, "2002-01-20", ["01001"]))
print(type(run.model).__module__, *features)
"""


def run(folder: Path, *words: object) -> str:
    """Run a program in a folder; return its standard output."""
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "program",
    [
        pytest.param((Path(sysconfig.get_path("scripts")) / "watercli",), id="watercli"),
        pytest.param((sys.executable, "-m", "watercli"), id="python -m watercli", marks=pytest.mark.slow),
    ],
)
def test_commands_beside_modules_of_the_user(
    program: tuple[str | Path, ...], folder: Path, tiny_store: Store, fused_run: Path
) -> None:
    out = ("--run", fused_run, "--store", tiny_store.path, "--out", "emb.zarr", "--since", "2002-03-25")
    run(folder, *program, "embed", *out)
    assert (folder / "emb.zarr").is_dir()


@pytest.mark.slow
def test_python_beside_modules_of_the_user(folder: Path, tiny_store: Store, fused_run: Path) -> None:
    (folder / "notebook.py").write_text(API.format(run=str(fused_run), store=str(tiny_store.path)))
    assert run(folder, sys.executable, "notebook.py").split()[0] == "multimodal_mae.mae"
