"""Faults put in for real, drawn with a seed and counted: flipped bits, lost files, kills, full disks, odd settings.

``pytest -m slow -s tests/integration/faults/test_injected.py`` prints the counts.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xarray as xr

from tests import factory
from tests.conftest import TINY
from tests.forked import start
from watercli.config import load
from watercli.errors import ConfigError, DataError
from watercli.inference.embed import embed
from watercli.inference.simulate import export_simulation
from watercli.inspection.verify import verify
from watercli.output.zarr_files import open_checked
from watercli.run import checkpoint as checkpoints
from watercli.run import directory
from watercli.store import Store

pytestmark = pytest.mark.slow
SEED = 20
FLIPS, FUZZED, KILLS, LIMITS = 30, 100, 4, 4
PIECES = (b"\x00", b"\xff", b": ", b"[", b"- ", b"'", b"1e999", b"2000-13-45", b"\n", b"&", b"*a")
"""What is put into a configuration."""


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def counts(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Counter[str]]:
    counter: Counter[str] = Counter()
    yield counter
    with capsys.disabled():
        sys.stdout.write(f"\n{request.node.name}: {dict(counter)}\n")


@pytest.fixture(scope="module", params=["store", "embeddings", "simulation"])
def whole(
    request: pytest.FixtureRequest, tiny_store: Store, fused_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of each kind, to be damaged and mended again."""
    out = tmp_path_factory.mktemp("whole") / request.param
    if request.param == "store":
        return Path(shutil.copytree(tiny_store.path, out))
    checkpoint = directory.open_run(fused_run)
    if request.param == "embeddings":
        return embed(checkpoint, tiny_store, out, checkpoint.config.embed.model_copy(update={"stride": 30}))
    return export_simulation(checkpoint, tiny_store, out, checkpoint.config.simulate)


def values(path: Path) -> xr.Dataset:
    return open_checked(path).load()


def files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def test_flipped_bits(whole: Path, chance: random.Random, counts: Counter[str]) -> None:
    before = values(whole)
    for _ in range(FLIPS):
        file = chance.choice(files(whole))
        content = bytearray(file.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        kept = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(str(file))):
            values(whole)
        with pytest.raises(DataError):
            verify(whole)
        counts["metadata" if file.suffix == ".json" else "chunks"] += 1
        file.write_bytes(kept)
    xr.testing.assert_identical(values(whole), before)


def test_lost_and_torn_files(whole: Path, chance: random.Random, counts: Counter[str]) -> None:
    chosen = [file for file in files(whole) if file.name != "manifest.json"]
    for file in chance.sample(chosen, min(len(chosen), FLIPS)):
        kept = file.read_bytes()
        for what, damage in (("lost", Path.unlink), ("torn", lambda path: os.truncate(path, path.stat().st_size // 2))):
            damage(file)
            with pytest.raises(DataError) as failed:
                open_checked(whole)
            assert str(file) in str(failed.value)
            counts[what] += 1
            file.write_bytes(kept)


def test_damaged_checkpoints(uninterrupted: Path, tmp_path: Path, chance: random.Random, counts: Counter[str]) -> None:
    """Whatever is done to the newest checkpoint, what is opened is it as it was, or the one before."""
    run = Path(shutil.copytree(uninterrupted, tmp_path / "run"))
    newest = checkpoints.folder_of(run, 8)
    for _ in range(FLIPS):
        file = chance.choice(files(newest))
        kept = content = file.read_bytes()
        place = chance.randrange(len(content))
        kind = chance.choice(["flipped", "torn", "lost"])
        if kind == "lost":
            file.unlink()
        else:
            flipped = content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
            file.write_bytes(content[:place] if kind == "torn" else flipped)
        for opened in (directory.newest(run), directory.open_run(run, lambda whole: whole[-1])):
            assert opened is not None
            opened.verify(checkpoints.WEIGHTS)
            counts[f"{kind}: step {opened.step}"] += 1
        goes_on = directory.newest(run)
        assert goes_on is not None
        assert goes_on.step == 4, f"{file.name} {kind}"
        file.write_bytes(kept)


def test_fuzzed_configurations(tmp_path: Path, chance: random.Random, counts: Counter[str]) -> None:
    text = factory.RECIPE.encode()
    file = tmp_path / "fuzzed.yaml"
    for _ in range(FUZZED):
        content = bytearray(text)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content))
            content[place : place + chance.randint(0, 3)] = chance.choice(PIECES)
        file.write_bytes(content)
        refused = ""
        try:
            load(str(file))
        except ConfigError as error:
            refused = str(error)
        counts["refused" if refused else "read"] += 1
        assert not refused or "fuzzed.yaml" in refused


def prepare(out: Path, store: Path, run: Path) -> list[str]:
    settings = [word for change in TINY for word in ("--set", change)]
    return ["prepare", "--config", "demo", "--out", str(out), *settings]


def pretrain(out: Path, store: Path, run: Path) -> list[str]:
    changes = ("train.steps=6", "train.checkpoint_every=2", "train.validate_every=2", "train.log_every=1")
    return ["pretrain", "--store", str(store), "--run", str(out), *(word for one in changes for word in ("--set", one))]


def export(out: Path, store: Path, run: Path) -> list[str]:
    return ["embed", "--run", str(run), "--store", str(store), "--out", str(out), "--stride", "5"]


def comparable(out: Path) -> dict[str, bytes]:
    """Return what must be the same however often the work was ended: all, or the weights of a run."""
    pattern = "checkpoints/*/model.safetensors" if (out / "config.yaml").is_file() else "**/*"
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob(pattern) if path.is_file()}


Command = Callable[[Path, Path, Path], list[str]]


def again(arguments: list[str], out: Path) -> list[str]:
    """Return the form of a command that goes on: that which the messages name."""
    return [*arguments, "--resume"] if arguments[0] == "pretrain" and (out / "config.yaml").is_file() else arguments


@pytest.mark.parametrize("make", [prepare, pretrain, export])
def test_kills(
    make: Command, tiny_store: Store, tiny_run: Path, tmp_path: Path, chance: random.Random, counts: Counter[str]
) -> None:
    said, whole, out = tmp_path / "said", tmp_path / "whole", tmp_path / "out"
    assert start(["--version"], said).end() == 0, "the fork server is up"
    began = time.monotonic()
    assert start(make(whole, tiny_store.path, tiny_run), said).end() == 0, said.read_text()
    seconds = time.monotonic() - began
    for _ in range(KILLS):
        process = start(again(make(out, tiny_store.path, tiny_run), out), said).process
        process.join(chance.uniform(0.1, 0.9) * seconds)
        counts["killed" if process.exitcode is None else "ended before"] += 1
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
    if process.exitcode != 0:
        code = start(again(make(out, tiny_store.path, tiny_run), out), said).end()
        # Killed with all its work done, but before it ended.
        complete = any(words in said.read_text() for words in ("exists; give another", "already has 6 steps"))
        assert code == 0 or complete, said.read_text()
    assert comparable(out) == comparable(whole)
    assert not list(tmp_path.glob(".*")), "something is left beside the output"
    counts["equal bytes"] += 1


@pytest.mark.parametrize("make", [prepare, pretrain, export])
def test_full_disks(
    make: Command, tiny_store: Store, tiny_run: Path, tmp_path: Path, chance: random.Random, counts: Counter[str]
) -> None:
    said, out = tmp_path / "said", tmp_path / "out"
    for _ in range(LIMITS):
        limit = int(10 ** chance.uniform(2.5, 5.5))
        code = start(again(make(out, tiny_store.path, tiny_run), out), said, limit).end()
        text = said.read_text()
        assert code in (0, 1, 2), text
        assert "Traceback" not in text
        assert "a bug?" not in text, text
        counts[f"exit code {code}"] += 1
        if code == 0:
            break
    code = start(again(make(out, tiny_store.path, tiny_run), out), said).end()
    assert code == 0 or "exists" in said.read_text() or "already has 6 steps" in said.read_text(), said.read_text()
    assert comparable(out)
