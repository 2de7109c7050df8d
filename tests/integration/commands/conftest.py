from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import factory
from tests.conftest import Once
from watercli.cli.main import _run


@dataclass(frozen=True)
class Outcome:
    """What a command ended in."""

    code: int
    said: str
    """Standard error, in one line."""


Command = Callable[..., Outcome]


@pytest.fixture
def watercli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WATERCLI_DATA", raising=False)

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments], debug=False)
        return Outcome(code, " ".join(capsys.readouterr().err.split()))

    return run


@pytest.fixture(scope="session")
def sources(once: Once) -> Path:
    return once("data", factory.data_folder)


@pytest.fixture
def data(sources: Path, tmp_path: Path) -> Path:
    """Return a data folder of the test's own, with a recipe beside it: ``recipe.yaml``."""
    (tmp_path / "recipe.yaml").write_text(factory.RECIPE, encoding="utf-8")
    return Path(shutil.copytree(sources, tmp_path / "data"))


def contents(folder: Path) -> set[str]:
    """Return everything below a folder, hidden files too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
