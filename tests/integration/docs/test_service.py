"""The script of the page on a service does what the page says: what it makes, its exit codes, what a failure leaves."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr

from tests import factory
from tests.forked import program
from tests.integration.docs.test_docs import DOCS, blocks, parse
from tests.unit.preparation.test_extend import chunks, config, give
from watercli.config import with_overrides
from watercli.preparation.prepare import prepare
from watercli.training.pretrain import pretrain

(SCRIPT,) = (block.text for block in blocks(DOCS / "guide" / "service.md", "bash"))
MODEL = (
    "model={width: 16, decoder_width: 16, heads: 2, grid_layers: 1, series_layers: 1, decoder_layers: 2, causal: true, "
    "cross_modal_attention: decoder, antecedent_state: {width: 16}, grid_attention_scope: same_day}",
    "train.tasks={simulation: 0.5}",
    "train.batch_size=2",
    "train.steps=4",
    "train.warmup_steps=1",
    "train.catchments_per_window=4",
    "train.validate_every=4",
    "train.validation_windows=2",
    "train.checkpoint_every=4",
    "train.evidence={steps: 4, quantile_steps: 4}",
)


def test_commands_of_the_script_parse(tmp_path: Path) -> None:
    """Every command line of the script is one that bash and the program know."""
    (tmp_path / "service.sh").write_text(SCRIPT, encoding="utf-8")
    subprocess.run(["bash", "-n", tmp_path / "service.sh"], check=True)
    lines = re.findall(r"^.*step watercli (.*)$", SCRIPT, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        parse(shlex.split(re.sub(r"\$\w+", "2030-01-01", line)))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the page has it, with a store and a run of the days that were known first."""
    folder = tmp_path_factory.mktemp("service")
    give(folder / "data", "2002-01-31")
    store = prepare(config(), folder / "store.zarr", data=folder / "data")
    pretrain(with_overrides(store.config, MODEL), store, folder / "run")
    bin_ = folder / "bin"
    bin_.mkdir()
    (folder / "service.sh").write_text(SCRIPT, encoding="utf-8")
    (folder / "service.sh").chmod(0o755)
    with program(bin_ / "watercli", bin_ / "stderr"):
        yield folder


def came(folder: Path, files_until: str, last_day: str) -> None:
    """Put files of more days into a data folder."""
    shutil.rmtree(folder, ignore_errors=True)
    give(folder, files_until)
    (folder / "last-day").write_text(f"{last_day}\n", encoding="utf-8")


def call(folder: Path) -> tuple[int, str]:
    """Return what the script ends with, and what it has written to its log."""
    (folder / "service.log").unlink(missing_ok=True)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    ended = subprocess.run([folder / "service.sh", folder], env=os.environ | {"PATH": path}, check=False)
    return ended.returncode, (folder / "service.log").read_text(encoding="utf-8")


def ends(path: Path) -> str:
    return str(xr.open_zarr(path)["time"].values[-1])[:10]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock on this machine")
def test_the_script_serves(service: Path) -> None:
    came(service / "data", "2002-02-01", "2002-02-01")
    came(service / "data-ahead", "2002-02-05", "2002-02-05")
    code, said = call(service)
    assert code == 0, said
    assert "done: flow to 2002-02-01, forecast to 2002-02-05" in said
    assert ends(service / "store.zarr") == ends(service / "flow.zarr") == "2002-02-01"
    forecast = xr.open_zarr(service / "forecasts" / "2002-02-01.zarr")
    assert forecast.sizes["time"] == 4
    assert forecast.sizes["catchment"] == len(factory.GAUGES)
    before = chunks(service / "store.zarr") | chunks(service / "flow.zarr")

    # Once more: nothing to add, and the same forecast.
    code, said = call(service)
    assert code == 0, said
    assert said.count("nothing to add") == 2
    assert chunks(service / "store.zarr") | chunks(service / "flow.zarr") == before

    # The files of the day have not come: the code of the command, and all as it was.
    came(service / "data", "2002-02-01", "2002-02-02")
    code, said = call(service)
    assert code == 1
    assert "No file holds a day from 2002-02-02 to 2002-02-02" in said
    assert "exit 1: watercli prepare --append" in said
    assert chunks(service / "store.zarr") | chunks(service / "flow.zarr") == before

    # A mistake: the day before.
    came(service / "data", "2002-02-01", "2002-01-30")
    code, said = call(service)
    assert code == 2
    assert "set that to a later day to append" in said

    # Two calls at once.
    with (service / "service.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert call(service)[0] == 0
    assert "the last one is still at work" in (service / "service.log").read_text(encoding="utf-8")
