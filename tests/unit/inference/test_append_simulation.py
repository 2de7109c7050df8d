"""`watercli simulate --append`: later days for a simulation, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.forked import START
from tests.unit.inference.conftest import written
from tests.unit.inference.test_embed import files
from watercli.config import Simulate, with_overrides
from watercli.errors import ConfigError, DataError
from watercli.inference.append_simulation import _looking_ahead, append_simulation
from watercli.inference.kept_simulation import read_kept
from watercli.inference.simulate import SimulationBlocks, export_simulation
from watercli.inspection.verify import verify
from watercli.output import atomic
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.run.simulator import Simulator
from watercli.store import Store

BEFORE, SINCE = 783, "2001-12-15"
"""Days of the store before it was extended, and the first that is simulated."""


@pytest.fixture(scope="module")
def informed(informed_run: Path) -> Checkpoint:
    return open_run(informed_run)


@pytest.fixture(scope="module")
def short(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store as it was before its last days came."""
    return written(tiny_store, tmp_path_factory.mktemp("short") / "short.zarr", BEFORE, fingerprint="short")


@pytest.fixture(scope="module")
def extended(tiny_store: Store) -> Store:
    """The same store with its last days."""
    return replace(tiny_store, dataset=tiny_store.dataset.assign_attrs(ancestry=["short", "middle"]))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watercli.inference.simulate.BLOCK_DATES", 30)


def chosen(**given: object) -> Simulate:
    return Simulate.model_validate({"since": SINCE} | given)


def test_only_later_days_are_simulated(
    fused: Checkpoint, short: Store, extended: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export_simulation(fused, short, tmp_path / "flow.zarr", chosen())
    before, old = xr.open_zarr(out).load(), files(out)
    whole = xr.open_zarr(export_simulation(fused, extended, tmp_path / "whole.zarr", chosen()))
    simulated: list[int] = []
    on = SimulationBlocks.on
    monkeypatch.setattr(SimulationBlocks, "on", lambda self, dates: (simulated.extend(dates), on(self, dates))[1])
    append_simulation(fused, extended, out)
    assert simulated == list(range(BEFORE, len(extended.times)))
    after = xr.open_zarr(out)
    assert after.attrs == whole.attrs
    np.testing.assert_array_equal(after["riverflow"][:, : before.sizes["time"]].values, before["riverflow"].values)
    xr.testing.assert_allclose(after.drop_attrs(), whole.drop_attrs(), rtol=1e-4, atol=1e-6)
    assert files(out)["riverflow/c/0/0"] == old["riverflow/c/0/0"]


def test_twice_is_once(
    fused: Checkpoint, short: Store, extended: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = export_simulation(fused, short, tmp_path / "flow.zarr", chosen())
    append_simulation(fused, extended, out)
    once = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        append_simulation(fused, extended, out)
    assert "holds every date to 2002-03-31 already: nothing to add" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == once


@pytest.mark.parametrize("own_flow", ["none", pytest.param("before", marks=pytest.mark.slow)])
def test_evidence_of_later_days(
    informed: Checkpoint, short: Store, extended: Store, tmp_path: Path, own_flow: str
) -> None:
    settings = chosen(since="2002-02-10", own_flow=own_flow, weather_only=True, catchments=("01001",))
    out = export_simulation(informed, short, tmp_path / "flow.zarr", settings)
    before = xr.open_zarr(out).load()
    append_simulation(informed, extended, out)
    after = xr.open_zarr(out).load()
    held = before.sizes["time"]
    for name in ("riverflow", "riverflow_quantile", "neighbours_used", "evidence", "riverflow_weather_only"):
        np.testing.assert_array_equal(after[name][:, :held].values, before[name].values)
    # What is simulated once, by the whole store, agrees on the days that were added.
    whole = xr.open_zarr(export_simulation(informed, extended, tmp_path / "whole.zarr", settings))
    xr.testing.assert_allclose(
        after.isel(time=slice(held, None)).drop_attrs(), whole.isel(time=slice(held, None)).drop_attrs(), rtol=1e-4
    )
    assert (after["neighbours_used"][:, held:] > 0).all()
    assert (after["own_days_used"][:, held:] > 0).all() == (own_flow == "before")


def test_the_past_of_other_gauges_is_kept(
    informed: Checkpoint, short: Store, extended: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evidence head reads the simulation of all donors and days, which a file keeps once it was extended."""
    monkeypatch.setattr("watercli.data.simulation.ROWS", 30)
    settings = chosen(since="2002-02-10", catchments=("01001",))
    middle = written(extended, tmp_path / "middle.zarr", BEFORE + 20, fingerprint="middle", ancestry=["short"])
    out = export_simulation(informed, short, tmp_path / "flow.zarr", settings)
    append_simulation(informed, middle, out)
    held = len(middle.times)
    simulated: list[int] = []
    simulate = Simulator.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Simulator, "__call__", lambda self, dates: (simulated.extend(dates), simulate(self, dates))[1])
        append_simulation(informed, extended, out)
    assert held - 60 < min(simulated) < held
    # It is that of all days at once, to the last bit, and so is what the head makes of it.
    fresh = SimulationBlocks.of(informed, extended, settings, "cpu")
    assert fresh.informed is not None
    every, kept = fresh.informed.simulated, xr.open_zarr(out, group="_weather_only", consolidated=False)
    np.testing.assert_array_equal(kept["flow"].values, every.flow)
    np.testing.assert_array_equal(kept["input_available"].values, every.available)
    after = xr.open_zarr(out)
    for name, values in fresh.on(np.arange(held, len(extended.times))).items():
        np.testing.assert_array_equal(after[name].values[:, -values.shape[1] :], values)
    assert "as they were written" in verify(out)
    # Where a bit was flipped, the next extension makes it anew.
    file = next(path for path in (out / "_weather_only" / "flow" / "c").rglob("*") if path.is_file())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="of array 'flow' cannot be read"):
        verify(out)
    assert read_kept(out, fresh.simulator) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fill": True}, r"was made with --fill, by which later flow changes earlier days"),
        ({"since": None, "init_time": "2002-02-10"}, r"is a forecast from 2002-02-10, which is not extended"),
    ],
)
def test_what_later_flow_changes_is_refused(
    informed: Checkpoint, short: Store, extended: Store, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    selection = chosen(catchments=("01001",), **({"since": "2002-02-10"} | settings))
    out = export_simulation(informed, short, tmp_path / "flow.zarr", selection)
    before = files(out)
    with pytest.raises(ConfigError, match=message):
        append_simulation(informed, extended, out)
    assert files(out) == before


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({}, None),
        ({"neighbours": "past", "own_flow": "before"}, None),
        ({"neighbours": "all"}, "--neighbours all"),
        ({"own_flow": "all"}, "--own-flow all"),
        ({"measured": "some.csv"}, "--measured"),
        ({"own_flow": "2001-01-01..2002-02-21"}, None),
        ({"own_flow": "2001-01-01..2002-02-22"}, "--own-flow 2001-01-01..2002-02-22"),
    ],
)
def test_which_options_look_ahead(settings: dict[str, object], option: str | None) -> None:
    assert _looking_ahead(chosen(**settings), pd.Timestamp("2002-02-21")) == option


def test_what_is_not_its_own_is_refused(
    fused: Checkpoint, informed: Checkpoint, short: Store, extended: Store, tiny_store: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"There is no simulation at .*none.zarr; make it with"):
        append_simulation(fused, extended, tmp_path / "none.zarr")
    with pytest.raises(ConfigError, match=r"flow.nc is one file, which is not extended"):
        append_simulation(fused, extended, tmp_path / "flow.nc")
    out = export_simulation(fused, short, tmp_path / "flow.zarr", chosen(since="2002-02-10"))
    with pytest.raises(ConfigError, match="is of other weights"):
        append_simulation(informed, extended, out)
    with pytest.raises(ConfigError, match=r"is not the store of .* with later days"):
        append_simulation(fused, tiny_store, out)


def test_a_window_that_was_cut_off(fused: Checkpoint, short: Store, extended: Store, tmp_path: Path) -> None:
    """Of a model that is not causal, the last days saw less weather than they would now."""
    both_ways = replace(fused, config=with_overrides(fused.config, ("model.causal=false",)))
    out = export_simulation(both_ways, short, tmp_path / "flow.zarr", chosen(since="2002-02-10"))
    with pytest.raises(ConfigError, match=r"that is not causal \(model.causal\), by which later weather changes"):
        append_simulation(both_ways, extended, out)
    # Days whose windows were whole are settled.
    early = export_simulation(both_ways, short, tmp_path / "early.zarr", chosen(since="2002-02-01", until="2002-02-10"))
    append_simulation(both_ways, extended, early)
    assert str(xr.open_zarr(early)["time"].values[-1])[:10] == "2002-03-31"


def test_a_failure_leaves_it_as_it_was(
    fused: Checkpoint, short: Store, extended: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export_simulation(fused, short, tmp_path / "flow.zarr", chosen(since="2002-02-10"))
    before = files(out)
    with monkeypatch.context() as patch:
        patch.setattr("watercli.inference.formats.ZarrFormat.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            append_simulation(fused, extended, out)
    assert files(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["flow.zarr"]
    # Killed between the two renames: the old one is brought back, and extended.
    out.rename(atomic._replaced(out))
    append_simulation(fused, extended, out)
    assert [path.name for path in tmp_path.iterdir()] == ["flow.zarr"]
    assert str(xr.open_zarr(out)["time"].values[-1])[:10] == "2002-03-31"


def extend(run: Path, store: Path, out: Path, ready: Event) -> None:
    """Extend a simulation, in a process of its own."""
    later = Store.open(store)
    later = replace(later, dataset=later.dataset.assign_attrs(ancestry=["short"]))
    checkpoint = open_run(run)
    ready.set()
    append_simulation(checkpoint, later, out)


@pytest.mark.slow
def test_a_kill_leaves_the_old_or_the_new(
    fused_run: Path, fused: Checkpoint, short: Store, extended: Store, tmp_path: Path
) -> None:
    """The process is killed at times spread over its work; what is there can be read, and is extended after."""
    store = shutil.copytree(extended.path, tmp_path / "store.zarr")
    kept = export_simulation(fused, short, tmp_path / "kept.zarr", chosen(since="2002-02-10"))
    ends = set()
    for delay in (0.05, 0.3, 0.6, 1.0, 1.6):
        out = Path(shutil.copytree(kept, tmp_path / "flow.zarr"))
        ready = START.Event()
        process = START.Process(target=extend, args=(fused_run, store, out, ready))
        process.start()
        assert ready.wait(60)
        process.join(delay)
        process.kill()
        process.join()
        if out.exists():
            ends.add(str(xr.open_zarr(out)["time"].values[-1])[:10])
        append_simulation(fused, extended, out)
        assert str(xr.open_zarr(out).load()["time"].values[-1])[:10] == "2002-03-31"
        shutil.rmtree(out)
    assert ends <= {str(short.times[-1])[:10], "2002-03-31"}
