"""Which day a value is of: stamps, bounds, time zones, sums since midnight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests import factory
from tests.unit.preparation.test_grid import LATLON, hours, of, read, write_latlon
from watercli.errors import DataError
from watercli.store import Store

Build = Callable[..., Store]
DAYS = factory.days()
RAIN = 10 * np.random.default_rng(1).random((365, 12, 9))


def write_days(path: Path, times: Any, begins: Any = None, rain: np.ndarray = RAIN) -> None:
    """Write daily rain, with bounds of a day from ``begins`` on where these are given."""
    write_latlon(path, times, rain, "pr", "mm/day", time="time")
    if begins is not None:
        with xr.open_dataset(path, decode_times=False) as dataset:
            loaded = dataset.load()
        numbers = xr.DataArray(begins, dims="time").to_dataset(name="x")
        numbers["x"].encoding = {key: loaded["time"].attrs[key] for key in ("units", "calendar")} | {"dtype": "f8"}
        first = xr.conventions.encode_cf_variable(numbers["x"].variable).values
        day = 24.0 if loaded["time"].attrs["units"].startswith("hours") else 1.0
        loaded["time"].attrs["bounds"] = "time_bnds"
        loaded["time_bnds"] = (("time", "nv"), np.stack([first, first + day], axis=1))
        loaded.to_netcdf(path)


@pytest.mark.parametrize(
    ("begins", "stamp"),
    [
        ("2001-01-01 00:00", "2001-01-02 00:00"),  # at the end of the day
        ("2001-01-01 00:00", "2001-01-01 12:00"),
        ("2001-01-01 00:00", "2001-01-01 23:59:59"),
        ("2001-01-01 09:00", "2001-01-02 09:00"),  # a rain day of Britain, at its end
        ("2000-12-31 23:00", "2000-12-31 23:00"),  # midnight in Berlin, in UTC
        ("2000-12-31 14:00", "2000-12-31 14:00"),  # midnight in Sydney
        ("2001-01-01 08:00", "2001-01-02 08:00"),  # midnight in Seattle, at the end
    ],
)
def test_the_bounds_decide(data: Path, build: Build, begins: str, stamp: str) -> None:
    shift = [pd.Timestamp(moment) - pd.Timestamp("2001-01-01") for moment in (stamp, begins)]
    write_days(data / "a.nc", DAYS + shift[0], DAYS + shift[1])
    store = build(modalities=of("pr", "a.nc"), **LATLON)
    np.testing.assert_allclose(read(store), RAIN, rtol=1e-6)


def test_the_bounds_decide_in_another_calendar(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    begins = xr.date_range("2001-01-01", "2001-12-31", calendar="noleap", use_cftime=True)
    write_days(data / "a.nc", begins.shift(1, "D"), begins)
    np.testing.assert_allclose(read(build(modalities=of("pr", "a.nc"), **LATLON)), RAIN, rtol=1e-6)


@pytest.mark.parametrize("short", [1e-9, 4e-6])
def test_a_fraction_of_a_second_short_of_midnight(data: Path, build: Build, short: float) -> None:
    path = write_latlon(data / "a.nc", DAYS, RAIN, "pr", "mm/day", time="time")
    with xr.open_dataset(path, decode_times=False) as dataset:
        loaded = dataset.load()
    attributes = {"units": "days since 1950-01-01", "standard_name": "time"}
    numbers = (DAYS - pd.Timestamp("1950-01-01")).days.to_numpy() - short
    loaded.assign_coords(time=("time", numbers, attributes)).to_netcdf(path)
    np.testing.assert_allclose(read(build(modalities=of("pr", "a.nc"), **LATLON)), RAIN, rtol=1e-6)


def test_hours_that_are_cut_off_are_told(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    write_days(data / "a.nc", DAYS + pd.Timedelta(hours=12))
    np.testing.assert_allclose(read(build(modalities=of("pr", "a.nc"), **LATLON)), RAIN, rtol=1e-6)
    assert "'pr' in a.nc: times of day (12:00) are cut off, the date counts" in logged.text
    assert "stamped late" not in logged.text
    berlin = DAYS.tz_localize("Europe/Berlin").tz_convert("UTC").tz_localize(None)
    write_days(data / "a.nc", berlin)
    build(modalities=of("pr", "a.nc"), **LATLON)
    assert "365 days of 'pr' in a.nc are stamped late (22:00, 23:00): if these are local midnights" in logged.text


def test_files_with_and_without_bounds(data: Path, build: Build) -> None:
    write_days(data / "a.nc", DAYS[:100], DAYS[:100], RAIN[:100])
    write_days(data / "b.nc", DAYS[100:], rain=RAIN[100:])
    np.testing.assert_allclose(read(build(modalities=of("pr", "?.nc"), **LATLON)), RAIN, rtol=1e-6)


class TestSumsSinceMidnight:
    """ERA5-Land: sums since 00 UTC, stamped at their end."""

    DAILY: ClassVar = {"aggregation": "sum", "accumulation": "since_midnight"}
    TIMES = hours(start="2001-01-01 06:00")

    def sums(self, noise: float = 0.0) -> np.ndarray:
        """Return sums in metres that end in the day's rain, with what packing leaves in between."""
        share = np.random.default_rng(0).dirichlet(np.ones(4), size=365).cumsum(axis=1)
        sums = RAIN[:, None] * share[:, :, None, None] / 1000
        sums[:, 1:3] -= noise
        return sums.reshape(-1, 12, 9)

    def build(self, data: Path, build: Build, times: pd.DatetimeIndex, sums: np.ndarray, **daily: Any) -> np.ndarray:
        write_latlon(data / "a.nc", times, sums, "tp", "m")
        return read(build(modalities=of("tp", "a.nc", daily=self.DAILY | daily), **LATLON))

    def test_the_last_is_the_day(self, data: Path, build: Build) -> None:
        np.testing.assert_allclose(self.build(data, build, self.TIMES, self.sums()), RAIN, rtol=1e-4, atol=1e-5)

    def test_they_may_shrink_by_rounding(self, data: Path, build: Build) -> None:
        np.testing.assert_allclose(self.build(data, build, self.TIMES, self.sums(2e-6)), RAIN, rtol=1e-4, atol=1e-5)

    def test_only_midnights(self, data: Path, build: Build) -> None:
        found = self.build(data, build, self.TIMES[3::4], self.sums()[3::4])
        np.testing.assert_allclose(found, RAIN, rtol=1e-5)

    def test_that_are_not_said_to_be_any(self, data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
        message = r"'tp' in a.nc never falls within a day.* set modalities.*daily.accumulation to since_midnight"
        with pytest.raises(DataError, match=message):
            self.build(data, build, self.TIMES, self.sums(), accumulation="none", label="end")
        steps = np.diff(self.sums().reshape(365, 4, 12, 9), axis=1, prepend=0).reshape(-1, 12, 9)
        found = self.build(data, build, self.TIMES, steps, accumulation="none", label="end")
        np.testing.assert_allclose(found, RAIN, rtol=1e-5)
        assert "falls within a day" not in logged.text
        self.build(data, build, self.TIMES, steps)
        assert "'tp' in a.nc falls within a day, which sums since midnight do not" in logged.text

    def test_noise_below_zero_is_no_fault(self, data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
        sums = self.sums()
        sums[40:80] = -4.5e-8
        found = self.build(data, build, self.TIMES, sums)
        np.testing.assert_allclose(found[10:20], -4.5e-5, rtol=1e-3)
        assert "range" not in logged.text
