"""Readers: the values, dates, units and CRS that come out of files in the true formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import factory
from watercli.data.scaling import Scaling
from watercli.errors import ConfigError, DataError
from watercli.store import Store

Build = Callable[..., Store]


def rain(store: Store) -> np.ndarray:
    """Return the stored rain without the padding."""
    rows, columns = store.dataset.attrs["padding"]
    values = store.dataset["precip"].values
    return values[:, : values.shape[1] - rows, : values.shape[2] - columns]


def replace_rain(data: Path, **options: object) -> np.ndarray:
    """Replace the rain file by one written with other options; return its values."""
    values = factory.field(factory.days(), seed=5)
    (data / "rainfall" / "rainfall.nc").unlink()
    factory.write_grid(data / "rainfall" / "rainfall.nc", factory.days(), values, **options)  # type: ignore[arg-type]
    return values


def test_sea_stays_missing_and_dates_lose_their_noon(build: Build) -> None:
    store = build()
    np.testing.assert_allclose(rain(store), factory.field(factory.days()), atol=0.00501)  # packed at 0.01 mm
    assert store.times[0] == pd.Timestamp("2001-01-01")
    assert len(store.times) == 365
    assert store.dataset["precip"].attrs["day"] == "09:00 to 09:00 1 day later"
    assert store.dataset["precip"].attrs["units"] == "mm/day"


@pytest.mark.parametrize("packed", [True, False])
def test_north_first_is_turned(data: Path, build: Build, packed: bool) -> None:
    values = replace_rain(data, south_first=False, packed=packed)
    store = build()
    assert (np.diff(store.dataset["y"].values) > 0).all()
    np.testing.assert_allclose(rain(store), values, rtol=1e-6, atol=0.00501 if packed else 1e-6)


def test_monthly_files_are_one_record(data: Path, build: Build) -> None:
    values = factory.field(factory.days(), seed=7)
    (data / "rainfall" / "rainfall.nc").unlink()
    files = factory.write_months(data / "rainfall", factory.days(), values)
    assert len(files) == 12
    files[0].rename(files[0].with_name("z_last.nc"))  # the order of names is not that of time
    np.testing.assert_allclose(rain(build()), values, rtol=1e-6)


def test_files_that_share_dates_are_refused(data: Path, build: Build) -> None:
    times = factory.days("2001-03-01", "2001-03-31")
    factory.write_grid(data / "rainfall" / "again.nc", times, factory.field(times))
    message = r"31 dates of 'rainfall' come twice, first 2001-03-01 in rainfall/again.nc, rainfall/rainfall.nc"
    with pytest.raises(DataError, match=message):
        build()


def test_a_missing_month_stays_missing(data: Path, build: Build) -> None:
    values = factory.field(factory.days(), seed=7)
    (data / "rainfall" / "rainfall.nc").unlink()
    factory.write_months(data / "rainfall", factory.days(), values)[3].unlink()
    april = build().dataset["precip"].sel(time="2001-04")
    assert april.isnull().all()  # noqa: PD003


def test_tas_is_the_mean_of_maximum_and_minimum(data: Path, build: Build) -> None:
    times = factory.days()
    low, high = factory.field(times, 1), factory.field(times, 2) + 8
    for name, values in (("tasmin", low), ("tasmax", high)):
        factory.write_grid(
            data / "t" / f"{name}.nc",
            times,
            values,
            variable=name,
            units="degC",
            cell_methods=f"time: {name} (comment: observing period is 0900 to 0900)",
        )
    temp = {"kind": "grid", "units": "K", "source": {"reader": "hadukgrid", "variable": "tas", "files": "t/*.nc"}}
    store = build(modalities__temp=temp)
    expected = (low + high) / 2 + 273.15
    np.testing.assert_allclose(store.dataset["temp"].values[:, :12, :9], expected, rtol=1e-5)
    assert "tasmin: 09:00 to 09:00 1 day later; observing period is" in store.dataset["temp"].attrs["day"]
    (data / "t" / "tasmax.nc").unlink()
    with pytest.raises(DataError, match=r"'tas' is the mean of tasmax and tasmin, .* holds 'tasmax'"):
        build(modalities__temp=temp)


def test_units_are_converted_or_refused(data: Path, build: Build) -> None:
    values = replace_rain(data, units="inch")
    np.testing.assert_allclose(rain(build()), values * 25.4, rtol=1e-5)
    replace_rain(data, units="degC")
    with pytest.raises(DataError, match=r"'rainfall' in rainfall/rainfall.nc is in 'degC', which cannot be converted"):
        build()
    replace_rain(data, units="furlongs per fortnite")
    with pytest.raises(DataError, match="which are no known units"):
        build()
    with pytest.raises(ConfigError, match="'mmm per', the units of"):
        build(modalities__precip__units="mmm per")


def test_a_file_without_units_is_taken_and_said(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    replace_rain(data, units=None, bounds=False)
    store = build()
    assert "'rainfall' in rainfall/rainfall.nc states no units: taken to be in mm/day" in logged.text
    assert store.dataset["precip"].attrs["day"] == "as stamped by the source"


def test_another_variable_another_crs_another_grid(data: Path, build: Build) -> None:
    with pytest.raises(DataError, match=r"rainfall/rainfall.nc has no variable 'rainfal'; did you mean 'rainfall'"):
        build(modalities__precip__source__variable="rainfal")
    with pytest.raises(DataError, match=r"The grid of 'precip' is in the CRS .* not in recipe.grid.crs"):
        build(recipe__grid__crs="EPSG:3035")
    with pytest.raises(ConfigError, match=r"recipe.grid.crs is 'EPSG:nonsense', which names no CRS"):
        build(recipe__grid__crs="EPSG:nonsense")
    times = factory.days()
    factory.write_grid(data / "t" / "tas.nc", times, factory.field(times), variable="tas", units="K", y=factory.Y + 500)
    temp = {"kind": "grid", "units": "K", "source": {"reader": "hadukgrid", "variable": "tas", "files": "t/*.nc"}}
    with pytest.raises(DataError, match=r"'temp' is on another grid than 'precip' \(y: 12 cells from 300500"):
        build(modalities__temp=temp)


def test_dates_that_do_not_meet(data: Path, build: Build) -> None:
    times = factory.days("2005-01-01", "2005-12-31")
    (data / "rainfall" / "rainfall.nc").unlink()
    factory.write_grid(data / "rainfall" / "rainfall.nc", times, factory.field(times))
    with pytest.raises(
        DataError, match=r"'precip' \(2005-01-01 to 2005-12-31\) do not meet recipe.period \(2001-01-01"
    ):
        build()


def test_dates_that_miss_the_training_period(data: Path, build: Build) -> None:
    times = factory.days("2001-08-01", "2001-12-31")
    (data / "rainfall" / "rainfall.nc").unlink()
    factory.write_grid(data / "rainfall" / "rainfall.nc", times, factory.field(times))
    with pytest.raises(DataError, match="'precip' has no value in the training period"):
        build()


@pytest.mark.parametrize("keep", [100, 30_000])
def test_a_damaged_netcdf_is_named(data: Path, build: Build, tmp_path: Path, keep: int) -> None:
    path = data / "rainfall" / "rainfall.nc"
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(DataError, match=r"rainfall/rainfall.nc cannot be read as NetCDF"):
        build()
    assert not list(tmp_path.glob("*store*")) + list(tmp_path.glob(".*store*"))


def test_leading_zeros_and_the_order_of_gauges(build: Build) -> None:
    store = build()
    assert store.gauge_ids == list(factory.GAUGES)
    assert list(store.dataset["gauge_name"].values) == [f"River {gauge}" for gauge in factory.GAUGES]
    assert list(store.dataset["static"].sel(attribute="clay").values) == [10, 13, 16, 19]
    assert list(store.dataset["attribute_units"].values) == ["km2", "%"]


def test_missing_flow_stays_missing(build: Build) -> None:
    store = build()
    for seed, gauge in enumerate(factory.GAUGES):
        expected = factory.flows(factory.days(), seed)["discharge_spec"].to_numpy()
        np.testing.assert_allclose(store.dataset["riverflow"].sel(catchment=gauge), expected, rtol=1e-6)
    assert np.isnan(store.dataset["riverflow"].values[:, 40:55]).all()


def test_discharge_in_other_units(build: Build) -> None:
    store = build(modalities__riverflow__source__variable="discharge_vol", modalities__riverflow__units="L/s")
    expected = factory.flows(factory.days(), 0)["discharge_vol"].to_numpy() * 1000
    np.testing.assert_allclose(store.dataset["riverflow"].values[0], expected, rtol=1e-5)


def first_series(data: Path) -> Path:
    return next((data / "timeseries").glob("*_01001_*.csv"))


def test_a_csv_without_the_column(data: Path, build: Build) -> None:
    factory.edit(first_series(data), ",discharge_spec", ",discharge_spek")
    message = r"timeseries/.*_01001_.*csv has no column 'discharge_spec'; did you mean 'discharge_spek'"
    with pytest.raises(DataError, match=message):
        build()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2001-02-03", "03/02/2001", "has '03/02/2001' for a date"),
        ("2001-02-03", "2001-02-02", "has the date 2001-02-02 twice"),
        ("", "", "cannot be read as text"),
        ("2001-02-03", "gr33n", "'gr33n' for 'pet' on line 35"),
    ],
)
def test_garbage_in_a_csv(data: Path, build: Build, old: str, new: str, message: str) -> None:
    if message.startswith("cannot"):
        first_series(data).write_bytes(b"\x89\x00\xff\xfe" * 50)
    elif "pet" in message:
        table = pd.read_csv(first_series(data), dtype=str).set_index("date")
        table.loc[old, "pet"] = new
        table.to_csv(first_series(data))
    else:
        factory.edit(first_series(data), old, new)
    with pytest.raises(DataError, match=message) as caught:
        build()
    assert "01001" in str(caught.value)


def test_a_stray_csv_and_a_doubled_gauge(data: Path, build: Build) -> None:
    stray = data / "timeseries" / "notes.csv"
    stray.write_text("a,b\n")
    with pytest.raises(DataError, match=r"timeseries/notes.csv is not named like CAMELS_GB_hydromet_timeseries_<"):
        build()
    stray.unlink()
    factory.write_gauge(data, "01001", factory.flows(factory.days(end="2001-10-31"), 1))
    with pytest.raises(DataError, match="Gauge 01001 has two files"):
        build()


def test_chosen_gauges_only(build: Build) -> None:
    store = build(recipe__catchments__gauges=["10003", "02002"])
    assert store.gauge_ids == ["02002", "10003"]
    assert "_01001_" not in store.dataset.attrs["sources"]
    with pytest.raises(ConfigError, match=r"names 2002, of which 'evap' has no record .* leading zeros; write 02002"):
        build(recipe__catchments__gauges=["2002"])


def test_gauges_without_attributes(data: Path, build: Build) -> None:
    table = data / "attributes" / "caravan.csv"
    factory.edit(table, "camelsgb_02002,13.0", "camelsgb_02002,")
    with pytest.raises(
        DataError, match=r"1 gauge \(02002\) has no value of column 'cly_pc_sav' \(for 'clay'\) in attrib"
    ):
        build()
    factory.write_attributes(data, factory.GAUGES[:2])
    with pytest.raises(
        DataError, match=r"2 gauges \(10003, 20004\) have no value of column 'gauge_lat'.*topographic.csv"
    ):
        build()


def test_classes_become_zeros_and_ones(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """As in HydroATLAS, whose classes are numbers, and CAMELS, whose classes are words."""
    table = pd.DataFrame({"gauge_id": factory.GAUGES, "rock": ["3", "6.0", "5", "6"], "cover": list("abca")})
    table.to_csv(data / "attributes" / "classes.csv", index=False)
    classes = {
        "recipe__catchments__tables": [{"files": "attributes/[ct]*.csv", "gauge_id_prefix": "camelsgb_"}],
        "recipe__catchments__attributes": {
            "carbonate": {"column": "rock", "one_hot": 6},
            "forest": {"column": "cover", "one_hot": ["a", "b"]},
        },
    }
    store = build(**classes)
    np.testing.assert_array_equal(store.dataset["static"], [[0, 1], [1, 1], [0, 0], [1, 1]])
    assert "no gauge has" not in logged.text
    classes["recipe__catchments__attributes"]["forest"]["one_hot"] = ["a", "d"]
    np.testing.assert_array_equal(build(**classes).dataset["static"].sel(attribute="forest"), [1, 0, 0, 1])
    assert "Attribute 'forest': no gauge has d in column 'cover' (a, b, c)" in logged.text
    factory.edit(data / "attributes" / "classes.csv", "02002,6.0", "02002,")
    with pytest.raises(DataError, match=r"1 gauge \(02002\) has no value of column 'rock' \(for 'carbonate'\)"):
        build(**classes)
    classes["recipe__catchments__attributes"]["forest"]["transform"] = "log"
    with pytest.raises(ConfigError, match="leave its transform out"):
        build(**classes)


@pytest.mark.slow
def test_an_attribute_that_does_not_vary_is_left_aside(
    data: Path, build: Build, logged: pytest.LogCaptureFixture
) -> None:
    """Few gauges may well be alike in something; where others are not, the run still makes nothing of it."""
    store = build()
    table = data / "attributes" / "caravan.csv"
    varied = table.read_text()
    table.write_text("gauge_id,cly_pc_sav\n" + "".join(f"camelsgb_{gauge},5\n" for gauge in factory.GAUGES))
    alike = build()
    assert "Attribute 'clay' (column 'cly_pc_sav') is the same for all 4 gauges" in logged.text
    clay = store.attribute_names.index("clay")
    scaling = Scaling.of(alike, alike.config)
    assert (scaling.static(alike)[:, clay] == 0).all()
    table.write_text(varied)
    assert (scaling.static(build())[:, clay] == 0).all()
    assert np.ptp(Scaling.of(build(), alike.config).static(build())[:, clay]) > 1


def test_attribute_tables_that_do_not_serve(data: Path, build: Build) -> None:
    with pytest.raises(DataError, match=r"No column 'cly_pc' in .*caravan.csv; did you mean 'cly_pc_sav'"):
        build(recipe__catchments__attributes__clay__column="cly_pc")
    table = data / "attributes" / "topographic.csv"
    factory.edit(table, "gauge_id", "id")
    with pytest.raises(DataError, match=r"topographic.csv has no column 'gauge_id'"):
        build()
    factory.write_attributes(data)
    factory.edit(table, "02002,", "01001,")
    with pytest.raises(DataError, match=r"topographic.csv has gauge 01001 twice"):
        build()
    factory.write_attributes(data)
    factory.edit(table, ",150.0", ",small")
    with pytest.raises(DataError, match=r"topographic.csv has 'small' for 'area' of gauge 01001"):
        build()
