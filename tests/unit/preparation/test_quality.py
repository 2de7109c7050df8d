"""What looks wrong is found, counted and told; what is right is not; nothing is altered unless asked."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import factory
from watercli.errors import ConfigError, DataError, RunError
from watercli.hydrology.quantities import quantity_of
from watercli.preparation.prepare import prepare
from watercli.preparation.quality import checks
from watercli.preparation.quality.records import Finding, Quality
from watercli.store import Store

Build = Callable[..., Store]
TEMPERATURE = {
    "kind": "series",
    "units": "degC",
    "source": {"reader": "camels_gb", "variable": "temperature", "files": "timeseries/*.csv"},
}


def write(data: Path, gauge: str, column: str, change: Callable[[np.ndarray], None], seed: int = 0) -> None:
    """Write a gauge's record with one column changed in place."""
    frame = factory.flows(factory.days(), seed)
    values = frame[column].to_numpy(dtype=float, copy=True)
    change(values)
    frame[column] = values
    factory.write_gauge(data, gauge, frame)


def findings(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "store.zarr.quality.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def set_days(days: slice, value: float) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[days] = value

    return change


class TestChecks:
    """The rules alone, on arrays."""

    def test_flat(self) -> None:
        values = np.array([[1.0, 2, 2, 2, np.nan, 2, 2, 3, 3, 3, 3], [0, 0, 0, 0, 0, 0, 0, 5, 5, np.nan, np.nan]])
        found = checks.flat(values, 3)
        np.testing.assert_array_equal(np.flatnonzero(found[0]), [1, 2, 3, 7, 8, 9, 10])
        assert not found[1].any()  # a river may be dry for long, and what is missing is not flat

    def test_jump(self) -> None:
        values = np.array([[10.0, 11, -25, 12, 12, 40, 41], [np.nan, 10, np.nan, 60, 61, 62, 63]])
        found = checks.jump(values, 20)
        np.testing.assert_array_equal(np.flatnonzero(found[0]), [2, 5])  # a spike once, and a step
        assert not found[1].any()

    def test_outlier(self) -> None:
        dates = pd.date_range("2001-01-01", "2008-12-31")
        season = 2 + np.cos(2 * np.pi * dates.dayofyear.to_numpy() / 365.25)
        flow = (season * np.random.default_rng(0).lognormal(0, 0.2, len(dates)))[None]
        assert not checks.outlier(flow, dates).any()
        flow[0, 1000] = 300
        flow[0, 50] = np.nan
        np.testing.assert_array_equal(np.flatnonzero(checks.outlier(flow, dates)[0]), [1000])
        assert not checks.outlier(flow[:, :1200], dates[:1200]).any()  # too few years to tell

    @pytest.mark.parametrize(
        ("name", "units", "expected"),
        [
            ("precip", "mm/day", "precipitation"),
            ("tasmin", "K", "air_temperature"),
            ("potential_evaporation_sum", "mm/day", "evaporation"),
            ("streamflow", "mm/day", "river_flow"),
            ("soil_temperature", "degC", "air_temperature"),
            ("volumetric_soil_water", "m3/m3", "soil_moisture"),
            ("streamflow", "m3/s", "river_flow"),
            ("snow", "mm/day", None),
        ],
    )
    def test_quantity_by_name_and_units(self, name: str, units: str, expected: str | None) -> None:
        found = quantity_of(name, factory.config().modalities["evap"].model_copy(update={"units": units, "source": ()}))
        assert (found.name if found else None) == expected
        if name == "tasmin":
            assert found is not None
            assert found.possible_in("K") == pytest.approx((183.95, 329.85))


def test_dates() -> None:
    quality = Quality(factory.config())
    days = pd.date_range("2001-01-01", "2001-01-10")
    quality.dates("evap", days.delete([3, 4, 8]))
    assert quality.findings == [
        Finding("evap", "all", "dates", 3, "2001-01-04", "2001-01-09", "3 dates are in no file")
    ]
    with pytest.raises(DataError, match=r"^1 dates of 'evap' come twice, first 2001-01-02; keep one"):
        quality.dates("evap", days.insert(2, days[1]))


def test_sound_data_pass(build: Build, tmp_path: Path) -> None:
    store = build()
    assert findings(tmp_path) == []
    assert "Nothing was found" in (tmp_path / "store.zarr.quality.md").read_text(encoding="utf-8")
    attribute = json.loads(store.dataset.attrs["quality"])
    assert (attribute["findings"], attribute["set_to_missing"]) == ({}, {})
    assert attribute["missing"] == {
        "evap": {"2001": 0},
        "riverflow": {"2001": round(15 / 365, 6)},
        "precip": {"2001": 0},
    }


@pytest.mark.parametrize(
    ("column", "days", "value", "expected"),
    [
        ("discharge_spec", slice(100, 112), 0.7, ("riverflow", "flat", "12", "2001-04-11", "2001-04-22")),
        ("discharge_spec", slice(100, 101), -0.5, ("riverflow", "range", "1", "2001-04-11", "2001-04-11")),
        ("temperature", slice(100, 101), -38.0, ("temperature", "jump", "1", "2001-04-11", "2001-04-11")),
        ("temperature", slice(100, 101), 70.0, ("temperature", "range", "1", "2001-04-11", "2001-04-11")),
        ("temperature", slice(None), 281.0, ("temperature", "units", "365", "2001-01-01", "2001-12-31")),
        ("pet", slice(None), 0.002, ("evap", "units", "365", "2001-01-01", "2001-12-31")),
    ],
)
def test_what_is_wrong_in_one_catchment(
    data: Path, build: Build, tmp_path: Path, column: str, days: slice, value: float, expected: tuple[str, ...]
) -> None:
    write(data, "02002", column, set_days(days, value), seed=1)
    store = build(modalities__temperature=TEMPERATURE)
    found = [one for one in findings(tmp_path) if one["check"] == expected[1]]
    keys = ("variable", "check", "days", "first", "last")
    assert [tuple(one[key] for key in keys) for one in found] == [expected]
    assert found[0]["where"] == "02002"
    counts = json.loads(store.dataset.attrs["quality"])["findings"]
    assert counts[expected[0]][expected[1]] == {"places": 1, "days": int(expected[2])}
    kept = store.dataset[expected[0]].sel(catchment="02002").values[days]
    np.testing.assert_allclose(kept[~np.isnan(kept)], value, rtol=1e-6)  # nothing is altered


def test_more_flow_than_rain(data: Path, build: Build, tmp_path: Path) -> None:
    period = {"start": "2001-01-01", "end": "2002-06-30"}
    times = factory.days(**period)
    for seed, gauge in enumerate(factory.GAUGES):
        frame = factory.flows(times, seed)
        frame["discharge_spec"] *= 4 if gauge == "10003" else 1
        for old in (data / "timeseries").glob(f"*_{gauge}_*"):
            old.unlink()
        factory.write_gauge(data, gauge, frame)
    factory.write_grid(data / "rainfall" / "rainfall.nc", times, factory.field(times), packed=True)
    build(recipe__period=period)
    found = [one for one in findings(tmp_path) if one["check"] == "runoff"]
    assert [one["where"] for one in found] == ["10003"]
    share = float(found[0]["detail"].split()[0])
    assert 1.7 < share < 2.3  # four times a mean of 1 mm/day, over rain of 2 mm/day
    build(recipe__period=period, recipe__quality__ignore=["runoff", "spike"])  # drawn at random, flow leaps
    assert findings(tmp_path) == []

    path = next((data / "timeseries").glob("*_10003_*"))
    frame = pd.read_csv(path, index_col="date")
    frame["discharge_vol"] *= 12
    frame.to_csv(path, na_rep="NaN")
    volume = {"modalities__riverflow__units": "m3/s", "modalities__riverflow__source__variable": "discharge_vol"}
    build(recipe__period=period, **volume)
    found = [one for one in findings(tmp_path) if one["check"] == "runoff"]
    assert [one["where"] for one in found] == ["10003"]
    # A mean of 24 m3/s from 450 km2, over rain of 2 mm/day.
    assert float(found[0]["detail"].split()[0]) == pytest.approx(24 * 86.4 / 450 / 2, rel=0.15)


def test_what_is_wrong_in_a_grid(data: Path, build: Build, tmp_path: Path) -> None:
    times = factory.days()
    values = factory.field(times)
    values[50, 3, 3:5] = -4.0
    values[81] = values[80]
    values[90:93] = np.where(np.isnan(values[0]), np.nan, 0.0)  # dry days are alike, and may be
    kept = np.delete(np.arange(len(times)), [200, 201])
    factory.write_grid(data / "rainfall" / "rainfall.nc", times[kept], values[kept])
    store = build()
    found = {(one["check"], one["days"], one["first"], one["detail"]) for one in findings(tmp_path)}
    assert found == {
        ("dates", "2", "2001-07-20", "2 dates are in no file"),
        ("range", "1", "2001-02-20", "2 values in cells"),
        ("repeat", "1", "2001-03-23", "the whole field equals that of the day before"),
    }
    assert float(store.dataset["precip"].min()) == -4
    store = build(recipe__quality__to_missing=["range"])
    assert float(store.dataset["precip"].min()) == 0
    assert json.loads(store.dataset.attrs["quality"])["set_to_missing"] == {"precip": {"range": 2}}
    assert float(store.dataset["statistics"].sel(variable="precip", transform="identity", statistic="min")) == 0


def test_rain_in_metres_that_is_said_to_be_in_millimetres(data: Path, build: Build, tmp_path: Path) -> None:
    times = factory.days()
    factory.write_grid(data / "rainfall" / "rainfall.nc", times, factory.field(times) / 1000)
    build()
    assert [(one["variable"], one["where"], one["check"]) for one in findings(tmp_path)] == [
        ("precip", "grid", "units")
    ]


def test_only_what_the_recipe_says_is_set_to_missing(data: Path, build: Build) -> None:
    write(data, "02002", "discharge_spec", set_days(slice(100, 112), 0.7), seed=1)
    before = build()
    one = before.dataset["riverflow"].load()
    again = build(recipe__quality__flat_days=11)
    assert again.fingerprint == before.fingerprint, "looking changes no data"
    after = build(recipe__quality__to_missing=["flat"])
    assert after.fingerprint != before.fingerprint
    assert json.loads(after.dataset.attrs["quality"])["set_to_missing"] == {"riverflow": {"flat": 12}}
    other = after.dataset["riverflow"].load()
    changed = ~np.isclose(one, other, equal_nan=True)
    assert changed.sum() == 12
    assert np.isnan(other.values[changed]).all()


def test_strict_makes_no_store_and_keeps_the_report(data: Path, tmp_path: Path) -> None:
    write(data, "02002", "discharge_spec", set_days(slice(100, 112), 0.7), seed=1)
    out = tmp_path / "store.zarr"
    with pytest.raises(
        RunError, match=r"^--strict: 1 findings on quality \(.*store.zarr.quality.md\); mend the sources"
    ):
        prepare(factory.config(), out, data=data, strict=True)
    assert not out.exists()
    assert len(findings(tmp_path)) == 1
    prepare(factory.config(recipe__quality__ignore=["flat"]), out, data=data, strict=True)
    assert findings(tmp_path) == []


def test_settings_that_do_not_fit(build: Build) -> None:
    changes: dict[str, Any] = {"recipe__quality__quantities": {"rain": "precipitation"}}
    with pytest.raises(ConfigError, match=r"recipe.quality.quantities: no modality 'rain'"):
        build(**changes)
    with pytest.raises(ConfigError, match=r"'evap' is in mm/day, which cannot be air_temperature; mend"):
        build(recipe__quality__quantities={"evap": "air_temperature"})
    with pytest.raises(ConfigError, match=r"recipe.quality.to_missing"):
        build(recipe__quality__to_missing=["runoff"])
