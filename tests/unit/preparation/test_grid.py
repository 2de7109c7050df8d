"""The reader ``grid``: metadata, calendars, sub-daily values and units as archives publish them, and regridding."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import CRS

from tests import factory
from watercli.errors import ConfigError, DataError
from watercli.preparation import geometry, regrid
from watercli.store import Store

Build = Callable[..., Store]
LAT = 52.0 + 0.1 * np.arange(12)
LON = -2.0 + 0.1 * np.arange(9)
LATLON = {"recipe__catchments": None, "recipe__grid__crs": "EPSG:4326"}


def of(variable: str, files: str, units: str = "mm/day", **source: Any) -> dict[str, Any]:
    """Return a recipe's modalities: one grid."""
    return {
        "precip": {
            "kind": "grid",
            "units": units,
            "source": {"reader": "grid", "variable": variable, "files": files, **source},
        }
    }


def read(store: Store) -> np.ndarray:
    """Return the stored grid without its padding."""
    rows, columns = store.dataset.attrs["padding"]
    values = store.dataset["precip"].values
    return values[:, : values.shape[1] - rows, : values.shape[2] - columns]


def write_latlon(path: Path, times: Any, values: np.ndarray, variable: str, units: str, **options: Any) -> Path:
    """Write a file as the Climate Data Store does: north first, float32, no grid mapping, ``valid_time``."""
    time, east = options.get("time", "valid_time"), options.get("east", LON)
    data = xr.Dataset(
        {variable: ((time, "latitude", "longitude"), values[:, ::-1].astype(np.float32), {"units": units})}
    )
    data = data.assign_coords(
        {
            time: (time, times, {"standard_name": "time"}),
            "latitude": ("latitude", LAT[::-1], {"standard_name": "latitude", "units": "degrees_north"}),
            "longitude": ("longitude", east, {"standard_name": "longitude", "units": "degrees_east"}),
            "number": 0,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_netcdf(path, engine="netcdf4", encoding=options.get("encoding"))
    return path


def hours(start: str = "2001-01-01 00:00", end: str = "2002-01-01 00:00", step: int = 6) -> pd.DatetimeIndex:
    return pd.date_range(start, end, freq=f"{step}h")


def test_era5_land_rain(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """Sums since 00 UTC in metres, stamped at their end, longitudes to 360: ECMWF, ERA5-Land documentation, 'the
    accumulations ... from 00 UTC to the hour', so that the day's total stands at 00 UTC of the next."""
    times = hours()
    rain = np.random.default_rng(1).gamma(0.3, 1e-3, (len(times), 12, 9))
    starts = times - pd.Timedelta(hours=6)
    total = pd.DataFrame(rain.reshape(len(times), -1)).groupby(starts.normalize()).cumsum().to_numpy()
    total = total.reshape(rain.shape)
    write_latlon(data / "era5" / "tp.nc", times, total, "tp", "m", east=LON % 360)
    daily = {"aggregation": "sum", "accumulation": "since_midnight"}
    expected = pd.DataFrame(rain.reshape(len(times), -1)).groupby(starts.normalize()).sum().to_numpy() * 1000
    order = np.argsort((LON % 360 + 180) % 360 - 180)
    expected = expected.reshape(-1, 12, 9)[1:][:, :, order]
    store = build(modalities=of("tp", "era5/*.nc", daily=daily), **LATLON)
    np.testing.assert_allclose(read(store)[:365], expected, rtol=1e-3, atol=1e-3)
    assert "names no grid mapping: taken to be in EPSG:4326" in logged.text
    assert "1 days that lack some of their 4 values" in logged.text
    assert store.dataset["precip"].attrs["day"] == "00:00 to 00:00 UTC 1 day later, sum of 4 values"
    np.testing.assert_allclose(store.dataset["x"][:9], LON, atol=1e-6)
    # A day from 06 UTC has the same steps, in other days.
    later = read(build(modalities=of("tp", "era5/*.nc", daily=daily | {"day_start_hour": 6}), **LATLON))
    shifted = pd.DataFrame(rain.reshape(len(times), -1)).groupby((starts - pd.Timedelta(hours=6)).normalize()).sum()
    shifted = shifted.to_numpy().reshape(-1, 12, 9)[1:-1] * 1000
    np.testing.assert_allclose(later[:364], shifted, rtol=1e-3, atol=1e-3)
    with pytest.raises(DataError, match=r"'tp' in era5/tp.nc has a value every 6 hours; say how .*precip.source.daily"):
        build(modalities=of("tp", "era5/*.nc"), **LATLON)


def test_rates_and_kelvin(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """CMIP's pr in kg m-2 s-1, and tas in kelvin: days are means, whose steps the bounds or the recipe place."""
    times = hours(end="2001-12-31 18:00")
    rain = np.random.default_rng(1).gamma(0.3, 1e-5, (len(times), 12, 9))
    write_latlon(data / "pr.nc", times, rain, "pr", "kg m-2 s-1")
    store = build(modalities=of("pr", "pr.nc", daily={"aggregation": "mean"}), **LATLON)
    np.testing.assert_allclose(read(store), rain.reshape(365, 4, 12, 9).mean(1) * 86400, rtol=1e-5)
    assert "has no bounds of time: a value is taken to belong to the step that it begins" in logged.text
    with pytest.raises(DataError, match=r"'pr' in pr.nc is in 'kg m-2 s-1', a rate, whose day is a mean"):
        build(modalities=of("pr", "pr.nc", daily={"aggregation": "sum", "label": "start"}), **LATLON)
    with pytest.raises(DataError, match=r"does not say whether a time stamps the beginning or the end"):
        build(modalities=of("pr", "pr.nc", daily={"aggregation": "sum"}), **LATLON)
    warm = 280 + 10 * np.random.default_rng(2).random((len(times), 12, 9))
    write_latlon(data / "t2m.nc", times, warm, "t2m", "K")
    store = build(modalities=of("t2m", "t2m.nc", units="degC", daily={"aggregation": "max"}), **LATLON)
    np.testing.assert_allclose(read(store), warm.reshape(365, 4, 12, 9).max(1) - 273.15, atol=1e-3)


def test_units_of_soil_moisture_and_of_the_recipe(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    times = factory.days()
    wet = np.random.default_rng(1).random((365, 12, 9))
    write_latlon(data / "a.nc", times, 100 * wet, "sm", "percent", time="time")
    np.testing.assert_allclose(read(build(modalities=of("sm", "a.nc", units="m3/m3"), **LATLON)), wet, rtol=1e-5)
    write_latlon(data / "b.nc", times, wet, "rr", "mm", time="time")
    with pytest.raises(DataError, match=r"is in 'mm', which cannot be converted to 'mm/day'; .* source.units"):
        build(modalities=of("rr", "b.nc"), **LATLON)
    modalities = of("rr", "b.nc")
    modalities["precip"]["source"]["units"] = "mm/day"
    store = build(modalities=modalities, **LATLON)
    np.testing.assert_allclose(read(store), wet, rtol=1e-5)
    assert "says 'mm', the recipe 'mm/day': taken as the recipe says" in logged.text


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "proleptic_gregorian"])
def test_calendars(data: Path, build: Build, logged: pytest.LogCaptureFixture, calendar: str) -> None:
    """No value moves to another date; what one calendar has and the other lacks is counted."""
    times = xr.date_range("2000-01-01 12:00", "2001-12-30 12:00", calendar=calendar, use_cftime=True)
    values = np.random.default_rng(1).random((len(times), 12, 9))
    write_latlon(data / "a.nc", times, values, "pr", "mm/day", time="time")
    store = build(modalities=of("pr", "a.nc"), **LATLON)
    found = store.dataset["precip"].sel(time="2001-03-01").values[:12, :9]
    where = next(row for row, day in enumerate(times) if (day.year, day.month, day.day) == (2001, 3, 1))
    np.testing.assert_allclose(found, values[where], rtol=1e-6)
    missing = np.isnan(store.dataset["precip"].sel(time=slice("2001-01-01", "2001-12-30")).values).all(axis=(1, 2))
    assert missing.sum() == (6 if calendar == "360_day" else 0)  # the 31sts, but for that of December
    if calendar == "360_day":
        assert "360_day: dates are kept, 3 times that the standard calendar lacks are left out, 13 days" in logged.text
    if calendar == "noleap":
        assert "noleap: dates are kept, 0 times that the standard calendar lacks are left out, 1 days" in logged.text


def test_packed_values_undeclared_fill_and_the_mean_of_two(data: Path, build: Build) -> None:
    times = factory.days()
    low, high = factory.field(times, 1), factory.field(times, 2) + 8
    packing = {"tn": {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768}}
    low[:, :, -2:] = np.nan
    write_latlon(data / "tn.nc", times, low, "tn", "degC", time="time", encoding=packing)
    high[:, :, -2:] = 1e20
    write_latlon(data / "tx.nc", times, high, "tx", "degC", time="time", encoding={"tx": {"_FillValue": None}})
    store = build(modalities=of("tg", "t?.nc", units="degC", mean_of=["tn", "tx"]), **LATLON)
    np.testing.assert_allclose(read(store)[..., :-2], ((low + high) / 2)[..., :-2], atol=0.01)
    assert np.isnan(read(store)[..., -2:]).all()
    assert store.dataset["precip"].attrs["derived"] == "mean of tn, tx"


def test_zarr_is_read_like_netcdf(data: Path, build: Build) -> None:
    values = factory.field(factory.days())
    path = write_latlon(data / "a.nc", factory.days(), values, "pr", "mm/day", time="time")
    xr.open_dataset(path).to_zarr(data / "a.zarr", zarr_format=3, consolidated=False)
    store = build(modalities=of("pr", "*.zarr"), **LATLON)
    np.testing.assert_allclose(read(store), values, rtol=1e-6)
    assert '"a.zarr"' in store.dataset.attrs["sources"]


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_a_url_is_a_source(
    data: Path, build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    monkeypatch.setenv("WATERCLI_CACHE", str(tmp_path / "cache"))
    values = factory.field(factory.days())
    path = write_latlon(data / "a.nc", factory.days(), values, "pr", "mm/day", time="time")
    if ending == "zarr":
        xr.open_dataset(path).to_zarr(data / "a.zarr", zarr_format=3, consolidated=False)
    store = build(modalities=of("pr", f"file://{data}/a*.{ending}"), **LATLON)
    np.testing.assert_allclose(read(store), values, rtol=1e-6)
    assert f"file://{data}/a.{ending}" in store.dataset.attrs["sources"]
    with pytest.raises(DataError, match="No file matches the URL"):
        build(modalities=of("pr", f"file://{data}/b*.{ending}"), **LATLON)
    with pytest.raises(DataError, match="cannot be fetched"):
        build(modalities=of("pr", f"nonsense://{data}/b.{ending}"), **LATLON)


def test_axes_by_name_and_grids_that_do_not_serve(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    values = factory.field(factory.days())
    path = write_latlon(data / "a.nc", factory.days(), values, "pr", "mm/day", time="time")
    with xr.open_dataset(path) as dataset:
        curved = dataset.load()
    named = curved.rename(latitude="lat", longitude="lon")
    for name in ("lat", "lon"):
        named[name].attrs.clear()
    named.to_netcdf(data / "named.nc")
    np.testing.assert_allclose(read(build(modalities=of("pr", "named.nc"), **LATLON)), values, rtol=1e-6)
    assert "'pr' in named.nc marks no Y axis: taken to be 'lat' by its name" in logged.text
    assert "'pr' in named.nc names no grid mapping: taken to be in EPSG:4326" in logged.text
    bare = curved.drop_vars(["latitude", "longitude"]).rename(latitude="i", longitude="j")
    bare.to_netcdf(data / "bare.nc")
    with pytest.raises(DataError, match=r"'pr' in bare.nc has no Y axis"):
        build(modalities=of("pr", "bare.nc"), **LATLON)
    curved.isel(time=slice(None, None, 31)).to_netcdf(data / "monthly.nc")
    with pytest.raises(DataError, match=r"'pr' in monthly.nc has a value every 31 days only"):
        build(modalities=of("pr", "monthly.nc"), **LATLON)
    curved.expand_dims(level=[1, 2]).to_netcdf(data / "levels.nc")
    with pytest.raises(DataError, match=r"'pr' in levels.nc has the dims .* time, y and x only"):
        build(modalities=of("pr", "levels.nc"), **LATLON)


# Regridding.

TARGET = {"recipe__grid__bounds": [395_000.0, 295_000.0, 475_000.0, 415_000.0], "recipe__grid__cell": 20_000.0}


def test_a_coarser_grid_keeps_the_rain(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    store = build(recipe__grid__patch_size=[2, 2], **TARGET)
    values = factory.field(factory.days())[:, :, :8]
    expected = np.nanmean(values.reshape(365, 6, 2, 4, 2), axis=(2, 4))
    expected[:, :, -1] = np.nanmean(values.reshape(365, 6, 2, 4, 2)[:, :, :, -1], axis=(2, 3))
    np.testing.assert_allclose(store.dataset["precip"].values[:, :6, :4], expected, atol=0.006)
    said = store.dataset["precip"].attrs["regridding"]
    assert "area-weighted from cells of 10000 x 10000" in said
    assert "value times area over 360 days" in said
    assert said in logged.text
    everything = build(recipe__grid__patch_size=[2, 2], recipe__grid__min_covered=1e-3, **TARGET)
    assert re.search(r"\([+-]0\.000 %\)$", everything.dataset["precip"].attrs["regridding"])


def test_a_finer_grid_and_cells_of_one_grid(data: Path, build: Build) -> None:
    fine = build(recipe__grid__patch_size=[4, 4], **(TARGET | {"recipe__grid__cell": 5000.0}))
    values = factory.field(factory.days())
    assert (
        "(+0.000 %)" in fine.dataset["precip"].attrs["regridding"]
        or "(-0.000 %)" in fine.dataset["precip"].attrs["regridding"]
    )
    np.testing.assert_allclose(fine.dataset["precip"].values[:, 0, 0], values[:, 0, 0], atol=0.006)
    same = build(recipe__grid__bounds=[375_000.0, 305_000.0, 475_000.0, 415_000.0], recipe__grid__cell=10_000.0)
    assert "regridding" not in same.dataset["precip"].attrs
    np.testing.assert_allclose(same.dataset["precip"].values[:, :11, 2:9], values[:, 1:, :7], atol=0.006)
    assert np.isnan(same.dataset["precip"].values[:, :, :2]).all()


def test_degrees_meet_metres(data: Path, build: Build) -> None:
    """A field linear in northing comes through reprojection where it was; two resolutions meet on one target."""
    from pyproj import Transformer

    lat, lon = np.meshgrid(np.arange(51.5, 54.5, 0.1), np.arange(-3.0, 0.5, 0.1), indexing="ij")
    north = Transformer.from_crs("EPSG:4326", "EPSG:27700", always_xy=True).transform(lon, lat)[1]
    times = factory.days()
    field = xr.DataArray(
        north[None] / 1e5 + np.arange(365)[:, None, None] / 365,
        dims=("time", "lat", "lon"),
        coords={
            "time": times,
            "lat": ("lat", lat[:, 0], {"units": "degrees_north"}),
            "lon": ("lon", lon[0], {"units": "degrees_east"}),
        },
        attrs={"units": "degC"},
        name="t",
    )
    field.to_netcdf(data / "t.nc")
    temp = {"kind": "grid", "units": "degC", "source": {"reader": "grid", "variable": "t", "files": "t.nc"}}
    store = build(modalities__temp=temp, **(TARGET | {"recipe__grid__cell": 10_000.0}))
    expected = factory.Y[:, None] / 1e5 + np.arange(365)[:, None, None] / 365 + np.zeros((1, 12, 6))
    np.testing.assert_allclose(store.dataset["temp"].values[:, :12, :6], expected, atol=0.01)
    mass = store.dataset["temp"].attrs["regridding"]
    assert abs(float(mass.rpartition("(")[2].removesuffix(" %)"))) < 0.01


def test_overlaps_of_rectangles_are_those_of_polygons() -> None:
    """The sides of rectangles against the general way, for cells that neither match nor divide each other."""
    crs = CRS("EPSG:27700")
    y, x = 1000.0 * np.arange(2, 30, 3), 1000.0 * np.arange(1, 40, 3)
    aim = regrid.Target(np.arange(-3000.0, 33_000, 7000), np.arange(2000.0, 44_000, 7000), crs)
    weights = regrid.overlaps(y, x, crs, aim)
    polygons = geometry.shares(geometry.boxes(aim.y, aim.x), geometry.boxes(y, x))
    np.testing.assert_allclose(weights.toarray(), polygons.toarray(), atol=1e-12)
    assert weights.sum(axis=1).max() == pytest.approx(1)


def test_a_damaged_file_is_named_while_regridding(data: Path, build: Build) -> None:
    path = data / "rainfall" / "rainfall.nc"
    path.write_bytes(path.read_bytes()[:30_000])
    mean = {"kind": "series", "units": "mm/day", "source": {"reader": "grid_mean", "variable": "precip"}}
    for changes in (TARGET, {"modalities__precip_mean": mean}):
        with pytest.raises(DataError, match=r"rainfall/rainfall.nc cannot be read as NetCDF"):
            build(**changes)


def test_targets_that_do_not_serve(data: Path, build: Build) -> None:
    with pytest.raises(ConfigError, match="bounds and cell make the target grid together"):
        build(recipe__grid__cell=5000.0)
    with pytest.raises(ConfigError, match="do not hold a whole number of cells of 7000"):
        build(**(TARGET | {"recipe__grid__cell": 7000.0}))
    with pytest.raises(DataError, match=r"The grid of 'precip' does not overlap recipe.grid.bounds"):
        build(recipe__grid__bounds=[0.0, 0.0, 99_000.0, 99_000.0], recipe__grid__cell=3000.0)


def write_grib(path: Path, times: pd.DatetimeIndex, kelvin: np.ndarray) -> None:
    """Write 2 m temperature as ECMWF archives it: a message for each time, north first."""
    import eccodes

    with path.open("wb") as stream:
        for time, values in zip(times, kelvin, strict=True):
            message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            keys = {
                "Ni": len(LON),
                "Nj": len(LAT),
                "latitudeOfFirstGridPointInDegrees": LAT[-1],
                "latitudeOfLastGridPointInDegrees": LAT[0],
                "longitudeOfFirstGridPointInDegrees": LON[0] % 360,
                "longitudeOfLastGridPointInDegrees": LON[-1] % 360,
                "iDirectionIncrementInDegrees": 0.1,
                "jDirectionIncrementInDegrees": 0.1,
                "dataDate": int(f"{time:%Y%m%d}"),
                "dataTime": int(f"{time:%H%M}"),
                "shortName": "2t",
                "bitsPerValue": 16,
            }
            for key, value in keys.items():
                eccodes.codes_set(message, key, value)
            eccodes.codes_set_values(message, values[::-1].astype(float).ravel())
            eccodes.codes_write(message, stream)
            eccodes.codes_release(message)


def test_grib(data: Path, build: Build) -> None:
    pytest.importorskip("cfgrib", reason="needs pip install 'watercli[grib]'", exc_type=Exception)
    times = hours(end="2001-03-01 12:00", step=12)
    warm = 280 + 10 * np.random.default_rng(2).random((len(times), 12, 9))
    write_grib(data / "t.grib", times, warm)
    store = build(modalities=of("t2m", "t.grib", "degC", daily={"aggregation": "mean"}), **LATLON)
    np.testing.assert_allclose(read(store)[:60], warm.reshape(60, 2, 12, 9).mean(1) - 273.15, atol=0.01)
    (data / "t.grib").write_bytes((data / "t.grib").read_bytes()[:-50])
    with pytest.raises(DataError, match=r"t.grib cannot be read as GRIB"):
        build(modalities=of("t2m", "t.grib", "degC", daily={"aggregation": "mean"}), **LATLON)
