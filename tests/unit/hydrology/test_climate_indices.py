"""Climate indices by hand, and against those that CAMELS publishes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from watercli.hydrology.climate_indices import Weather, index_of

DAYS = pd.date_range("2001-01-01", "2004-12-31", freq="D")


def value(index: Any, **weather: np.ndarray) -> float:
    return float(index_of(Weather(DAYS, **{name: record[None] for name, record in weather.items()}), index)[0])


def test_spells_and_frequencies() -> None:
    """Of 1,461 days: 0.5 mm but for two spells of 2 and 4 days with 20 mm, and one of 3 days with 2 mm."""
    rain = np.full(len(DAYS), 0.5)
    rain[[10, 11, 500, 501, 502, 503]] = 20.0
    rain[800:803] = 2.0
    assert value("p_mean", precipitation=rain) == pytest.approx((0.5 * 1452 + 20 * 6 + 2 * 3) / 1461)
    assert value("high_prec_freq", precipitation=rain) == pytest.approx(6 / 4)
    assert value("high_prec_dur", precipitation=rain) == 3.0
    assert value("low_prec_freq", precipitation=rain) == pytest.approx(365.25 * 1452 / 1461)
    assert value("low_prec_dur", precipitation=rain) == pytest.approx(1452 / 4)
    rain[100] = np.nan
    assert value("low_prec_dur", precipitation=rain) == pytest.approx(1451 / 5)
    assert value("high_prec_dur", precipitation=np.ones(len(DAYS))) == 0.0


def test_snow_and_aridity() -> None:
    rain, cold = np.ones(len(DAYS)), np.where(DAYS.month == 1, 0.0, 0.1)
    rain[DAYS.month == 1] = 3.0
    january = 4 * 31
    assert value("frac_snow", precipitation=rain, temperature=cold) == pytest.approx(
        3 * january / (3 * january + 1461 - january)
    )
    assert value("aridity", precipitation=rain, pet=2 * rain) == pytest.approx(2.0)
    assert np.isnan(value("aridity", precipitation=0 * rain, pet=rain))


@pytest.mark.parametrize(("lag", "expected"), [(0, 0.6), (365.25 / 2, -0.6), (365.25 / 4, 0.0)])
def test_seasonality(lag: float, expected: float) -> None:
    """Sine curves of a year: rain in summer, in winter, in between (Woods 2009, equation 14)."""
    day = DAYS.dayofyear.to_numpy()
    warmth = 8 + 10 * np.sin(2 * np.pi * (day - 110) / 365.25)
    rain = 3 * (1 + 0.6 * np.sin(2 * np.pi * (day - 110 - lag) / 365.25))
    assert value("p_seasonality", precipitation=rain, temperature=warmth) == pytest.approx(expected, abs=0.01)


def test_too_few_days_are_no_climate() -> None:
    rain = np.full(len(DAYS), np.nan)
    rain[:364] = 1.0
    assert np.isnan(value("p_mean", precipitation=rain))
    rain[364] = 1.0
    assert value("p_mean", precipitation=rain) == 1.0
