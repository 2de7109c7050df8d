"""The demo domain: the same for a seed, and a plausible climate."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from watercli.config import Config, DemoDomain, Period, load
from watercli.errors import ConfigError
from watercli.preparation.prepare import prepare
from watercli.preparation.readers import demo as module
from watercli.store import Store

SMALL = DemoDomain(cells=(24, 22), catchments=5, missing_fraction=0.05)


def small(seed: int) -> module.Domain:
    module._generate.cache_clear()
    return module._generate(SMALL, Period(start="2001-01-01", end="2001-12-31"), seed)  # type: ignore[arg-type]


def test_a_seed_decides_everything() -> None:
    one, same, other = small(1), small(1), small(2)
    xr.testing.assert_identical(one.data, same.data)
    assert one.attributes.equals(same.attributes)
    assert not np.array_equal(one.data["precip"], other.data["precip"], equal_nan=True)


def test_shape_of_the_domain(demo: Store) -> None:
    assert demo.grid_shape == (60, 50)
    assert demo.dataset.attrs["padding"] == [6, 8]
    assert 12 <= len(demo.land_patches) <= 24
    assert len(demo.gauge_ids) == 24
    assert len(demo.attribute_names) == 11
    assert demo.gauge_ids[0] == "01001"
    np.testing.assert_allclose(demo.patch_weight.sum(axis=1), 1, rtol=1e-6)
    assert 0.2 < float((demo.dataset["land_fraction"] == 0).mean()) < 0.7  # there is a sea


def on_land(store: Store, name: str) -> np.ndarray:
    land = store.dataset["land_fraction"].values > 0
    return store.dataset[name].values[:, land]


def test_rain_is_intermittent_seasonal_and_correlated(demo: Store) -> None:
    rain = on_land(demo, "precip")
    assert rain.min() == 0
    assert 0.3 < (rain > 0.2).mean() < 0.6
    assert 600 < rain.mean() * 365 < 1600
    month = demo.times.month
    winter, summer = (rain[np.isin(month, months)].mean() for months in ((11, 12, 1), (5, 6, 7)))
    assert 1.1 < winter / summer < 2.5
    daily = rain.mean(axis=1)
    assert 0.15 < np.corrcoef(daily[1:], daily[:-1])[0, 1] < 0.7
    field = demo.dataset["precip"].values[:, 20:40, 15:30]
    field = field[:, :, ~np.isnan(field).any(axis=(0, 1))]
    near, far = (np.corrcoef(field[:, 0].ravel(), field[:, lag].ravel())[0, 1] for lag in (1, 18))
    assert near > 0.9
    assert far < near - 0.2


def test_temperature_soil_and_evaporation_follow_the_year(demo: Store) -> None:
    month = demo.times.month
    temperature = on_land(demo, "temp").mean(axis=1)
    assert 10 < temperature[month == 7].mean() - temperature[month == 1].mean() < 14
    soil = on_land(demo, "soil")
    assert np.nanmin(soil) >= 0
    assert np.nanmax(soil) <= 1
    assert np.nanmean(soil[month == 2]) > np.nanmean(soil[month == 8]) + 0.1
    evaporation = demo.dataset["evap"].values
    assert np.nanmin(evaporation) >= 0
    assert 400 < np.nanmean(evaporation) * 365 < 650


def test_flow_is_positive_and_closes_the_balance(demo: Store) -> None:
    flow = demo.dataset["riverflow"].values
    assert np.nanmin(flow) > 0
    rain = on_land(demo, "precip").mean()
    assert 0.3 < np.nanmean(flow) / rain < 0.75
    variation = np.nanstd(flow, axis=1) / np.nanmean(flow, axis=1)
    assert 0.5 < np.median(variation) < 2.5
    baseflow = demo.dataset["static"].sel(attribute="bfihost").values
    assert np.corrcoef(baseflow, variation)[0, 1] < -0.3  # permeable catchments flow more evenly


def test_records_have_gaps(demo: Store) -> None:
    for name in ("evap", "riverflow"):
        missing = np.isnan(demo.dataset[name].values).mean(axis=1)
        assert (missing >= 0.03).all()
        assert (missing < 0.12).all()


def test_demo_needs_no_data_and_names_its_variables(tmp_path: object) -> None:
    size = ["recipe.demo.cells=[24, 22]", "recipe.demo.catchments=5"]
    config = load("demo", [*size, "modalities.evap.source.variable=evapp"])
    with pytest.raises(ConfigError, match=r"The demo domain has no variable 'evapp'; did you mean 'evap'"):
        prepare(config, tmp_path / "x.zarr", data=None)  # type: ignore[operator]
    crowded: Config = load("demo", ["recipe.demo.cells=[24, 22]", "recipe.demo.catchments=300"])
    with pytest.raises(ConfigError, match=r"Only \d+ of 300 catchments fit"):
        prepare(crowded, tmp_path / "x.zarr", data=None)  # type: ignore[operator]
