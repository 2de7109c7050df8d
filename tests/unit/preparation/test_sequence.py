"""Values that cannot follow each other: found with their dates, in planted faults alone, and never changed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from tests import factory
from watercli.preparation.quality import sequence
from watercli.preparation.quality.records import Quality

DATES = pd.date_range("2001-01-01", "2006-12-31")
YEAR = np.asarray(DATES.year == 2004)


def rivers(number: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return rain and flow ``[N, T]`` of gauges under much the same rain: fast rivers of different sizes."""
    rng = np.random.default_rng(1)
    shared = np.where(rng.random(len(DATES)) < 0.3, rng.gamma(0.8, 8.0, len(DATES)), 0.0)
    rain = shared * rng.uniform(0.7, 1.3, (number, len(DATES)))
    flow, stored = np.empty_like(rain), np.full(number, 10.0)
    for day in range(len(DATES)):
        stored += rain[:, day] * 0.5
        flow[:, day] = stored / np.linspace(3, 5, number)
        stored -= flow[:, day]
    return rain, flow * np.linspace(1, 3, number)[:, None] + 0.02


def found(flow: np.ndarray, rain: np.ndarray | None = None) -> list[tuple[str, str, int, str, str, str]]:
    quality = Quality(factory.config())
    dims, coords = ("catchment", "time"), {"catchment": [f"g{row}" for row in range(len(flow))], "time": DATES}
    series = xr.DataArray(flow, dims=dims, coords=coords, name="riverflow")
    weather = None if rain is None else xr.DataArray(rain, dims=dims, coords=coords, name="rain")
    quality.sequences(series, weather)
    return [(one.where, one.check, one.days, one.first, one.last, one.detail) for one in quality.findings]


def test_sound_rivers_pass() -> None:
    rain, flow = rivers()
    assert found(flow, rain) == []
    assert not sequence.spike(flow).any()


def test_a_year_that_is_shifted_by_a_day() -> None:
    rain, flow = rivers()
    for days, words in ((1, "1 day later"), (-1, "1 day earlier")):
        wrong = flow.copy()
        wrong[2, YEAR] = np.roll(flow[2], days)[YEAR]
        for weather in (None, rain):
            (finding,) = found(wrong, weather)
            assert finding[:5] == ("g2", "shift", 366, "2004-01-01", "2004-12-31")
            assert finding[5].startswith(f"{words} than its neighbours' flow")
        ((gauge, check, *_, detail),) = found(wrong[2:3], rain[2:3])
        assert (gauge, check) == ("g0", "shift")
        assert detail.startswith(f"{words} than its rain")


def test_a_stretch_in_other_units() -> None:
    _, flow = rivers()
    stretch = np.asarray((DATES >= "2003-03-01") & (DATES < "2003-09-01"))
    for factor, words in ((35.3147, "times"), (1 / 35.3147, "one")):
        wrong = flow.copy()
        wrong[3, stretch] *= factor
        ((gauge, check, days, first, last, detail),) = [one for one in found(wrong) if one[1] == "factor"]
        assert (gauge, check) == ("g3", "factor")
        assert abs(days - stretch.sum()) < 20
        assert abs(pd.Timestamp(first) - pd.Timestamp("2003-03-01")) < pd.Timedelta(days=20)
        assert abs(pd.Timestamp(last) - pd.Timestamp("2003-08-31")) < pd.Timedelta(days=20)
        assert words in detail


def test_spikes() -> None:
    flow = np.tile([1.0, 1.1, 1.0, 0.9, 0.8, 0.005, 0.8, 0.7, np.nan, 0.6, 0.0, 0.0, 0.01, 0.0], (1, 20))
    assert not sequence.spike(flow).any()  # a fall, and a little flow in a dry river, are none
    flow[0, [29, 99]] = 150.0, 60.0
    np.testing.assert_array_equal(np.flatnonzero(sequence.spike(flow)[0]), [29])


def test_a_whole_record_that_is_shifted() -> None:
    rain, flow = rivers()
    for days, words in ((1, "1 day later"), (-1, "1 day earlier")):
        wrong = flow.copy()
        wrong[2] = np.roll(flow[2], days)
        for weather in (None, rain):
            (finding,) = found(wrong, weather)
            assert finding[:5] == ("g2", "shift", len(DATES), "2001-01-01", "2006-12-31")
            assert finding[5] == f"{words} than its neighbours' flow, over the whole record: shifted dates?"
    ((gauge, check, *_, detail),) = found(np.roll(flow[2:3], -1, axis=1), rain[2:3])
    assert (gauge, check) == ("g0", "shift")
    assert detail.startswith("1 day earlier than its rain")
    assert found(np.roll(flow[2:3], 1, axis=1), rain[2:3]) == []  # a large river is late


def test_a_whole_record_in_other_units() -> None:
    rain, flow = rivers()
    for factor, words in ((35.3147, "times the flow"), (1 / 25.4, "th of the flow")):
        wrong = flow * 0.02 if factor > 1 else flow.copy()  # no more flow than rain, which has a check of its own
        wrong[3] *= factor
        ((gauge, check, days, *_, detail),) = found(wrong, rain)
        assert (gauge, check, days) == ("g3", "factor", len(DATES))
        assert words in detail
