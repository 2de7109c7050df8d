"""What happens to long jobs: torn files, full disks, changed stores, killed readers; a few steps are lost at most."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl
import torch
import zarr
from torch.utils.data import DataLoader, Dataset

from tests.forked import start
from tests.unit.training.conftest import longer, rows
from watercli.config import with_overrides
from watercli.errors import ConfigError, RunError
from watercli.evaluation.evaluate import evaluate
from watercli.run import checkpoint as checkpoints
from watercli.run import directory
from watercli.store import Store
from watercli.training import launch, loop
from watercli.training import pretrain as pretraining
from watercli.training.failures import in_a_sentence, lost_another
from watercli.training.pretrain import pretrain, set_up
from watercli.training.stop import Stop
from watercli.training.worker import _leave


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8])


def flip(file: Path) -> None:
    """Change one byte in the middle, not the size."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage", "why"),
    [
        (checkpoints.META, cut, "does not hold what was written"),
        (checkpoints.META, flip, "does not hold what was written"),
        (checkpoints.META, Path.unlink, "cannot be read"),
        (checkpoints.WEIGHTS, cut, "bytes, not"),
        (checkpoints.WEIGHTS, flip, "does not hold what was written"),
        (checkpoints.OPTIMISER, Path.unlink, "is missing"),
        (checkpoints.OPTIMISER, flip, "does not hold what was written"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_and_named(
    copied: Path, said: pytest.LogCaptureFixture, file: str, damage: Callable[[Path], object], why: str
) -> None:
    damage(checkpoints.folder_of(copied, 8) / file)
    said.clear()
    newest = directory.newest(copied)
    assert newest is not None
    assert newest.step == 4
    (warning,) = said.messages
    assert str(checkpoints.folder_of(copied, 8) / file) in warning
    assert why in warning
    assert "going on from step 4" in warning


def test_a_run_with_a_damaged_checkpoint_goes_on_as_if_never_interrupted(
    uninterrupted: Path, copied: Path, tiny_store: Store
) -> None:
    flip(checkpoints.folder_of(copied, 8) / checkpoints.WEIGHTS)
    pretrain(longer(tiny_store.config), tiny_store, copied, resume=True)
    assert rows(copied) == rows(uninterrupted)
    assert directory.all_checkpoints(copied)[-1].step == 8


def test_without_a_whole_checkpoint_nothing_is_begun_anew(copied: Path, tiny_store: Store) -> None:
    for one in directory.all_checkpoints(copied):
        cut(one.path / checkpoints.OPTIMISER)
    before = rows(copied)
    with pytest.raises(RunError, match=r"no whole checkpoint.*--overwrite"):
        pretrain(longer(tiny_store.config, "train.steps=9"), tiny_store, copied, resume=True)
    assert rows(copied) == before


@pytest.mark.parametrize(
    ("file", "damage"), [(checkpoints.META, flip), (checkpoints.WEIGHTS, cut), (checkpoints.WEIGHTS, flip)]
)
def test_a_damaged_best_checkpoint_is_passed_over_in_every_command(
    copied: Path, said: pytest.LogCaptureFixture, file: str, damage: Callable[[Path], object]
) -> None:
    best = directory.open_run(copied)
    damage(best.path / file)
    said.clear()
    second = directory.open_run(copied)
    assert {best.step, second.step} == {4, 8}
    (warning,) = said.messages
    assert str(best.path / file) in warning
    assert f"for that of step {second.step}" in warning
    damage(second.path / file)
    with pytest.raises(RunError, match=rf"no whole checkpoint \(.*{file}"):
        directory.open_run(copied)


def test_weights_damaged_after_the_run_was_opened_are_not_taken(copied: Path) -> None:
    best = directory.open_run(copied)
    flip(best.path / checkpoints.WEIGHTS)
    with pytest.raises(RunError, match=r"model.safetensors does not hold what was written"):
        best.model()


def test_a_full_disk_leaves_older_checkpoints_whole(copied: Path, tiny_store: Store) -> None:
    sizes = directory.all_checkpoints(copied)[-1].files
    limit = int(sizes[checkpoints.WEIGHTS]["bytes"] + sizes[checkpoints.OPTIMISER]["bytes"]) // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # the weights fit, the optimiser does not
    try:
        with pytest.raises(RunError, match=r"step 9 cannot be written.*make room.*--resume") as failed:
            pretrain(longer(tiny_store.config, "train.steps=9"), tiny_store, copied, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "too large" in str(failed.value)
    assert [path.name for path in sorted((copied / "checkpoints").iterdir())] == ["00000004", "00000008"]
    for one in directory.all_checkpoints(copied):
        one.verify()
    pretrain(longer(tiny_store.config, "train.steps=9"), tiny_store, copied, resume=True)


@pytest.mark.parametrize("what", ["holds other data", "is gone"])
def test_a_store_that_changes_under_the_run_ends_it(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = Path(shutil.copytree(tiny_store.path, tmp_path / "store.zarr"))
    step = loop.train_step

    def changed(engine: Any, data: Any, at: int, *rest: Any) -> Any:
        if at == 5:
            meta = path / "zarr.json"
            held = json.loads(meta.read_text())
            held["attributes"]["fingerprint"] = "another"
            meta.write_text(json.dumps(held)) if what == "holds other data" else meta.unlink()
        return step(engine, data, at, *rest)

    monkeypatch.setattr(loop, "train_step", changed)
    with pytest.raises(RunError, match=rf"store.zarr {what} since training began"):
        pretrain(longer(tiny_store.config), Store.open(path), tmp_path / "run")
    assert [one.step for one in directory.all_checkpoints(tmp_path / "run")] == [4]


@pytest.mark.slow
def test_a_killed_reader_ends_in_one_sentence(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop.train_step

    def kills(engine: Any, data: Any, at: int, *rest: Any) -> Any:
        if at == 1:
            multiprocessing.active_children()[0].kill()
        return step(engine, data, at, *rest)

    config = with_overrides(tiny_store.config, ["train.workers=1", "train.steps=200", "train.prefetch=1"])
    monkeypatch.setattr(loop, "train_step", kills)
    with pytest.raises(RunError, match=r"reads windows ahead was killed.*train.workers.*--resume"):
        pretrain(config, tiny_store, tmp_path / "run")


@pytest.mark.slow
def test_ctrl_c_reaches_readers_too_and_saves(tiny_store: Store, tmp_path: Path) -> None:
    """A terminal sends it to the whole group of processes."""
    settings = ("train.workers=1", "train.steps=3000", "train.checkpoint_every=20", "train.validate_every=1000")
    words = (word for setting in settings for word in ("--set", setting))
    run = tmp_path / "run"
    command = start(["pretrain", "--store", str(tiny_store.path), "--run", str(run), *words], tmp_path / "stderr")
    while command.runs() and not directory.all_checkpoints(run):
        time.sleep(0.2)
    os.killpg(command.pid, signal.SIGINT)
    assert command.end() == 1, command.said()
    last = command.said().splitlines()[-1]
    assert last.startswith(f"Error: Stopped after step {directory.all_checkpoints(run)[-1].step}; continue with ")
    assert "Traceback" not in command.said()


class Threads(Dataset[tuple[int, int, list[int]]]):
    """Says what a process that reads ahead may use."""

    def __getitem__(self, number: int) -> tuple[int, int, list[int]]:
        pools = [int(pool["num_threads"]) for pool in threadpoolctl.threadpool_info()]
        return torch.get_num_threads(), zarr.config.get("threading.max_workers"), pools


@pytest.mark.slow
def test_readers_leave_the_cores_to_the_model() -> None:
    loader = DataLoader(Threads(), batch_size=None, sampler=range(1), num_workers=1,
                        multiprocessing_context="spawn", worker_init_fn=loop._set_up_worker)  # fmt: skip
    ((torch_threads, zarr_threads, pools),) = list(loader)
    assert (torch_threads, zarr_threads) == (1, 1)
    assert set(pools) == {1}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "train.gradient_accumulation"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] CPUAllocator: can't allocate memory"),
            "train.gradient_accumulation",
        ),
        (OSError(28, "No space left on device"), "make room"),
    ],
)
def test_what_a_machine_runs_out_of_is_said(error: Exception, words: str) -> None:
    with pytest.raises(RunError, match=rf"{words}.*--resume"), in_a_sentence(Path("runs/a")):
        raise error


def test_a_bug_is_not_taken_for_one_of_these() -> None:
    for bug in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), PermissionError(13, "Permission denied")):
        with pytest.raises(type(bug)), in_a_sentence(Path("runs/a")):
            raise bug
    assert not lost_another(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert lost_another(RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:19586"))


def test_a_process_that_cannot_leave_its_sentence_says_it(tmp_path: Path) -> None:
    heard = io.StringIO()
    _leave(tmp_path, 1, heard, 2, "wrong setting")
    assert heard.getvalue() == ""
    assert (tmp_path / "rank-1.error").read_text() == "2\nwrong setting"
    _leave(tmp_path / "full", 1, heard, 1, "The disk can take no more")
    assert heard.getvalue().endswith("ERROR The disk can take no more\n")


def test_the_first_cause_is_told(tmp_path: Path) -> None:
    assert launch._failure(tmp_path) is None
    heard = io.StringIO()
    _leave(tmp_path, 0, heard, 1, "lost another", "lost")
    lost = launch._failure(tmp_path)
    assert isinstance(lost, RunError)
    assert str(lost) == "lost another"
    _leave(tmp_path, 3, heard, 2, "wrong setting")
    cause = launch._failure(tmp_path)
    assert isinstance(cause, ConfigError)
    assert str(cause) == "wrong setting"


def test_a_worker_stops_when_asked_or_alone(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = os.uname().nodename
    assert not Stop().requested
    assert not Stop(tmp_path / "stop", (here, os.getpid())).requested
    assert Stop(None, (here, ended.pid)).requested, "the command that launched it is gone"
    assert not Stop(None, ("another machine", ended.pid)).requested
    (tmp_path / "stop").touch()
    assert Stop(tmp_path / "stop", (here, os.getpid())).requested


def test_the_dead_do_not_live_though_nobody_buries_them() -> None:
    """In a container without an init, a launcher that was killed stays a zombie."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
    assert Stop(None, (os.uname().nodename, process.pid)).requested
    process.wait()


@pytest.mark.parametrize("given", [{"resume": True}, {"overwrite": True}])
def test_a_run_has_one_owner(copied: Path, tiny_store: Store, given: dict[str, bool]) -> None:
    before = rows(copied)
    lock = copied.with_name(f".{copied.name}.lock")
    lock.write_text("4711", encoding="utf-8")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"Another watercli \(process 4711\) is writing"):
            pretrain(longer(tiny_store.config, "train.steps=9"), tiny_store, copied, **given)
    assert rows(copied) == before
    assert directory.all_checkpoints(copied)[-1].step == 8


def test_two_evaluations_of_a_run(copied: Path, tiny_store: Store) -> None:
    lock = copied / ".evaluation.lock"
    lock.write_text("4711", encoding="utf-8")
    checkpoint = directory.open_run(copied)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"process 4711"):
            evaluate(checkpoint, tiny_store, copied / "evaluation", checkpoint.config, run=copied)
    assert not (copied / "cache").exists(), "it was refused after the work"


@pytest.mark.parametrize("written", [(), ("run.json",), ("config.yaml",)], ids=["nothing", "no settings", "no record"])
def test_a_run_that_never_began_is_begun(
    uninterrupted: Path, tiny_store: Store, tmp_path: Path, written: tuple[str, ...]
) -> None:
    """What a kill or a full disk leaves, a form of the command accepts, and every message says which."""
    run = tmp_path / "run"
    run.mkdir()
    for name in written:
        shutil.copy(uninterrupted / name, run / name)
    config = longer(tiny_store.config)
    if "config.yaml" in written:
        with pytest.raises(ConfigError, match="continue it with --resume"):
            set_up(config, tiny_store, run, resume=False, overwrite=False)
        set_up(config, tiny_store, run, resume=True, overwrite=False)
    else:
        set_up(config, tiny_store, run, resume=False, overwrite=False)
    assert {path.name for path in run.iterdir()} == {"config.yaml", "run.json"}
    assert (run / "config.yaml").read_bytes() == (uninterrupted / "config.yaml").read_bytes()


def test_a_run_is_replaced_only_by_one_that_stands(
    copied: Path, tiny_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(copied)

    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(pretraining, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        set_up(longer(tiny_store.config), tiny_store, copied, resume=False, overwrite=True)
    assert rows(copied) == before
    monkeypatch.undo()
    link = copied.with_name("link")
    link.symlink_to(copied)
    set_up(longer(tiny_store.config), tiny_store, link, resume=False, overwrite=True)
    assert link.is_symlink()
    assert {path.name for path in copied.iterdir()} == {"config.yaml", "run.json"}
    assert {path.name for path in copied.parent.iterdir()} == {"copied", "link"}
