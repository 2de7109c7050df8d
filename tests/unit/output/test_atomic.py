"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from watercli.errors import ConfigError
from watercli.output.atomic import Target, put, restore, write_text, written_file, written_folder


def target(path: Path, *, overwrite: bool = False) -> Target:
    return Target(path, overwrite, "letters", lambda folder: (folder / "a").is_file())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, text: str) -> None:
    folder.mkdir()
    write_text(folder / "a", text)


def fail(writing: AbstractContextManager[Path], begin: Callable[[Path, str], object]) -> None:
    """Write a half, then fail."""
    with writing as partial:
        begin(partial, "half")
        raise ZeroDivisionError


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(ZeroDivisionError):
        fail(written_file(file), write_text)
    assert file.read_text(encoding="utf-8") == "old"
    # Two writers of one file do not meet.
    with written_file(file) as first, written_file(file) as second:
        first.write_text("first", encoding="utf-8")
        second.write_text("second", encoding="utf-8")
    assert file.read_text(encoding="utf-8") == "first"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    out = tmp_path / "letters"
    with pytest.raises(ZeroDivisionError):
        fail(target(out).writing(), fill)
    assert names(tmp_path) == []
    with target(out).writing() as partial:
        fill(partial, "old")
    with pytest.raises(ZeroDivisionError):
        fail(target(out, overwrite=True).writing(), fill)
    assert (out / "a").read_text(encoding="utf-8") == "old"
    with target(out, overwrite=True).writing() as partial:
        fill(partial, "new")
    assert (out / "a").read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["letters"]


def test_what_a_dead_process_left_goes(tmp_path: Path) -> None:
    out = tmp_path / "letters"
    fill(tmp_path / ".letters.partial", "half")
    (tmp_path / ".letters.lock").write_text("4711", encoding="utf-8")
    with target(out).writing() as partial:
        fill(partial, "whole")
    assert (out / "a").read_text(encoding="utf-8") == "whole"
    assert names(tmp_path) == ["letters"]


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    out, lock = tmp_path / "letters", tmp_path / ".letters.lock"
    fill(tmp_path / ".letters.partial", "half")
    lock.write_text("4711", encoding="utf-8")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"Another watercli \(process 4711\) is writing"), target(out).writing():
            pass
    assert (tmp_path / ".letters.partial" / "a").read_text(encoding="utf-8") == "half"


def test_something_that_came_into_being_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "letters"
    with contextlib.ExitStack() as stack:
        fill(stack.enter_context(target(out).writing()), "new")
        fill(out, "of another")
        with pytest.raises(ConfigError, match="exists; give another --out"):
            stack.close()
    assert (out / "a").read_text(encoding="utf-8") == "of another"
    assert names(tmp_path) == ["letters"]


def test_a_death_between_two_renames(tmp_path: Path) -> None:
    out, replaced = tmp_path / "letters", tmp_path / ".letters.replaced"
    fill(replaced, "old")
    restore(out)
    assert (out / "a").read_text(encoding="utf-8") == "old"
    fill(replaced, "older")  # of a process that died after the second rename
    restore(out)
    assert (out / "a").read_text(encoding="utf-8") == "old"
    with pytest.raises(FileNotFoundError):
        put(tmp_path / "none", out)
    assert (out / "a").read_text(encoding="utf-8") == "old"
    out.rename(replaced)
    with pytest.raises(ZeroDivisionError):
        fail(written_folder(out), fill)
    assert (out / "a").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["letters"]
