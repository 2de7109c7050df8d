"""The tutorials are notebooks without output, and run from the first cell to the last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest

DOCS = Path(__file__).parents[3] / "docs"
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))
IN_NOTEBOOK = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def cells(notebook: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return read


def sources(notebook: Path) -> Iterator[str]:
    return ("".join(cell["source"]) for cell in cells(notebook) if cell["cell_type"] == "code")


def test_there_are_seven() -> None:
    assert len(NOTEBOOKS) == 7


@IN_NOTEBOOK
def test_it_holds_no_output(notebook: Path) -> None:
    for cell in cells(notebook):
        assert not cell.get("outputs"), "clear all outputs before you save"
        assert cell.get("execution_count") is None


@IN_NOTEBOOK
def test_it_is_short_and_linked(notebook: Path) -> None:
    assert 3 <= len(list(sources(notebook))) <= 8
    assert f"tutorials/{notebook.name}" in (DOCS / "index.md").read_text(encoding="utf-8")
    title = "".join(cells(notebook)[0]["source"]).splitlines()[0]
    assert title.startswith("# ")


@pytest.mark.slow
def test_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in one folder: the first makes the store of all."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    for notebook in NOTEBOOKS:
        names: dict[str, Any] = {"__name__": "__main__"}
        for number, source in enumerate(sources(notebook)):
            exec(compile(source, f"{notebook.name}, code cell {number}", "exec"), names)  # noqa: S102
