"""Units and marks of missing values as gridded files declare them: by CF, by habit, and wrongly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.preparation.test_grid import LATLON, hours, of, read, write_latlon
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
    import netCDF4

    values = 10 * np.random.default_rng(1).random((365, 12, 9))
    path = write_latlon(data / "a.nc", hours(step=24)[:365], values, "t", "K")
    with netCDF4.Dataset(path, "a") as dataset:
        dataset["t"].delncattr("units")
        dataset["t"].unit = "degrees C"
    store = build(modalities=of("t", "a.nc", "K"), **LATLON)
    np.testing.assert_allclose(read(store), values + 273.15, rtol=1e-6)
    assert "states no units" not in logged.text
