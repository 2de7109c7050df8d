"""Grids that exceed the memory they may take: decoded once into a file, which is checked and shared."""

from __future__ import annotations

import pickle
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from watercli.data import decoded_file
from watercli.data.grid_cache import GridCache
from watercli.data.scaling import Scale, Scaling
from watercli.log import log
from watercli.store import Store


@pytest.fixture
def scale(tiny_store: Store) -> Scale:
    return Scaling.of(tiny_store, tiny_store.config).modalities["precip"]


@pytest.fixture(scope="module")
def decoded(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the decoded rain of the tiny store; do not write to it."""
    folder = tmp_path_factory.mktemp("decoded")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WATERCLI_CACHE", str(folder))
        scale = Scaling.of(tiny_store, tiny_store.config).modalities["precip"]
        GridCache(tiny_store, "precip", scale, 0.0, make_file=True)
    return folder


@pytest.fixture
def cache(decoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, in use; the path is that of its only file."""
    shutil.copytree(decoded, tmp_path / "cache")
    monkeypatch.setenv("WATERCLI_CACHE", str(tmp_path / "cache"))
    (path,) = (tmp_path / "cache").rglob(f"*{decoded_file.SUFFIX}")
    return path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(log, "propagate", True)
    return caplog


def windows(grid: GridCache) -> torch.Tensor:
    """Return windows at either end of the record, over a border of blocks, and beyond the last day."""
    return grid.windows((0, 7, 200, 800, 10**6), 30)


def read_from_the_store(store: Store, scale: Scale, monkeypatch: pytest.MonkeyPatch) -> GridCache:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("WATERCLI_CACHE", "/nowhere")
        return GridCache(store, "precip", scale, 0.0)


@pytest.mark.usefixtures("cache")
def test_file_memory_and_store_give_equal_windows(
    tiny_store: Store, scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_store = read_from_the_store(tiny_store, scale, monkeypatch)
    from_file, from_memory = (GridCache(tiny_store, "precip", scale, limit) for limit in (0.0, 2.0))
    assert from_file._file is not None
    assert from_store._file is None
    assert from_store.held_bytes == from_file.held_bytes == 0 < from_memory.held_bytes
    for cached in (from_file, from_memory):
        assert np.array_equal(windows(from_store), windows(cached), equal_nan=True)
        assert np.array_equal(windows(from_store), windows(cached), equal_nan=True), "and again, checked"
    assert torch.equal(from_store.patch_means(), from_file.patch_means())


def test_a_worker_opens_the_file_for_itself(cache: Path, tiny_store: Store, scale: Scale) -> None:
    grid = GridCache(tiny_store, "precip", scale, 0.0)
    sent = pickle.dumps(grid)
    assert len(sent) < 0.1 * cache.stat().st_size
    again = pickle.loads(sent)
    assert np.array_equal(windows(again), windows(grid), equal_nan=True)


@pytest.mark.parametrize("where", [5, -20, -45])
def test_a_flipped_bit_is_known_and_the_store_read(
    cache: Path, tiny_store: Store, scale: Scale, monkeypatch: pytest.MonkeyPatch, where: int
) -> None:
    """Of a value, of the seal and of the sums."""
    content = bytearray(cache.read_bytes())
    content[where] ^= 1
    cache.write_bytes(content)
    wanted = windows(read_from_the_store(tiny_store, scale, monkeypatch))
    grid = GridCache(tiny_store, "precip", scale, 0.0)
    assert np.array_equal(windows(grid), wanted, equal_nan=True)
    assert grid._file is None
    again = GridCache(tiny_store, "precip", scale, 0.0, make_file=True)
    assert again._file is not None, "the next training makes it anew"
    assert np.array_equal(windows(again), wanted, equal_nan=True)


def test_a_torn_file_and_that_of_other_values_are_not_used(
    cache: Path, tiny_store: Store, scale: Scale, said: pytest.LogCaptureFixture
) -> None:
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-1])
    assert GridCache(tiny_store, "precip", scale, 0.0)._file is None
    assert "is torn" in said.text
    cache.write_bytes(whole)
    other = replace(scale, mean=scale.mean + 1)
    made = GridCache(tiny_store, "precip", other, 0.0, make_file=True)._file
    assert made is not None
    assert made.path != cache
    made.path.write_bytes(whole)  # of the same size, but of another scale
    assert GridCache(tiny_store, "precip", other, 0.0)._file is None
    assert "does not hold what was written" in said.text


def test_files_of_a_store_that_changed_are_swept(cache: Path, tiny_store: Store, scale: Scale) -> None:
    old = cache.with_name(f"precip-{'0' * 12}-{'0' * 12}{decoded_file.SUFFIX}")
    old.touch()
    left = cache.with_name(f".{cache.name}.0.partial")
    left.touch()
    cache.unlink()
    GridCache(tiny_store, "precip", scale, 0.0, make_file=True)
    assert list(cache.parent.iterdir()) == [cache]


def test_of_two_makers_one_waits(cache: Path, tiny_store: Store, scale: Scale, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.unlink()
    made = []
    make = decoded_file._make
    monkeypatch.setattr(decoded_file, "_make", lambda *given: (made.append(given), make(*given)))
    makers = [
        threading.Thread(target=GridCache, args=(tiny_store, "precip", scale, 0.0), kwargs={"make_file": True})
        for _ in range(2)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(made) == 1
    assert GridCache(tiny_store, "precip", scale, 0.0)._file is not None


@pytest.mark.parametrize("trouble", ["no room", "no folder"])
def test_windows_come_from_the_store_where_no_file_can_be_made(
    tiny_store: Store,
    scale: Scale,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    monkeypatch.setenv("WATERCLI_CACHE", str(tmp_path))
    if trouble == "no room":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))  # type: ignore[attr-defined]
    else:
        (tmp_path / "grids").touch()
    grid = GridCache(tiny_store, "precip", scale, 0.0, make_file=True)
    assert grid._file is None
    assert "WATERCLI_CACHE" in said.text
    assert {"no room": "1.0 kB", "no folder": "directory"}[trouble] in said.text
    assert torch.isfinite(windows(grid)).any()
    assert not list(tmp_path.rglob(f"*{decoded_file.SUFFIX}*"))
