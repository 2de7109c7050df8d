"""What `watercli simulate` knows of flow, what it says of that, and what it must not see."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from watercli.config import Simulate
from watercli.errors import ConfigError, DataError, RunError
from watercli.inference.evidence import EVIDENCE, FLAGS, InformedSimulator
from watercli.inference.known_flow import KnownFlow, read_measurements
from watercli.inference.simulate import SimulationBlocks, export_simulation, simulated_dataset
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.run.evidence import FILE, load_evidence, save_evidence
from watercli.run.simulator import simulate
from watercli.run.view import as_read_by
from watercli.store import SERIES_DIMS, Store
from watercli.training.evidence_phase import WITHHELD

UNTIL, LAST = "2002-01-20", 750
"""A day, and its position in the store."""


@pytest.fixture(scope="module")
def informed(informed_run: Path) -> Checkpoint:
    return open_run(informed_run)


Change = Callable[..., Store]


@pytest.fixture
def changed_store(tiny_store: Store) -> Change:
    """Return a function that returns the store with other flow at some gauges on some days."""

    def change(gauges: slice, days: slice, value: float = 9.0) -> Store:
        flow = tiny_store.dataset["riverflow"].values.copy()
        flow[gauges, days] = value
        return replace(tiny_store, dataset=tiny_store.dataset.assign(riverflow=(("catchment", "time"), flow)))

    return change


def simulated(checkpoint: Checkpoint, store: Store, **given: object) -> xr.Dataset:
    return simulated_dataset(checkpoint, store, Simulate.model_validate(given))


def same_flow(one: xr.Dataset, other: xr.Dataset) -> bool:
    return all(np.array_equal(one[name].values, other[name].values) for name in ("riverflow", "riverflow_quantile"))


def test_the_head_lies_beside_the_weights_that_it_belongs_to(informed: Checkpoint, tmp_path: Path) -> None:
    fitted = load_evidence(informed, "riverflow")
    assert fitted is not None
    assert fitted.offset > 0
    assert load_evidence(informed, "evap") is None
    copy = shutil.copytree(informed.path, tmp_path / "copy")
    moved = Checkpoint.read(copy)
    again = load_evidence(moved, "riverflow")
    assert again is not None
    assert again.offset == fitted.offset
    content = (copy / FILE).read_bytes()
    (copy / FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match="cannot be read"):
        load_evidence(moved, "riverflow")
    (copy / FILE).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match="does not hold what was written"):
        load_evidence(moved, "riverflow")
    (copy / FILE).unlink()
    assert load_evidence(moved, "riverflow") is None
    save_evidence(moved, fitted)
    with (copy / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\0")
    with pytest.raises(RunError, match="other weights"):
        load_evidence(moved, "riverflow")


def test_the_base_is_as_without_a_head(informed: Checkpoint, recurrent_run: Path, tiny_store: Store) -> None:
    """Fitting the head changes no weight of the model, and without evidence its estimate is the simulation."""
    assert informed.fingerprint_of_weights() == open_run(recurrent_run).fingerprint_of_weights()
    alone = simulated(informed, tiny_store, neighbours="none")
    period = slice(0, len(tiny_store.times))
    expected = simulate(informed, tiny_store, "riverflow", period)
    np.testing.assert_allclose(alone["riverflow"].values, expected, rtol=1e-4, atol=1e-5)
    assert (alone["evidence"].values == 0).all()


def test_the_second_model_did_without_some_gauges_and_those_held_out(informed_run: Path) -> None:
    second = open_run(informed_run / WITHHELD)
    assert set(open_run(informed_run).held_out_gauges) < set(second.held_out_gauges)
    assert second.config.train.evidence is None


@pytest.mark.parametrize("given", [{}, {"own_flow": "before"}, {"neighbours": "none"}, {"fill": True}])
def test_only_a_gauge_and_its_donors_are_simulated(
    informed: Checkpoint, tiny_store: Store, given: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the others may be donors; the estimate is that by the simulation of all gauges."""
    monkeypatch.setattr("watercli.data.evidence.CANDIDATES", 2)
    settings = Simulate.model_validate(given | {"catchments": ["03003"]})
    some = SimulationBlocks.of(informed, tiny_store, settings, "cpu").informed
    assert some is not None
    every_gauge = np.arange(len(tiny_store.gauge_ids))
    known = KnownFlow.of(tiny_store, "riverflow", settings)
    every = InformedSimulator(some.simulator, some.fitted, every_gauge, known)
    assert len(some.gauges) == (1 if given.get("neighbours") == "none" else 3)
    assert tiny_store.gauge_ids[some.gauges[some.places[0]]] == "03003"
    dates = np.arange(400, 500)
    for name, values in vars(every(dates)).items():
        np.testing.assert_allclose(getattr(some(dates), name), values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_plain_simulation_sees_other_gauges_and_not_the_gauge_itself(
    informed: Checkpoint, tiny_store: Store, changed_store: Change
) -> None:
    plain = simulated(informed, tiny_store, catchments=("01001",), since="2001-06-01", until=UNTIL, weather_only=True)
    own = changed_store(slice(0, 1), slice(None))
    again = simulated(informed, own, catchments=("01001",), since="2001-06-01", until=UNTIL)
    assert same_flow(plain, again)
    others = changed_store(slice(1, None), slice(500, 700))
    assert not same_flow(plain, simulated(informed, others, catchments=("01001",), since="2001-06-01", until=UNTIL))
    assert set(np.unique(plain["evidence"])) <= {0, EVIDENCE.index("neighbours")}
    assert (plain["neighbours_used"].values > 0).any()
    assert (plain["own_days_used"].values == 0).all()
    assert not np.array_equal(plain["riverflow"], plain["riverflow_weather_only"])
    assert (plain["riverflow_quantile"].diff("quantile") >= 0).all()
    assert plain["quantile"].values.tolist() == [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]


@pytest.mark.parametrize(
    ("given", "last"),
    [
        ({"neighbours": "day"}, LAST),
        ({"neighbours": "past"}, LAST - 1),
        ({"neighbours": "past", "own_flow": "before"}, LAST - 1),
        ({"neighbours": "none", "own_flow": "before"}, LAST - 1),
    ],
)
def test_no_later_flow_is_seen(
    informed: Checkpoint, tiny_store: Store, changed_store: Change, given: dict[str, object], last: int
) -> None:
    dates = {"since": UNTIL, "until": UNTIL}
    assert tiny_store.times[LAST] == pd.Timestamp(UNTIL)
    before = simulated(informed, tiny_store, **given, **dates)
    assert same_flow(before, simulated(informed, changed_store(slice(None), slice(last + 1, None)), **given, **dates))
    assert not same_flow(
        before, simulated(informed, changed_store(slice(None), slice(last, last + 1)), **given, **dates)
    )


def test_a_forecast_knows_flow_up_to_its_start(informed: Checkpoint, tiny_store: Store, changed_store: Change) -> None:
    given = {"init_time": UNTIL, "lead_time": 5}
    forecast = simulated(informed, tiny_store, **given)
    assert forecast["time"].values[[0, -1]].tolist() == pd.to_datetime(["2002-01-21", "2002-01-25"]).values.tolist()
    assert same_flow(forecast, simulated(informed, changed_store(slice(None), slice(LAST + 1, None)), **given))
    assert not same_flow(forecast, simulated(informed, changed_store(slice(None), slice(LAST, LAST + 1)), **given))
    assert (forecast["own_days_used"].values > 0).all()
    assert forecast.attrs["init_time"] == UNTIL


def test_own_flow_of_a_period_is_used_on_other_days_only(
    informed: Checkpoint, tiny_store: Store, changed_store: Change
) -> None:
    given = {"neighbours": "none", "own_flow": "2000-03-01..2000-06-30", "since": "2000-02-01", "until": "2000-08-01"}
    informed_by_period = simulated(informed, tiny_store, **given)
    outside = changed_store(slice(None), slice(200, None))
    assert same_flow(informed_by_period, simulated(informed, outside, **given))
    assert (informed_by_period["evidence"].values == EVIDENCE.index("own_flow")).any()
    with pytest.raises(ConfigError, match="holds no day"):
        simulated(informed, tiny_store, own_flow="1950-01-01..1950-02-01")


def test_an_estimate_does_not_depend_on_what_is_asked_for(informed: Checkpoint, tiny_store: Store) -> None:
    whole = simulated(informed, tiny_store, own_flow="all")
    part = simulated(
        informed, tiny_store, own_flow="all", since="2001-05-07", until="2001-09-09", catchments=("03003",)
    )
    same = whole.sel(catchment=part["catchment"], time=part["time"])
    np.testing.assert_allclose(part["riverflow"].values, same["riverflow"].values, rtol=1e-4, atol=1e-5)


def test_gaps_are_filled_and_what_is_observed_stays(
    informed: Checkpoint, tiny_store: Store, changed_store: Change
) -> None:
    with_gap = changed_store(slice(0, 1), slice(400, 430), np.nan)
    filled, observed = simulated(informed, with_gap, fill=True), with_gap.dataset["riverflow"].values
    there = np.isfinite(observed)
    np.testing.assert_array_equal(filled["riverflow_filled"].values[there], observed[there])
    assert np.isfinite(filled["riverflow_filled"].values).all()
    flag = filled["riverflow_flag"].values
    assert (flag[~there] == FLAGS.index("filled")).all()
    assert set(np.unique(flag[there])) <= {FLAGS.index("observed"), FLAGS.index("suspicious")}
    # A value that nothing around it explains is reported.
    spiked = changed_store(slice(2, 3), slice(300, 301), 5000.0)
    assert simulated(informed, spiked, fill=True)["riverflow_flag"].values[2, 300] == FLAGS.index("suspicious")


def test_measurements_are_evidence(informed: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "measured.csv"
    file.write_text("gauge_id,date,flow\n01001,2001-03-01,0.4\n01001,2001-05-01,0.2\n01001,1999-01-01,3\n")
    given = {"neighbours": "none", "catchments": ("01001", "03003"), "since": "2001-02-01", "until": "2001-12-31"}
    without, measured = (
        simulated(informed, tiny_store, **given),
        simulated(informed, tiny_store, **given, measured=file),
    )
    assert not np.array_equal(without["riverflow"][0], measured["riverflow"][0])
    assert np.array_equal(without["riverflow"][1], measured["riverflow"][1])
    assert measured["own_days_used"].values[0].max() == 2
    assert measured["own_days_used"].sel(time="2001-03-01").values.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gauge,date,flow\n01001,2001-03-01,1\n", "no column 'gauge_id'"),
        ("gauge_id,date,flow\n1001,2001-03-01,1\n", "gauge '1001'"),
        ("gauge_id,date,flow\n01001,2001-03-01,1\n01001,01/03/2001,1\n", "line 3"),
        ("gauge_id,date,flow\n01001,2001-03-01,-1\n", "line 2"),
        ("gauge_id,date,flow\n01001,2001-03-01,1\n01001,2001-03-01,2\n", "twice"),
    ],
)
def test_measurements_that_cannot_be_used_are_refused(
    tiny_store: Store, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "measured.csv"
    file.write_text(content)
    known = np.zeros((len(tiny_store.gauge_ids), len(tiny_store.times)), dtype=bool)
    with pytest.raises(DataError, match=message):
        read_measurements(file, tiny_store, known)


def test_choices_that_do_not_exist_are_refused(tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="known: none, before, all, or a period"):
        Simulate.model_validate({"own_flow": "some"})
    with pytest.raises(ValueError, match="month must be in"):
        Simulate.model_validate({"own_flow": "2012-13-01..2012-12-31"})
    with pytest.raises(ValueError, match="fill takes all flow as evidence"):
        Simulate.model_validate({"fill": True, "own_flow": "all"})
    known = np.zeros((len(tiny_store.gauge_ids), len(tiny_store.times)), dtype=bool)
    with pytest.raises(ConfigError, match=r"nowhere\.csv does not exist"):
        read_measurements(tmp_path / "nowhere.csv", tiny_store, known)


def test_a_run_without_a_head_says_so(fused: Checkpoint, tiny_store: Store) -> None:
    with pytest.raises(ConfigError, match="no evidence head"):
        simulated(fused, tiny_store, own_flow="before")
    assert "riverflow_quantile" not in simulated(fused, tiny_store, since="2002-03-01")


def test_neighbours_may_lie_in_another_unit(informed: Checkpoint, tiny_store: Store) -> None:
    """Flow in m3/s is evidence as runoff depth is; as depth by its numbers alone, it would be off by the areas."""
    given = {"since": "2001-12-01", "until": UNTIL, "own_flow": "before"}
    area = tiny_store.dataset["area"].values[:, None]
    volume = (SERIES_DIMS, (tiny_store.dataset["riverflow"].values * area / 86.4).astype(np.float32), {"units": "m3/s"})
    modalities = dict(tiny_store.config.modalities)
    modalities["riverflow"] = modalities["riverflow"].model_copy(update={"units": "m3/s"})
    in_volume = replace(
        tiny_store,
        dataset=tiny_store.dataset.assign(riverflow=volume),
        config=tiny_store.config.model_copy(update={"modalities": modalities}),
    )
    read = simulated(informed, as_read_by(informed, in_volume), **given)
    assert read["riverflow"].attrs["units"] == "mm/day"
    np.testing.assert_allclose(read["riverflow"], simulated(informed, tiny_store, **given)["riverflow"], rtol=1e-3)


def test_without_any_flow_the_estimate_is_by_weather_alone(
    informed: Checkpoint, tiny_store: Store, changed_store: Change
) -> None:
    given = {"since": "2001-12-01", "until": UNTIL, "weather_only": True}
    nothing = simulated(informed, changed_store(slice(None), slice(None), np.nan), **given)
    assert (nothing["evidence"] == 0).all()
    assert (nothing["neighbours_used"] == 0).all()
    np.testing.assert_allclose(nothing["riverflow"], nothing["riverflow_weather_only"], rtol=1e-4, atol=1e-5)


def test_an_export_is_the_same_and_goes_on(informed: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    given = Simulate.model_validate({"own_flow": "before", "since": "2001-01-01"})
    written = xr.open_zarr(export_simulation(informed, tiny_store, tmp_path / "flow.zarr", given)).load()
    xr.testing.assert_identical(written, simulated_dataset(informed, tiny_store, given))
