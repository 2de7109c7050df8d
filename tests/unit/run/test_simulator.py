"""The windows that a recurrence simulates in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from watercli.config import Simulate
from watercli.data import simulation
from watercli.inference.simulate import export_simulation
from watercli.run.directory import open_run
from watercli.run.simulator import Simulator
from watercli.store import Store


@pytest.fixture
def simulator(recurrent_run: Path, tiny_store: Store) -> Simulator:
    return Simulator(open_run(recurrent_run), tiny_store, "riverflow")


def test_windows_are_longer_than_those_of_the_training_and_follow_each_other(simulator: Simulator) -> None:
    days = 4 * simulator.checkpoint.config.window_days
    dates = np.arange(3 * days + 5)
    starts = simulator.windows.starts(dates)
    np.testing.assert_array_equal(np.unique(starts), [0, days, 2 * days, 3 * days])
    assert (dates - starts < days).all()
    assert simulator.windows.needed(dates[: days + 1]) == days
    assert simulator.windows.needed(dates[3 * days :]) == 5
    assert [date for part in simulator.parts(dates) for date in part] == dates.tolist()


def test_a_date_is_simulated_alike_whatever_else_is_asked_for(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dates = np.arange(len(simulator.store.times))
    every = simulator(dates)
    some = simulator(dates[90:110])
    np.testing.assert_allclose(some.flow, every.flow[:, 90:110], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(some.available, every.available[:, 90:110])
    one = replace(simulator, gauges=(simulator.store.gauge_ids[3],))(dates)
    np.testing.assert_allclose(one.flow, every.flow[3:4], rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(simulation, "CPU_ROWS", 4)  # of six catchments
    grouped = Simulator(simulator.checkpoint, simulator.store, "riverflow")(dates)
    np.testing.assert_allclose(grouped.flow, every.flow, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(grouped.available, every.available)


def test_a_simulation_says_how_long_its_windows_are(simulator: Simulator, tmp_path: Path) -> None:
    out = export_simulation(simulator.checkpoint, simulator.store, tmp_path / "flow.zarr", Simulate())
    assert xr.open_zarr(out).attrs["window_days"] == 4 * simulator.checkpoint.config.window_days
