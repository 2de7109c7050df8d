"""Units and marks of missing values as gridded files declare them: by CF, by habit, and wrongly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

from tests.unit.preparation.test_grid import LAT, LATLON, LON, hours, of, read, write_latlon
from watercli.errors import DataError
from watercli.store import Store

Build = Callable[..., Store]


@pytest.mark.parametrize(
    ("units", "target", "scale"),
    [("J m-2", "W/m2", 1 / 86400), ("J m**-2", "J/m2", 1), ("s", "s", 1), ("s", "h", 1 / 3600)],
)
def test_joules_and_seconds_are_amounts(data: Path, build: Build, units: str, target: str, scale: float) -> None:
    """A day of hourly radiation or sunshine is the sum of its hours, whatever the store's units."""
    times = hours(end="2001-12-31 18:00")
    amounts = 1000 * np.random.default_rng(1).random((len(times), 12, 9))
    write_latlon(data / "a.nc", times, amounts, "ssrd", units)
    daily = {"aggregation": "sum", "label": "start"}
    store = build(modalities=of("ssrd", "a.nc", target, daily=daily), **LATLON)
    np.testing.assert_allclose(read(store), amounts.reshape(365, 4, 12, 9).sum(1) * scale, rtol=1e-5)


def test_amounts_are_not_averaged_into_a_rate(data: Path, build: Build) -> None:
    times = hours(end="2001-12-31 18:00")
    write_latlon(data / "a.nc", times, np.random.default_rng(1).random((len(times), 12, 9)), "tp", "mm")
    with pytest.raises(DataError, match=r"'tp' in a.nc is in 'mm', an amount, whose day is a sum; set daily.aggreg"):
        build(modalities=of("tp", "a.nc", daily={"aggregation": "mean"}), **LATLON)


@pytest.mark.parametrize(("units", "factor"), [("0.1 mm/day", 0.1), ("mm/24h", 1.0), ("10^-1 cm/d", 1.0)])
def test_scale_factors_in_units(data: Path, build: Build, units: str, factor: float) -> None:
    values = 50 * np.random.default_rng(1).random((365, 12, 9))
    write_latlon(data / "a.nc", hours(step=24)[:365], values, "pr", units)
    np.testing.assert_allclose(read(build(modalities=of("pr", "a.nc"), **LATLON)), factor * values, rtol=1e-5)


def test_the_attribute_unit_counts(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    values = 10 * np.random.default_rng(1).random((365, 12, 9))
    path = write_latlon(data / "a.nc", hours(step=24)[:365], values, "t", "K")
    with netCDF4.Dataset(path, "a") as dataset:
        dataset["t"].delncattr("units")
        dataset["t"].unit = "degrees C"
    store = build(modalities=of("t", "a.nc", "K"), **LATLON)
    np.testing.assert_allclose(read(store), values + 273.15, rtol=1e-6)
    assert "states no units" not in logged.text


# Marks of missing values.


def raw_grid(path: Path, dtype: str, stored: np.ndarray, **attributes: Any) -> None:
    """Write values as they are stored, with the attributes of a variable ``pr``, by the netCDF library."""
    with netCDF4.Dataset(path, "w") as dataset:
        for name, values, units in (("lat", LAT, "degrees_north"), ("lon", LON, "degrees_east")):
            dataset.createDimension(name, len(values))
            axis = dataset.createVariable(name, "f8", (name,))
            axis[:], axis.units, axis.standard_name = values, units, {"lat": "latitude", "lon": "longitude"}[name]
        dataset.createDimension("time", None)
        time = dataset.createVariable("time", "f8", ("time",))
        time[:], time.units = np.arange(365), "days since 2001-01-01"
        fill = attributes.pop("_FillValue", False)
        variable = dataset.createVariable("pr", dtype, ("time", "lat", "lon"), fill_value=fill)
        variable.set_auto_maskandscale(False)
        variable[:] = stored.astype(dtype)
        variable.setncatts({"units": "mm/day", **attributes})


RAIN = (10 * np.random.default_rng(1).random((365, 12, 9))).round(2)
SEA = np.zeros(RAIN.shape, dtype=bool)
SEA[:, :2, :3] = True
F4, F8, I2 = np.float32, np.float64, np.int16


@pytest.mark.parametrize(
    ("dtype", "mark", "attributes"),
    [
        ("f4", -9999, {"missing_value": F8(-9999)}),
        ("f4", -9999.9, {"missing_value": F8(-9999.9)}),  # no number of single precision
        ("f4", -9999, {"missing_value": F8(-9999.9)}),  # nor what was written
        ("f4", -999, {"missing_value": np.array([-99, -999], dtype="f4")}),
        ("f4", -99, {"missing_value": "-99."}),
        ("f4", -99, {"missing_value": "NaN -99, -999"}),
        ("f4", -5, {"_FillValue": F4(-1), "missing_value": I2(-5)}),
        ("f4", np.nan, {}),
        ("f4", 1e20, {}),
        ("f4", -1e30, {}),
        ("f4", 9.969209968386869e36, {}),
        ("f4", -1, {"valid_min": F4(0)}),
        ("f4", 500, {"valid_max": F8(400)}),
        ("f4", 500, {"valid_range": np.array([0, 400], dtype="f4")}),
        ("f4", 500, {"valid_range": "0, 400"}),
        ("i2", -1, {"scale_factor": F4(0.01), "valid_min": I2(0)}),
        ("i2", 2000, {"scale_factor": F4(0.01), "valid_range": np.array([0, 1500], dtype="i2")}),  # packed units
        ("i2", 2000, {"scale_factor": F4(0.01), "valid_range": np.array([0, 15], dtype="f4")}),  # unpacked
        ("i2", -32767, {"scale_factor": F4(0.01)}),  # of the netCDF library
        ("i2", -9999, {"scale_factor": F8(0.01), "missing_value": F8(-9999)}),
        ("i2", -995, {"scale_factor": F8(0.1), "missing_value": F8(-99.5)}),  # in unpacked units
        ("i2", -1, {"scale_factor": "0.01", "add_offset": "0", "_FillValue": I2(-1)}),
    ],
)  # fmt: skip
def test_what_a_file_declares_is_missing(
    data: Path, build: Build, logged: pytest.LogCaptureFixture, dtype: str, mark: float, attributes: dict[str, Any]
) -> None:
    scale = float(attributes.get("scale_factor", 1))
    raw_grid(data / "a.nc", dtype, np.where(SEA, mark, np.round(RAIN / scale, 2 if dtype == "f4" else 0)), **attributes)
    found = read(build(modalities=of("pr", "a.nc"), **LATLON))
    np.testing.assert_array_equal(np.isnan(found), SEA)
    np.testing.assert_allclose(found[~SEA], RAIN[~SEA], atol=0.51 * scale if dtype == "i2" else 1e-5)
    assert "range (" not in logged.text


def test_a_mark_that_nobody_declared(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    raw_grid(data / "a.nc", "f4", np.where(SEA, -9999, RAIN))
    build(modalities=of("pr", "a.nc"), **LATLON)
    assert "mark: 1 places, 365 days" in logged.text
    assert (
        "-9999 mm/day in 2,190 cells: a missing mark? Name it in modalities.precip.source.missing_values" in logged.text
    )
    assert "or set recipe.quality.to_missing to [range]" in logged.text
    assert "are these the units?" not in logged.text  # they are, but for the marks
    for changes in (
        {"modalities": of("pr", "a.nc", missing_values=[-9999])},
        {"modalities": of("pr", "a.nc"), "recipe__quality__to_missing": ["range"]},
    ):
        logged.clear()
        np.testing.assert_array_equal(np.isnan(read(build(**changes, **LATLON))), SEA)
        assert "are these the units?" not in logged.text


def test_a_mark_is_named_in_the_units_of_the_files(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    raw_grid(data / "a.nc", "f4", np.where(SEA, -99.9, RAIN), units="cm/day")
    build(modalities=of("pr", "a.nc"), **LATLON)
    assert "-999 mm/day (-99.9 in the files) in 2,190 cells" in logged.text
    found = read(build(modalities=of("pr", "a.nc", missing_values=-99.9), **LATLON))
    np.testing.assert_array_equal(np.isnan(found), SEA)
