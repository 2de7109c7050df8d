"""Climatology, interpolation and raw weather against hand-made examples and brute force."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from watercli.baselines.interpolation import carry_forward, interpolate
from watercli.baselines.weather import antecedent
from watercli.hydrology.climatology import Climatology, calendar_slot


def blocks(values: pd.DataFrame, days: int = 50) -> list[tuple[pd.DatetimeIndex, np.ndarray]]:
    """Cut a table into blocks of consecutive days."""
    return [
        (pd.DatetimeIndex(values.index[i : i + days]), values.to_numpy()[i : i + days])
        for i in range(0, len(values), days)
    ]


def test_calendar_slot_is_that_of_a_leap_year() -> None:
    dates = pd.DatetimeIndex(["2001-01-01", "2001-02-28", "2000-02-29", "2001-03-01", "2000-03-01", "2001-12-31"])
    assert calendar_slot(dates).tolist() == [0, 58, 59, 60, 60, 365]


def test_climatology_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    dates = pd.date_range("2000-01-01", "2003-12-31")
    table = pd.DataFrame(rng.gamma(1, size=(len(dates), 3)), index=dates)
    table = table.mask(rng.random(table.shape) < 0.3)
    found = Climatology.of(blocks(table), 3)
    slots = calendar_slot(dates)
    for date in pd.DatetimeIndex(["2005-01-03", "2005-03-01", "2004-02-29", "2005-12-30", "2005-07-15"]):
        slot = calendar_slot(pd.DatetimeIndex([date]))[0]
        distance = np.abs(slots - slot)
        near = np.minimum(distance, 366 - distance) <= 7
        np.testing.assert_allclose(found.at(pd.DatetimeIndex([date]))[0], table[near].mean(), rtol=1e-5)


def test_climatology_without_a_near_day_is_the_mean_and_without_any_is_missing() -> None:
    dates = pd.date_range("2000-06-01", "2000-06-30")
    table = pd.DataFrame({0: np.arange(30.0), 1: np.nan}, index=dates)
    winter = Climatology.of(blocks(table), 2).at(pd.DatetimeIndex(["2001-01-01"]))[0]
    assert winter[0] == pytest.approx(14.5)
    assert np.isnan(winter[1])


def test_interpolation_by_hand() -> None:
    """One row of five days and two patches of one value; the second patch is never visible."""
    values = np.array([[[1.0, 9], [9, 9], [3, 9], [9, 9], [9, 9]]])[..., None]
    visible = np.zeros((1, 5, 2), dtype=bool)
    visible[0, [0, 2], 0] = True
    found = interpolate(values, visible, np.full_like(values, -1.0))[..., 0]
    # Linear, then nearest; the unseen patch: the day's visible mean, else the fallback.
    assert found[0].tolist() == [[1, 1], [2, -1], [3, 3], [3, -1], [3, -1]]


def test_interpolation_against_brute_force() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3, 12, 4, 2))
    visible = rng.random((3, 12, 4)) < 0.3
    visible[0, :, 1] = False
    fallback = rng.normal(size=values.shape)
    found = interpolate(np.where(visible[..., None], values, 1e9), visible, fallback)
    for r, t, p, v in np.ndindex(values.shape):
        days = np.flatnonzero(visible[r, :, p])
        if len(days):
            expected = np.interp(t, days, values[r, days, p, v])
        elif visible[r, t].any():
            expected = values[r, t][visible[r, t]].mean()
        else:
            expected = fallback[r, t, p, v]
        assert found[r, t, p, v] == pytest.approx(expected)


def test_the_latest_day_by_hand() -> None:
    values = np.array([[[9.0, 9], [1, 9], [9, 7], [3, 9], [9, 9]]])[..., None]
    visible = np.zeros((1, 5, 2), dtype=bool)
    visible[0, [1, 3], 0] = visible[0, 2, 1] = True
    found = carry_forward(values, visible, np.full_like(values, -1.0))[..., 0]
    # Nothing yet: the day's visible mean, else the fallback. Nothing comes from a later day.
    assert found[0].tolist() == [[-1, -1], [1, 1], [1, 7], [3, 7], [3, 7]]


def test_interpolation_keeps_to_observed_cells() -> None:
    values = np.array([[[[1.0, np.nan]], [[0, 0]], [[3.0, np.nan]]]])
    visible = np.array([[[True], [False], [True]]])
    found = interpolate(values, visible, np.zeros_like(values))
    assert found[0, 1, 0, 0] == 2
    assert np.isnan(found[0, 1, 0, 1])


def test_antecedent_means_skip_missing_days() -> None:
    weather = np.array([[[1.0, np.nan, 3.0, 5.0, np.nan]]], dtype=np.float32)
    found = antecedent(weather, np.array([2, 3, 4]), [1, 3])
    np.testing.assert_allclose(found[0], [[3, 2], [5, 4], [np.nan, 4]])
