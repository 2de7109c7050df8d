"""Forecast products: how their files are written, and what of them is in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from tests import factory
from watercli.config import load
from watercli.errors import DataError
from watercli.preparation.prepare import append, prepare
from watercli.preparation.readers.forecast import by_day
from watercli.preparation.readers.forecast_grid import Catchments, areal_means
from watercli.preparation.readers.sources import Sources
from watercli.store import Store

Build = Callable[..., Store]
LEADS = 4
MULTIMET = {
    "variable": "hres_total_evaporation",
    "files": "forecasts/*",
    "gauge_id": "basin",
    "init_time": "date",
    "gauge_id_prefix": "camelsgb_",
}


def values(issued: pd.DatetimeIndex, leads: int = LEADS) -> np.ndarray:
    """Return forecasts ``[C, I, L]`` that tell gauge, day of issue and lead time apart."""
    gauge, _, lead = np.ogrid[: len(factory.GAUGES), : len(issued), :leads]
    return np.asarray(gauge + issued.dayofyear.to_numpy()[None, :, None] / 1000 + lead / 10, dtype=np.float64)


def multimet(issued: pd.DatetimeIndex, leads: int = LEADS) -> xr.Dataset:
    """Return forecasts as Caravan MultiMet has them: by basin, date and lead time, which is a time difference.

    They are in metres, the last basin is missing, and so is one lead time of the first forecast.
    """
    evaporation = values(issued, leads)[:3] / 1000
    evaporation[0, 0, 1] = np.nan
    return xr.Dataset(
        {MULTIMET["variable"]: (("basin", "date", "lead_time"), evaporation, {"units": "m"})},
        {
            "basin": [f"camelsgb_{gauge}" for gauge in factory.GAUGES[:3]],
            "date": issued,
            "lead_time": pd.to_timedelta(np.arange(leads), unit="D"),
        },
    )


def give(data: Path, dataset: xr.Dataset, name: str = "hres.nc") -> Path:
    (data / "forecasts").mkdir(exist_ok=True)
    path = data / "forecasts" / name
    dataset.to_zarr(path) if name.endswith(".zarr") else dataset.to_netcdf(path)
    return path


@pytest.mark.parametrize("name", ["hres.nc", "hres.zarr"])
def test_a_product_is_in_the_store_in_the_units_of_its_modality(
    data: Path, build: Build, name: str, logged: pytest.LogCaptureFixture
) -> None:
    issued = factory.days("2001-09-28", "2001-10-20")
    give(data, multimet(issued), name)
    store = build(modalities__evap__forecast=MULTIMET)
    forecast = Store.open(store.path).forecasts["evap"]
    assert forecast.dims == ("catchment", "init_time", "lead_time")
    assert forecast.attrs["units"] == "mm/day"
    assert forecast["lead_time"].values.tolist() == [1, 2, 3]  # lead 0 is the day of issue itself
    assert (forecast["init_time"].values == issued.values).all()
    expected = values(issued)[..., 1:]
    expected[0, 0, 0], expected[3] = np.nan, np.nan
    np.testing.assert_allclose(forecast.values, expected, rtol=1e-5)
    assert "evap: 1 of 4 catchments have no forecast (20004)" in logged.text
    assert name in store.dataset.attrs["sources"]


def test_lead_times_may_label_the_end_of_their_day(data: Path, build: Build) -> None:
    issued = factory.days("2001-10-01", "2001-10-05")
    hours = multimet(issued).assign_coords(lead_time=("lead_time", 24 * np.arange(LEADS), {"units": "hours"}))
    give(data, hours)
    forecast = build(modalities__evap__forecast=MULTIMET | {"label": "end"}).forecasts["evap"]
    assert forecast["lead_time"].values.tolist() == [1, 2]
    np.testing.assert_allclose(forecast.values[1], values(issued)[1][:, 2:], rtol=1e-5)


def test_a_table_is_a_product_too(data: Path, build: Build) -> None:
    issued = factory.days("2001-10-01", "2001-10-05")
    table = multimet(issued).to_dataframe().reset_index()
    table["lead_time"] = table["lead_time"].dt.days
    table["basin"] = table["basin"].str.removeprefix("camelsgb_")
    (data / "forecasts").mkdir()
    table.to_csv(data / "forecasts" / "hres.csv", index=False)
    forecast = build(modalities__evap__forecast=MULTIMET | {"units": "m"}).forecasts["evap"]
    np.testing.assert_allclose(forecast.values[2], values(issued)[2][:, 1:], rtol=1e-5)
    assert np.isnan(forecast.values[0, 0, 0])


ECMWF = {"variable": "e", "files": "forecasts/*", "init_time": "time", "lead_time": "step", "label": "end"}


def gridded(issued: pd.DatetimeIndex) -> xr.Dataset:
    """Return forecasts as ECMWF's: from north to south, eastward from Greenwich, by steps that are time differences.

    At a gauge they are its latitude less 50, plus 5 for each step; far from all gauges is a sea without values.
    """
    longitude, latitude = np.arange(3600) / 10, 60 - np.arange(120) / 10
    steps = np.arange(1, LEADS + 1)
    field = np.zeros((len(issued), LEADS, 1, len(longitude))) + latitude[:, None] - 50 + 5 * steps[:, None, None]
    field[..., (longitude > 5) & (longitude < 350)] = np.nan
    return xr.Dataset(
        {"e": (("time", "step", "latitude", "longitude"), field.astype(np.float32), {"units": "mm"})},
        {
            "time": issued,
            "step": pd.to_timedelta(24 * steps, unit="h"),
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
            "valid_time": (("time", "step"), issued.to_numpy()[:, None] + pd.to_timedelta(steps, unit="D").to_numpy()),
        },
    )


def test_a_gridded_product_is_averaged_over_catchments(data: Path, build: Build) -> None:
    issued = factory.days("2001-10-01", "2001-10-02")
    give(data, gridded(issued))
    store = build(modalities__evap__forecast=ECMWF)
    forecast = store.forecasts["evap"]
    assert forecast["lead_time"].values.tolist() == [1, 2, 3]  # the first step ends with the day of issue
    expected = store.dataset["latitude"].values[:, None, None] - 50 + np.array([[[10, 15, 20]] * len(issued)])
    np.testing.assert_allclose(forecast.values, expected, atol=0.03)


@pytest.mark.parametrize("outlined", [False, True])
def test_a_gridded_product_across_180_degrees(outlined: bool) -> None:
    """Fields that are as many as the degrees east of the first gauge; the third lies on both sides."""
    east = np.arange(176.05, 184, 0.1)
    longitude = (east + 180) % 360 - 180
    field = xr.DataArray(
        np.broadcast_to(east - 178, (2, 30, len(east))),
        {"init_time": [0, 1], "y": 50.05 + 0.1 * np.arange(30), "x": longitude},
        ("init_time", "y", "x"),
        name="e",
    )
    gauges = pd.DataFrame({"gauge_y": 51.5, "gauge_x": [178.0, -178.0, 180.0], "area": 2000.0}, index=list("abc"))
    recipe = load("demo").recipe
    assert recipe is not None
    catchments = Catchments(gauges, recipe, Sources(None))
    if outlined:
        west, *parts = (shapely.box(x, 51, x + 0.5, 52) for x in (177.75, -178.25, 179.5, -180.0))
        outlines = {"a": west, "b": parts[0], "c": shapely.union_all(parts[1:])}
        vars(catchments)["outlines"] = outlines
    means = areal_means(field, ("y", "x"), catchments, "gauge")
    assert means["gauge"].values.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(means, [[0, 4, 2]] * 2, atol=0.02)


def test_amounts_since_the_issue_become_those_of_days(data: Path, build: Build) -> None:
    """By steps of twelve hours, packed into 16 bits."""
    daily = gridded(factory.days("2001-10-01", "2001-10-02"))
    halves = pd.to_timedelta(12 * np.arange(1, 2 * LEADS + 1), unit="h")
    since_issue = daily.drop_vars("valid_time").cumsum("step").assign_coords(step=daily["step"]).reindex(step=halves)
    (data / "forecasts").mkdir()
    packed = {"dtype": "int16", "scale_factor": 0.002, "add_offset": 60.0, "_FillValue": -32768}
    since_issue["e"].attrs["units"] = "mm"
    since_issue.to_netcdf(data / "forecasts" / "since_issue.nc", encoding={"e": packed})
    store = build(modalities__evap__forecast=ECMWF | {"accumulated": True})
    forecast = store.forecasts["evap"]
    assert forecast["lead_time"].values.tolist() == [1, 2, 3]
    expected = store.dataset["latitude"].values[:, None, None] - 50 + np.array([[[10, 15, 20]] * 2])
    np.testing.assert_allclose(forecast.values, expected, atol=0.03)


def test_rounding_of_packed_amounts_is_no_amount() -> None:
    values, lead_time = [0.0, 100.0, 99.999, 99.9995, 101.0, 103.0], [0, 1, 2, 3, 4, 6]
    amounts = by_day(xr.DataArray(values, {"lead_time": lead_time}, "lead_time"))
    np.testing.assert_allclose(amounts, [0, 100, 0, 0, 1.0005, np.nan], rtol=1e-6)


def test_catchments_beyond_the_grid_have_no_forecast(
    data: Path, build: Build, logged: pytest.LogCaptureFixture
) -> None:
    """The southernmost lies south of the grid."""
    give(data, gridded(factory.days("2001-10-01", "2001-10-02")).sel(latitude=slice(None, 52.85)))
    forecast = build(modalities__evap__forecast=ECMWF).forecasts["evap"]
    assert np.isnan(forecast.values).all((1, 2)).tolist() == [True, False, False, False]
    assert "evap: 1 of 4 catchments have no forecast (01001)" in logged.text


def test_a_file_for_each_day_of_issue_joins_with_the_others(data: Path, build: Build) -> None:
    issued = factory.days("2001-10-01", "2001-10-06")
    for day in issued[:4]:
        give(data, multimet(pd.DatetimeIndex([day])).isel(lead_time=slice(1, None)), f"{day:%Y%m%d}.nc")
    give(data, multimet(issued[4:], 2), "later.nc")
    forecast = build(modalities__evap__forecast=MULTIMET).forecasts["evap"]
    expected = values(issued)[1][:, 1:]
    expected[4:, 1:] = np.nan
    np.testing.assert_allclose(forecast.values[1], expected, rtol=1e-5)


def test_impossible_values_are_missing_and_counted(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    product = multimet(factory.days("2001-10-01", "2001-10-05"))
    product[MULTIMET["variable"]][1, 2, 1:3] = -9999
    give(data, product)
    forecast = build(modalities__evap__forecast=MULTIMET).forecasts["evap"]
    assert np.isnan(forecast.values[1]).sum() == 2
    assert "2 forecast values lie outside" in logged.text


def _of_an_ensemble(product: xr.Dataset) -> xr.Dataset:
    return product.expand_dims(number=3)


def _of_six_hours(product: xr.Dataset) -> xr.Dataset:
    return product.assign_coords(lead_time=pd.to_timedelta(6 * np.arange(LEADS), unit="h"))


def _of_two_runs(product: xr.Dataset) -> xr.Dataset:
    return product.assign_coords(date=pd.date_range("2001-10-01", periods=product.sizes["date"], freq="12h"))


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (_of_an_ensemble, {}, "take the mean of an ensemble first"),
        (_of_six_hours, {}, "no whole days; make days of them first"),
        (_of_two_runs, {}, "keep one run of each day"),
        (lambda product: product.drop_vars("date"), {}, "has no variable 'date'"),
        (lambda product: product, {"variable": "hres_total_evaporatoin"}, "did you mean 'hres_total_evaporation'"),
        (lambda product: product, {"gauge_id_prefix": ""}, "they differ only in the prefix camelsgb_"),
        (lambda product: product, {"units": "K"}, "cannot be converted to 'mm/day'"),
    ],
)
def test_mistakes_are_named(
    data: Path,
    build: Build,
    change: Callable[[xr.Dataset], xr.Dataset],
    settings: dict[str, Any],
    message: str,
) -> None:
    give(data, change(multimet(factory.days("2001-10-01", "2001-10-05"))))
    with pytest.raises(DataError, match=message):
        build(modalities__evap__forecast=MULTIMET | settings)


def test_a_store_is_extended_by_later_forecasts(tmp_path: Path) -> None:
    """The operational day: yesterday's weather is appended, and today's forecast."""
    root, end, later = tmp_path / "data", "2002-01-31", "2002-02-01"

    def give_until(last: str, issued: pd.DatetimeIndex) -> None:
        times = factory.days("2001-01-01", last)
        factory.write_grid(root / "rainfall" / "rain.nc", times, factory.field(times), packed=True)
        for old in root.glob("timeseries/*"):
            old.unlink()
        for seed, gauge in enumerate(factory.GAUGES):
            factory.write_gauge(root, gauge, factory.flows(times, seed))
        factory.write_attributes(root)
        give(root, multimet(issued))

    changes: dict[str, Any] = {"modalities__evap__forecast": MULTIMET}
    give_until(end, factory.days("2002-01-29", "2002-01-31"))
    out = tmp_path / "store.zarr"
    prepare(factory.config(recipe__period={"start": "2001-01-01", "end": end}, **changes), out, data=root)
    give_until(later, factory.days("2002-02-01", "2002-02-01"))
    store = append(factory.config(recipe__period={"start": "2001-01-01", "end": later}, **changes), out, data=root)
    forecast = store.forecasts["evap"]
    assert (forecast["init_time"].values == factory.days("2002-01-29", later).values).all()
    np.testing.assert_allclose(forecast.values[1], values(factory.days("2002-01-29", later))[1][:, 1:], rtol=1e-5)
    assert len(store.times) == len(factory.days("2001-01-01", later))
