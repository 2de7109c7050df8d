"""An LSTM that begins with the weights of another, fitted elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from watercli.baselines import lstm
from watercli.baselines.mlp import Regional
from watercli.errors import ConfigError

CATCHMENTS, DAYS = 3, 420


def test_what_is_missing_differs_between_two_stores() -> None:
    rng = np.random.default_rng(0)
    weather = rng.normal(size=(2, CATCHMENTS, DAYS))
    regional = Regional(
        rng.normal(size=(CATCHMENTS, 2)), rng.gamma(1.0, size=(CATCHMENTS, DAYS)), slice(0, DAYS), 0.0, 0
    )
    gappy_weather, gappy = weather.copy(), replace(regional, static=regional.static.copy())
    gappy_weather[1, 0, 5] = gappy.static[2, 1] = np.nan

    with pytest.raises(ConfigError, match="was fitted to 4 inputs, and the store has 6"):
        lstm.fit(gappy_weather, gappy, 1, start=lstm.Fitted.begun(weather, regional))

    parent = lstm.fit(weather, replace(regional, all_flagged=True), 1, 12)
    child = lstm.fit(gappy_weather, replace(gappy, all_flagged=True), 1, start=parent)
    assert child.network.lstm.hidden_size == 12  # as the parent has
    assert child.network.lstm.input_size == 8
    assert np.isfinite(child.simulate(slice(None), slice(400, DAYS))).all()
