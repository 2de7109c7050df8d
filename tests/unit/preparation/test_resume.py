"""Preparing that is stopped, by whatever and whenever, and started again."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import factory
from tests.forked import EPOCH, Started, start
from watercli.config import load
from watercli.errors import ConfigError, DataError
from watercli.output import zarr_files
from watercli.output.resumable import Work
from watercli.preparation.prepare import prepare
from watercli.preparation.readers.sources import Snapshot, Sources
from watercli.store import Store

YEARS = 6
CHANGES = {
    "recipe__period": {"start": "2001-01-01", "end": f"{2000 + YEARS}-12-31"},
    "recipe__splits__train": {"start": "2001-01-01", "end": "2004-12-31"},
    "recipe__splits__validation": {"start": "2005-01-01", "end": "2005-12-31"},
    "recipe__splits__test": {"start": "2006-01-01", "end": "2006-12-31"},
}


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder of six years, of which the third's rain is missing, with a recipe beside it."""
    root = tmp_path_factory.mktemp("years")
    times = factory.days("2001-01-01", f"{2000 + YEARS}-12-31")
    values = factory.field(times)
    values[700:1100] = np.nan  # a whole shard without a value: one that is not written
    factory.write_grid(root / "data" / "rainfall" / "rainfall.nc", times, values, packed=True)
    for seed, gauge in enumerate(factory.GAUGES):
        factory.write_gauge(root / "data", gauge, factory.flows(times, seed))
    factory.write_attributes(root / "data")
    (root / "recipe.yaml").write_text(factory.config(**CHANGES).to_yaml(), encoding="utf-8")
    return root


def begin(root: Path, out: Path, *more: str, limit: int | None = None) -> Started:
    """Start the command in a process of its own."""
    command = ["prepare", "--config", root / "recipe.yaml", "--data", root / "data", "--out", out, *more]
    return start(list(map(str, command)), out.with_suffix(".stderr"), limit)


def files(store: Path) -> dict[str, bytes]:
    """Return every file of a store, byte for byte."""
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(years: Path) -> dict[str, bytes]:
    """Return the files of a store that was made without an interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        prepare(load(str(years / "recipe.yaml")), years / "whole.zarr", data=years / "data")
    return files(years / "whole.zarr")


def stop_when(command: Started, moment: Callable[[], bool], sign: signal.Signals) -> str:
    """Send a signal at a moment; return what the command said."""
    while command.runs() and not moment():
        time.sleep(0.0005)
    if command.runs():
        os.kill(command.pid, sign)
    command.end()
    return command.said()


def blocks(out: Path, number: int) -> Callable[[], bool]:
    """Return whether so many blocks of the rain are written."""
    marks = Work.beside(out).marks("precip")
    return lambda: len(list(marks.glob("*.npz"))) >= number


def go_on(years: Path, out: Path) -> str:
    """Give the command once more, which now ends well; return what it said."""
    command = begin(years, out)
    assert command.end() == 0, command.said()
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]
    return command.said()


@pytest.mark.slow
def test_stopped_by_a_full_disk_and_killed(years: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "store.zarr"
    full = begin(years, out, limit=30_000)
    assert full.end() == 1
    said = full.said()
    assert said.splitlines()[-1].startswith(f"Error: The disk of {out} can take no more (File too large); make room")
    assert "Traceback" not in said
    assert "Continuing what was begun" in stop_when(begin(years, out), blocks(out, 3), signal.SIGKILL)
    assert not out.exists()
    assert "Continuing what was begun" in go_on(years, out)
    assert files(out) == whole


@pytest.mark.slow
def test_killed_again_and_again(years: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """By every signal while blocks are written; before and after, by one that leaves no time to tidy up."""
    for number, sign in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGTERM)):
        out = tmp_path / f"{number}.zarr"
        work = Work.beside(out)
        moments: list[Callable[[], bool]] = [blocks(out, done) for done in (1, 5)]
        if sign == signal.SIGKILL:
            moments = [
                lambda work=work: work.folder.exists(),  # type: ignore[misc]
                lambda work=work: (work.store / "precip").is_dir(),  # type: ignore[misc]
                *moments,
                lambda work=work: (work.store / "static").is_dir(),  # type: ignore[misc]
            ]
        for moment in moments:
            stop_when(begin(years, out), moment, sign)
            if out.exists():  # the signal came too late
                break
        else:
            go_on(years, out)
        assert files(out) == whole


def test_an_error_of_ours_leaves_what_can_be_continued(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "store.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(zarr_files, "finish", lambda partial: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(factory.config(), out, data=data)
    assert not out.exists()
    monkeypatch.setattr("watercli.log.log.propagate", True)
    with caplog.at_level("INFO", "watercli"):
        prepare(factory.config(recipe__grid__land_threshold=0.4), out, data=data)
    assert "is of another recipe or other files, or an extension: starting anew" in caplog.text
    assert Store.open(out).config.recipe.grid.land_threshold == 0.4  # type: ignore[union-attr]


def test_killed_after_the_store_was_put_in_its_place(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "store.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(zarr_files, "finish", lambda partial: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(factory.config(), out, data=data)
    Work.beside(out).store.rename(tmp_path / "elsewhere")
    store = prepare(factory.config(), out, data=data)
    assert store.dataset["precip"].notnull().any()


def test_two_at_once(data: Path, tmp_path: Path) -> None:
    out, lock = tmp_path / "store.zarr", tmp_path / ".store.zarr.lock"
    lock.write_text("4711", encoding="utf-8")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"Another watercli \(process 4711\) is writing .*store.zarr; wait"):
            prepare(factory.config(), out, data=data)
        assert not out.exists()
    prepare(factory.config(), out, data=data)  # what a dead process left is taken over
    assert not lock.exists()


def test_a_source_that_changes_meanwhile(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gauge = next((data / "timeseries").iterdir())
    finish = zarr_files.finish

    def change_and_finish(partial: Path) -> None:
        with gauge.open("a", encoding="utf-8") as stream:
            stream.write("\n")
        finish(partial)

    monkeypatch.setattr(zarr_files, "finish", change_and_finish)
    with pytest.raises(DataError, match=rf"timeseries/{gauge.name} was changed while it was read"):
        prepare(factory.config(), tmp_path / "store.zarr", data=data)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_source_of_one_size_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "rain.nc"
    path.write_text("one", encoding="utf-8")
    before, sources = Snapshot.of([path]), Sources(tmp_path)
    sources.use([path])
    before.check(sources)
    time.sleep(0.01)
    path.write_text("two", encoding="utf-8")
    with pytest.raises(DataError, match=r"^rain.nc was changed"):
        before.check(sources)
    path.unlink()
    with pytest.raises(DataError, match=r"^rain.nc was changed"):
        before.check(sources)


def test_a_store_between_two_renames_comes_back(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "store.zarr"
    before = prepare(factory.config(), out, data=data).fingerprint
    out.rename(tmp_path / ".store.zarr.replaced")
    strict = factory.config(recipe__grid__land_threshold=0.9, recipe__grid__patch_size=[12, 12])
    with pytest.raises(DataError, match="No patch of"):
        prepare(strict, out, data=data, overwrite=True)
    assert Store.open(out).fingerprint == before


@pytest.mark.slow
def test_a_cluster_of_which_a_worker_is_killed(years: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "store.zarr"
    marks = Work.beside(out).marks("precip")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            victim = sorted(client.run(os.getpid).values())[0]
        command = begin(years, out, "--scheduler", cluster.scheduler_address)
        while command.runs() and not list(marks.glob("*.npz")):
            time.sleep(0.0005)
        os.kill(victim, signal.SIGKILL)
        assert len(list(marks.glob("*.npz"))) < 7, "nothing was left to do when the worker was killed"
        assert command.end() == 0, command.said()
        assert any("write_block" in str(event) for event in cluster.scheduler.transition_log), "the cluster did nothing"
    assert "Grids are written by 2 workers" in command.said()
    assert files(out) == whole
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_no_scheduler_answers(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watercli.preparation.cluster.TIMEOUT", 1)
    with pytest.raises(
        ConfigError, match=r"^No dask scheduler answers at tcp://127.0.0.1:1 \(--scheduler\); start one"
    ):
        prepare(factory.config(), tmp_path / "store.zarr", data=data, scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"^No dask scheduler answers at nonsense"):
        prepare(factory.config(), tmp_path / "store.zarr", data=data, scheduler="nonsense://a")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
