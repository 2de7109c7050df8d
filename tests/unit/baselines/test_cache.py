"""The evaluation's cache: what is not as it was written is made anew, and a full disk ends in a sentence."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from watercli.baselines.cache import Array, Cache
from watercli.errors import RunError


def fill(array: Array) -> None:
    array[:] = np.arange(array.size).reshape(array.shape)


def refuse(array: Array) -> None:
    raise AssertionError("it was made anew")


def kept(cache: Cache, make: Callable[[Array], None]) -> Array:
    return cache.filled("simulated", {"run": "a"}, (100, 30), make)


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_it_keeps_what_was_made(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    made = kept(cache, fill)
    np.testing.assert_array_equal(made, np.arange(3000).reshape(100, 30))
    np.testing.assert_array_equal(kept(cache, refuse), made)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:500],
        lambda content: content[:-1],
        lambda content: flip(content, 40),
        lambda content: flip(content, 2000),
        lambda content: flip(content, len(content) - 1),
    ],
    ids=["empty", "torn", "cut", "header", "values", "hash"],
)
def test_a_damaged_array_is_made_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cache = Cache(tmp_path)
    kept(cache, fill)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(kept(cache, fill), np.arange(3000).reshape(100, 30))
    np.testing.assert_array_equal(kept(cache, refuse), np.arange(3000).reshape(100, 30))


def test_a_full_disk_ends_in_a_sentence_before_the_work(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(RunError, match=r"has no room for 12.0 kB .*evaluate.cache=false"):
            kept(Cache(tmp_path), refuse)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_leftovers_are_swept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    kept(cache, fill)
    (tmp_path / ".simulated-0.npy.7f3a.partial").write_bytes(b"half")
    cache.sweep()
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]
