"""One model of two countries: series from several sources, attributes of several tables, gaps, climate of one kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tests import factory
from watercli.config import with_overrides
from watercli.errors import ConfigError, DataError
from watercli.store import Store

Build = Callable[..., Store]
DAYS = factory.days()
HALF = len(DAYS) // 2
EAST, WEST = ("1001", "1002"), ("2001", "2002")
CLIMATE = {"wet": {"climate": "p_mean"}, "cold": {"climate": "frac_snow"}, "dry": {"climate": "aridity"}}


def rain(gauge: str) -> np.ndarray:
    return np.random.default_rng(int(gauge)).gamma(0.5, 4.0, len(DAYS)).round(2)


def long_table(gauges: tuple[str, ...], **columns: Callable[[str], np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"id": gauge, "date": DAYS, **{name: of(gauge) for name, of in columns.items()}})
        for gauge in gauges
    )


@pytest.fixture
def countries(data: Path) -> Path:
    """Write two countries: their tables, columns and units differ."""
    east = long_table(EAST, rain=rain, t=lambda gauge: np.full(len(DAYS), 5.0) + np.arange(len(DAYS)) % 3)
    east.to_csv(data / "east.csv", index=False)
    west = long_table(WEST, P=lambda gauge: rain(gauge) / 10, tmax=lambda gauge: rain(gauge) + 4,
                      tmin=lambda gauge: rain(gauge) - 8)  # fmt: skip
    west.to_csv(data / "west.csv", index=False)
    places = {"gauge_lat": [50.1, 50.2], "gauge_lon": [-5.1, -5.2]}
    pd.DataFrame({"gauge_id": EAST, "area": [100.0, 200.0], "slope": [1.0, np.nan], **places}).to_csv(
        data / "east_attributes.csv", index=False
    )
    pd.DataFrame({"gauge_id": WEST, "km2": [300.0, 400.0], "clay": [10.0, 20.0], **places}).to_csv(
        data / "west_attributes.csv", index=False
    )
    return data


def source(file: str, variable: str, **settings: Any) -> dict[str, Any]:
    layout = {"layout": "long", "gauge_id": "id"}
    return {"reader": "table", "variable": variable, "files": file, "table": layout, **settings}


def recipe(**catchments: Any) -> dict[str, Any]:
    """Return the settings of both countries."""
    section = {
        "tables": [{"files": "east_attributes.csv"}, {"files": "west_attributes.csv"}],
        "area": ["area", "km2"],
        "gauge_name": None,
        "on_missing": "keep",
        "attributes": {"area": {"column": ["area", "km2"], "units": "km2"}, "slope": {"column": "slope"}},
        **catchments,
    }
    precipitation = [source("east.csv", "rain"), source("west.csv", "P", units="cm/day")]
    temperature = [source("east.csv", "t"), source("west.csv", "mean", mean_of=["tmax", "tmin"])]
    pet = {"reader": "pet", "variable": "oudin", "inputs": {"tmean": "temperature"}}
    return {
        "recipe__catchments": section,
        "modalities": {
            "precipitation": {"kind": "series", "units": "mm/day", "source": precipitation},
            "temperature": {"kind": "series", "units": "degC", "source": temperature},
            "pet": {"kind": "series", "units": "mm/day", "source": pet},
        },
    }


def of_attribute(store: Store, name: str) -> np.ndarray:
    values: np.ndarray = store.dataset["static"].sel(attribute=name).values
    return values


def test_two_countries(countries: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    store = build(**recipe())
    assert store.gauge_ids == [*EAST, *WEST]
    for gauge in store.gauge_ids:
        own = store.dataset.sel(catchment=gauge)
        np.testing.assert_allclose(own["precipitation"].values, rain(gauge), rtol=1e-5)
        assert np.isfinite(own["pet"].values).all()
    np.testing.assert_allclose(store.dataset["temperature"].sel(catchment="2001").values, rain("2001") - 2, atol=1e-5)
    np.testing.assert_allclose(of_attribute(store, "area"), [100, 200, 300, 400])
    np.testing.assert_allclose(of_attribute(store, "slope"), [1, np.nan, np.nan, np.nan])
    statistics = store.dataset["static_statistics"].sel(attribute="slope")
    assert float(statistics.sel(statistic="count")) == 1
    assert float(statistics.sel(statistic="missing")) == 0.75
    assert store.has_attribute_gaps
    assert "Attributes are missing for some of 4 gauges: slope of 3" in logged.text
    assert "temperature: the mean of tmax, tmin (modalities.temperature.source.1.mean_of)" in logged.text


def test_attributes_of_no_table(countries: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """Kept, it is missing for all, and a misspelling is seen; its column was asked for otherwise."""
    attributes = {"area": {"column": "area"}, "clays": {"column": "clays"}, "c": {"column": "klay", "one_hot": 1}}
    store = build(**recipe(attributes=attributes))
    assert np.isnan(of_attribute(store, "clays")).all()
    assert "Attribute 'clays' is taken as missing: No column 'clays' in east_attributes.csv, west_attr" in logged.text
    assert "did you mean 'clay'" in logged.text
    assert float(store.dataset["static_statistics"].sel(attribute="clays", statistic="std")) == 0
    with pytest.raises(DataError, match="No column 'klay' in"):
        build(**recipe(attributes=attributes, on_missing="error"))


def test_a_place_is_needed_all_the_same(countries: Path, build: Build) -> None:
    factory.edit(countries / "west_attributes.csv", "2002,400.0,20.0,50.2", "2002,400.0,20.0,")
    with pytest.raises(DataError, match=r"1 gauge \(2002\) has no value of column 'gauge_lat'"):
        build(**recipe())


def test_what_the_first_source_lacks(countries: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """The second source fills days and gauges; where both have a value the first holds, and differences are told."""
    table = pd.read_csv(countries / "east.csv", dtype={"id": str})
    later = table.assign(rain=table["rain"] + 1)
    early = table[pd.to_datetime(table["date"]) < DAYS[HALF]]
    early[early["id"] == "1001"].to_csv(countries / "first.csv", index=False)
    later.to_csv(countries / "second.csv", index=False)
    settings = recipe(tables=[{"files": "east_attributes.csv"}])
    settings["modalities"] = {
        "precipitation": {
            "kind": "series",
            "units": "mm/day",
            "source": [source("first.csv", "rain"), source("second.csv", "rain")],
        }
    }
    store = build(**settings)
    first, second = (store.dataset["precipitation"].sel(catchment=gauge).values for gauge in EAST)
    np.testing.assert_allclose(first[:HALF], rain("1001")[:HALF], rtol=1e-5)
    np.testing.assert_allclose(first[HALF:], rain("1001")[HALF:] + 1, rtol=1e-5)
    np.testing.assert_allclose(second, rain("1002") + 1, rtol=1e-5)
    assert f"source 2 has other values than those before it on {HALF} days of 1 gauge (1001)" in logged.text


def test_one_id_of_two_catchments(countries: Path, build: Build) -> None:
    """It is refused where tables tell, and a prefix tells the two apart."""
    for file in ("west.csv", "west_attributes.csv"):
        text = (countries / file).read_text()
        (countries / file).write_text(text.replace("2001,", "1001,").replace("50.1", "40.1"))
    with pytest.raises(DataError, match=r"Gauge 1001 is at 50.1 degrees in east_.* two catchments of one id"):
        build(**recipe())
    settings = recipe(
        tables=[{"files": "east_attributes.csv"}, {"files": "west_attributes.csv", "gauge_id_new_prefix": "w"}]
    )
    for name in ("precipitation", "temperature"):
        settings["modalities"][name]["source"][1]["gauge_id_new_prefix"] = "w"
    store = build(**settings)
    assert store.gauge_ids == [*EAST, "w1001", "w2002"]
    np.testing.assert_allclose(store.dataset["precipitation"].sel(catchment="w1001").values, rain("2001"), rtol=1e-5)


def test_gauges_that_are_named(countries: Path, build: Build) -> None:
    """Each may be in any of the sources; one that is in none is refused."""
    assert build(**recipe(gauges=["1002", "2001"])).gauge_ids == ["1002", "2001"]
    assert build(**recipe(gauges=["2001", "2002"])).gauge_ids == ["2001", "2002"]
    with pytest.raises(ConfigError, match=r"names 3001, of which no source of 'precipitation' has a record"):
        build(**recipe(gauges=["1001", "3001"]))


def test_an_optional_series_of_some_gauges(countries: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """Gauges that are named need no record of it; a store may have no value of it at all."""
    settings = recipe(gauges=["1001", "2001"])
    sun = {"kind": "series", "units": "W/m2", "source": source("west.csv", "tmax")}
    settings["modalities"]["sun"] = sun
    with pytest.raises(ConfigError, match="names 1001, of which 'sun' has no record"):
        build(**settings)
    settings["modalities"]["sun"] = {**sun, "dropout": 0.5}
    values = build(**settings).dataset["sun"]
    assert np.isnan(values.sel(catchment="1001")).all()
    np.testing.assert_allclose(values.sel(catchment="2001"), rain("2001") + 4, rtol=1e-5)
    settings["recipe__catchments"]["gauges"] = ["1001", "1002"]
    assert np.isnan(build(**settings).dataset["sun"]).all()
    assert "sun has no value in the training period: nothing can be trained on it" in logged.text


def climate_of(countries: Path, build: Build, monkeypatch: pytest.MonkeyPatch, **catchments: Any) -> Store:
    """Prepare with climate indices of a training period of half a year."""
    monkeypatch.setattr("watercli.hydrology.climate_indices.LEAST_DAYS", 100)
    return build(**recipe(attributes=CLIMATE, **catchments))


def test_climate_of_the_training_period(
    countries: Path, build: Build, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
) -> None:
    """What comes after training changes nothing, and every country has the same definition."""
    store = climate_of(countries, build, monkeypatch)
    train = store.period("train")
    series = {
        name: store.dataset[name].values[:, train].astype(float) for name in ("precipitation", "pet", "temperature")
    }
    np.testing.assert_allclose(of_attribute(store, "wet"), series["precipitation"].mean(1), rtol=1e-5)
    np.testing.assert_allclose(
        of_attribute(store, "dry"), series["pet"].mean(1) / series["precipitation"].mean(1), rtol=1e-5
    )
    snow = np.where(series["temperature"] <= 0, series["precipitation"], 0).sum(1) / series["precipitation"].sum(1)
    np.testing.assert_allclose(of_attribute(store, "cold"), snow, rtol=1e-5)
    units = dict(zip(store.attribute_names, store.dataset["attribute_units"].values, strict=True))
    assert units == {"wet": "mm/day", "cold": "1", "dry": "1"}
    assert "of their own pet, precipitation, temperature from 2001-01-01 to 2001-06-30" in logged.text


def test_too_little_weather(countries: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the recipe says of gauges without an attribute; half a year is no climate."""
    with pytest.raises(DataError, match=r"4 gauges .* have too little weather in the training period .* 'cold'; move"):
        build(**recipe(attributes=CLIMATE, on_missing="error"))
    assert np.isnan(of_attribute(build(**recipe(attributes=CLIMATE)), "wet")).all()
    table = pd.read_csv(countries / "east.csv", dtype={"id": str})
    table.loc[table["id"] == "1001", "rain"] = np.nan
    table.to_csv(countries / "east.csv", index=False)
    store = climate_of(countries, build, monkeypatch, on_missing="drop")
    assert store.gauge_ids == ["1002", *WEST]


def test_settings_that_do_not_go_together(countries: Path, build: Build) -> None:
    settings = recipe(attributes={"wet": {"climate": "p_mean"}})
    del settings["modalities"]["precipitation"]
    with pytest.raises(ConfigError, match=r"attributes.wet needs a series of precipitation; add that modality, or say"):
        build(**settings)
    for attribute, message in (
        ({"climate": "p_mean", "column": "p"}, "give either column or climate"),
        ({"transform": "log"}, "give either column or climate"),
        ({"climate": "p_mean", "units": "m"}, "p_mean is in mm/day; leave units out"),
        ({"climate": "p_meen"}, "no such choice.*p_mean"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(**recipe(attributes={"wet": attribute}))
    grid = {"kind": "grid", "source": [source("a", "b"), source("c", "d")]}
    with pytest.raises(ConfigError, match="a list of sources is for a series; a grid has one"):
        factory.config(modalities__precip=grid)
    good, bad = source("a", "b"), {**source("a", "b"), "reader": "x"}
    for sources, where in (([good, bad], "source.1.reader"), (bad, "source.reader")):
        text = yaml.safe_dump(sources, default_flow_style=True)
        with pytest.raises(ConfigError, match=rf"'modalities.evap.{where}' .* no such reader"):
            with_overrides(factory.config(), [f"modalities.evap.source={text}"])
