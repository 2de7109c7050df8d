"""A store that has the highest and the lowest temperature of the day alone, as a model of mean temperature reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import watercli as wc
from watercli.config import parse
from watercli.errors import ConfigError
from watercli.preparation.prepare import prepare
from watercli.run.view import as_read_by
from watercli.store import Store

RECIPE = """
name: two-rivers
recipe:
  period: {start: 2000-01-01, end: 2001-12-31}
  splits:
    train: {start: 2000-01-01, end: 2001-06-30}
    validation: {start: 2001-07-01, end: 2001-09-30}
    test: {start: 2001-10-01, end: 2001-12-31}
  grid: {crs: EPSG:4326}
  catchments:
    tables: [{files: attributes.csv}]
    area: area
    attributes: {area: {column: area, units: km2}}
window_days: 30
target: flow
evaluate: {target: flow}
"""


def store_of(folder: Path, **units: str) -> Store:
    """Return a store of rain, flow and the temperatures in ``units``, which are all stored in degrees C."""
    days = pd.date_range("2000-01-01", "2001-12-31")
    rng = np.random.default_rng(0)
    rows = []
    for gauge in ("a1", "b2"):
        warm = 10 + 8 * np.sin(2 * np.pi * np.arange(len(days)) / 365) + rng.normal(0, 2, len(days))
        rain = rng.exponential(3, len(days))
        columns = {"gauge_id": gauge, "date": days, "prcp": rain, "flow": rain / 2, "tmax": warm + 5, "tmin": warm - 3}
        rows.append(pd.DataFrame(columns | {"hottest": warm + 5}))
    table = pd.concat(rows)
    table.loc[table.index[:3], "tmin"] = np.nan
    table.to_csv(folder / "series.csv", index=False)
    places = {"gauge_id": ["a1", "b2"], "area": [10.0, 20.0], "gauge_lat": [47.0, 47.5], "gauge_lon": [8.0, 8.5]}
    pd.DataFrame(places).to_csv(folder / "attributes.csv", index=False)
    source = (
        "source: {{reader: table, variable: {}, files: series.csv, units: {}, table: {{layout: long, date: date}}}}"
    )
    modalities = {"prcp": ("mm/day", "mm/day"), "flow": ("mm/day", "mm/day")}
    modalities |= {name: (unit, "degC") for name, unit in units.items()}
    text = RECIPE + "modalities:\n"
    for name, (unit, given) in modalities.items():
        text += f"  {name}:\n    kind: series\n    units: {unit}\n    {source.format(name, given)}\n"
    return prepare(parse(text, origin="test"), folder / "two.zarr", data=folder)


def test_it_is_the_mean_of_both(tmp_path: Path) -> None:
    store = store_of(tmp_path, tmax="K", tmin="degC")
    model = wc.load_model("rivers").checkpoint
    view = as_read_by(model, store)
    highest, lowest = store.dataset["tmax"].values, store.dataset["tmin"].values
    mean = view.dataset["temperature"]
    assert mean.attrs["units"] == "degC"
    np.testing.assert_allclose(mean.values, (highest - 273.15 + lowest) / 2, atol=1e-4)
    assert np.isnan(mean.values[0, :3]).all()
    training = mean.values[:, view.period("train")]
    average, spread = view.statistics("temperature", "identity")
    assert (average, spread) == pytest.approx((np.nanmean(training), np.nanstd(training)), rel=1e-4)
    climate = view.dataset["static"].sel(attribute="mean_temperature").values
    np.testing.assert_allclose(climate, np.nanmean(training, axis=1), rtol=1e-4)
    flow = wc.load_model("rivers").simulate(store, since="2001-12-01")["riverflow"]
    assert np.isfinite(flow.values).all()
    assert view.fingerprint != store.fingerprint


def test_one_end_alone_or_two_of_a_kind_tell_no_mean(tmp_path: Path) -> None:
    model = wc.load_model("rivers")
    for number, names in enumerate((("tmax",), ("tmax", "tmin", "hottest"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        store = store_of(folder, **dict.fromkeys(names, "degC"))
        if "hottest" in names:  # a second highest temperature, by its standard name
            store.dataset["hottest"].attrs["standard_name"] = "tmax"
        with pytest.raises(ConfigError, match=r"modality 'temperature' \(series, degC\) is absent"):
            model.simulate(store, since="2001-12-01")
