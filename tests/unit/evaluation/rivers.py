"""A river and a simulation of it, the same on every machine: no random number generator of a library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

DAYS = 900


@dataclass(frozen=True)
class River:
    """Daily series ``[T]`` in mm/day."""

    times: pd.DatetimeIndex
    rain: np.ndarray
    observed: np.ndarray
    """With three gaps."""
    simulated: np.ndarray

    @property
    def simulated_where_observed(self) -> np.ndarray:
        return np.where(np.isfinite(self.observed), self.simulated, np.nan)


def river() -> River:
    """Return two reservoirs fed by one rain; those of the simulation are slower, and two days late at times."""
    state, draws = 12345, []
    for _ in range(2 * DAYS):
        state = (1103515245 * state + 12345) % 2**31
        draws.append(state / 2**31)
    drawn = np.array(draws)
    day = np.arange(DAYS)
    season = 1 + 0.5 * np.cos(2 * np.pi * day / 365.25)
    rain = np.where(drawn[:DAYS] < 0.35, -7 * np.log(1 - drawn[DAYS:]), 0.0) * season
    observed = np.round(_reservoirs(rain, 2.0, 60.0, 0.6, late=0), 3)
    simulated = np.round(1.1 * _reservoirs(rain, 2.5, 70.0, 0.55, late=2) ** 0.95, 3)
    observed[200:215] = np.nan
    observed[[0, 477]] = np.nan
    return River(pd.date_range("2000-10-01", periods=DAYS), rain, observed, simulated)


def _reservoirs(rain: np.ndarray, fast: float, slow: float, share: float, *, late: int) -> np.ndarray:
    quick = base = 1.0
    flow = np.empty(len(rain))
    for day in range(len(rain)):
        lag = late * (day // 90 % 2)
        wet = max(rain[max(day - lag, 0)] - 0.8, 0)
        quick += share * wet
        base += (1 - share) * wet
        flow[day] = quick / fast + base / slow
        quick -= quick / fast
        base -= base / slow
    return flow
