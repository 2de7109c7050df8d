"""The flow of catchments, gauged or not, as `watercli simulate` writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.unit.inference.test_provenance import NEW, without
from watercli.config import Simulate
from watercli.errors import ConfigError
from watercli.inference.formats import ZarrFormat
from watercli.inference.simulate import export_simulation, simulated_dataset
from watercli.inspection.show import show
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.run.simulator import Simulator, simulate
from watercli.store import Store

Write = Callable[..., None]


def chosen(**given: object) -> Simulate:
    return Simulate.model_validate(given)


@pytest.mark.parametrize("window", [2, 3, 10, 15])
def test_a_date_is_simulated_in_one_window_whatever_is_asked_for(
    fused: Checkpoint,
    tiny_store: Store,
    window: int,
) -> None:
    run = replace(fused, config=fused.config.model_copy(update={"window_days": window}))
    simulator = Simulator(run, tiny_store, "riverflow")
    dates = np.arange(3 * window)
    before = dates - simulator.windows.starts(dates)
    assert (before >= 0).all()
    assert (before < window).all()
    # Half a window lies before a date, but for the first ones.
    assert (before[window:] >= window // 2).all()
    np.testing.assert_array_equal(simulator.windows.starts(dates[7::5]), simulator.windows.starts(dates)[7::5])
    assert [date for part in simulator.parts(dates) for date in part] == dates.tolist()


def test_it_is_what_evaluate_judges(fused: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    out = export_simulation(fused, tiny_store, tmp_path / "flow.zarr", chosen())
    found = xr.open_zarr(out)
    assert found["riverflow"].dims == ("catchment", "time")
    assert found["riverflow"].attrs["units"] == "mm/day"
    assert list(found["catchment"].values) == tiny_store.gauge_ids
    assert found.sizes["time"] == len(tiny_store.times)
    period = tiny_store.period("test")
    judged = simulate(fused, tiny_store, "riverflow", period)
    np.testing.assert_allclose(found["riverflow"].values[:, period], judged, rtol=1e-4, atol=1e-6)
    assert np.isfinite(found["riverflow"].values).all()
    assert list(found["input"].values) == ["precip", "soil", "temp", "evap"]
    assert found["gauge_role"].values.tolist() == [1, 2, 1, 1, 2, 1]
    assert found.attrs["excluded_inputs"] == ["riverflow"]
    # Some dates and catchments: the same numbers.
    part = chosen(since="2002-01-05", until="2002-02-01", catchments=("03003", "01001"))
    some = xr.open_zarr(export_simulation(fused, tiny_store, tmp_path / "some.zarr", part))
    assert list(some["catchment"].values) == ["01001", "03003"]
    same = found["riverflow"].sel(catchment=some["catchment"], time=some["time"])
    np.testing.assert_allclose(some["riverflow"].values, same.values, rtol=1e-4, atol=1e-6)


def test_it_is_the_same_in_memory(fused: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    part = chosen(since="2001-01-01", catchments=("01001", "03003"))
    export = xr.open_zarr(export_simulation(fused, tiny_store, tmp_path / "flow.zarr", part)).load()
    simulated = simulated_dataset(fused, tiny_store, part)
    xr.testing.assert_identical(simulated, export)
    simulated.to_netcdf(tmp_path / "flow.nc")


def test_flow_is_not_needed(fused: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    part = chosen(since="2002-01-01")
    gauged = xr.open_zarr(export_simulation(fused, tiny_store, tmp_path / "gauged.zarr", part))
    bare = without(tiny_store, tmp_path / "bare.zarr", "riverflow")
    ungauged = xr.open_zarr(export_simulation(fused, bare, tmp_path / "ungauged.zarr", part))
    np.testing.assert_array_equal(ungauged["riverflow"].values, gauged["riverflow"].values)


def test_what_is_missing_is_said(
    fused: Checkpoint,
    tiny_store: Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dataset = tiny_store.dataset.copy()
    evap = dataset["evap"].values.copy()
    evap[2, -10:] = np.nan
    dataset["evap"] = (dataset["evap"].dims, evap, dataset["evap"].attrs)
    store = replace(tiny_store, dataset=dataset)
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("WARNING", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        out = export_simulation(fused, store, tmp_path / "flow.zarr", chosen(since="2002-03-12"))
    known = xr.open_zarr(out)["input_available"]
    here = np.isfinite(evap[:, -20:])
    np.testing.assert_array_equal(known.sel(input="evap").values, here)
    assert known.sel(input="temp").all()
    assert (
        f"Of 120 catchment days, some lack an input ('input_available' says which): evap {(~here).mean():.1%}"
        in caplog.text
    )
    assert "precip" not in caplog.text
    # With nothing known of a day there is no answer.
    simulator = Simulator(fused, tiny_store, "riverflow")
    nothing = simulator(np.arange(800, 810))
    nothing.available[:, 3] = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Simulator, "__call__", lambda self, dates: nothing)
        out = export_simulation(fused, tiny_store, tmp_path / "none.zarr", chosen(since="2002-03-22"))
    np.testing.assert_array_equal(np.isnan(xr.open_zarr(out)["riverflow"].values).any(0), np.arange(10) == 3)


def test_new_gauges(fused: Checkpoint, other_store: Store, tmp_path: Path) -> None:
    out = export_simulation(fused, other_store, tmp_path / "flow.zarr", chosen(since="2002-06-01"))
    found = xr.open_zarr(out)
    assert list(found["catchment"].values[found["gauge_role"].values == 0]) == NEW
    assert np.isfinite(found["riverflow"].values).all()
    assert "another store" in found.attrs["store_changed"]


def test_it_goes_on_where_it_was(
    fused: Checkpoint,
    tiny_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("watercli.inference.simulate.BLOCK_DATES", 30)
    whole = export_simulation(fused, tiny_store, tmp_path / "whole.zarr", chosen(since="2002-01-01"))
    write, written = ZarrFormat.write, []

    def interrupted(form: ZarrFormat, folder: Path, layout: Any, number: int, arrays: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        write(form, folder, layout, number, arrays)
        written.append(number)

    out = tmp_path / "flow.zarr"
    monkeypatch.setattr(ZarrFormat, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_simulation(fused, tiny_store, out, chosen(since="2002-01-01"))
    assert not out.exists()
    show(str(out))
    assert "Half-made simulation for" in (said := " ".join(capsys.readouterr().out.split()))
    assert "2 of 3 blocks" in said
    assert "the same watercli simulate goes on" in said
    monkeypatch.setattr(ZarrFormat, "write", lambda *given: (write(*given), written.append(given[3])))
    export_simulation(fused, tiny_store, out, chosen(since="2002-01-01"))
    assert written == [0, 1, 2]
    for file in whole.rglob("*"):
        if file.is_file():
            assert (out / file.relative_to(whole)).read_bytes() == file.read_bytes()
    show(str(out))
    assert "6 catchments, 90 dates from 2002-01-01 to 2002-03-31, in mm/day" in (
        said := " ".join(capsys.readouterr().out.split())
    )
    assert "0 new, 4 trained, 2 held_out" in said
    assert "precip 100.0%" in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": "riverflwo"}, "no series of the run; did you mean 'riverflow'"),
        ({"target": "precip"}, "no series of the run"),
        ({"catchments": ("01001", "0303")}, "names gauge '0303'.*did you mean '03003'"),
        ({"since": "2031-01-01"}, "it holds 2000-01-01 to 2002-03-31"),
    ],
)
def test_what_cannot_be_is_refused(
    fused: Checkpoint,
    tiny_store: Store,
    tmp_path: Path,
    given: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        export_simulation(fused, tiny_store, tmp_path / "flow.zarr", chosen(**given))
    assert not list(tmp_path.iterdir())


def test_a_model_without_fusion_cannot_know(tiny_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without cross-modal attention"):
        export_simulation(open_run(tiny_run), tiny_store, tmp_path / "flow.zarr", chosen())


def test_only_a_simulation_is_replaced(fused: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    out, some = tmp_path / "flow.zarr", chosen(since="2002-03-01")
    export_simulation(fused, tiny_store, out, some)
    with pytest.raises(ConfigError, match="exists; give another --out, or --overwrite"):
        export_simulation(fused, tiny_store, out, some)
    export_simulation(fused, tiny_store, out, some, overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="holds no simulation of watercli"):
        export_simulation(fused, tiny_store, tmp_path / "mine", some, overwrite=True)
