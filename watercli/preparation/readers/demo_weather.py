"""Generated weather for the demo domain: terrain, daily rain and temperature.

- Rain: a latent Gaussian field, autoregressive in time and correlated in space, cut off below and raised to a power
  (Bárdossy & Plate 1992, Water Resources Research 28, 1247-1259, doi:10.1029/91WR02589). The cut-off makes it
  intermittent; its seasonal course and the terrain set the wet-day frequency and the mean.
- Temperature: a seasonal cycle, the lapse rate of the ICAO standard atmosphere, and autoregressive anomalies
  (Richardson 1981, Water Resources Research 17, 182-190, doi:10.1029/WR017i001p00182).

Numbers without a source are plausible choices for a temperate maritime climate, not estimates.
Shapes: ``T Y X``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.floating]

LAPSE_RATE = 0.0065
"""Fall of temperature with height in the ICAO standard atmosphere, K/m."""
RAIN_POWER = 2.0
"""Exponent of the truncated Gaussian; 2 gives wet days a long tail (coefficient of variation near 1.4)."""
DAYS_AT_ONCE = 64
"""Days whose fields are worked on at a time."""


class GaussianFields:
    """Draws of a zero-mean, unit-variance Gaussian field with correlation ``exp(-(d / length)^2 / 2)``.

    That correlation is a product of one along y and one along x, so a square root of each, applied to white noise
    from both sides, gives it exactly.
    """

    def __init__(self, shape: tuple[int, int], length: float) -> None:
        self.shape = shape
        self._along_y, self._along_x = (_square_root(cells, length) for cells in shape)

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Return ``[count, Y, X]`` independent fields."""
        noise = rng.standard_normal((count, *self.shape))
        return np.asarray(self._along_y @ noise @ self._along_x)

    def evolve(self, days: int, autocorrelation: float, rng: np.random.Generator) -> Iterator[tuple[slice, Array]]:
        """Yield consecutive ranges of days and their fields ``[n, Y, X]``.

        The fields are of unit variance, and have this lag-one autocorrelation.
        """
        last: Array | None = None
        for block in blocks_of(days):
            fields = self.draw(block.stop - block.start, rng)
            for day, field in enumerate(fields):
                if last is not None:
                    field *= np.sqrt(1 - autocorrelation**2)
                    field += autocorrelation * last
                last = fields[day]
            yield block, fields


def blocks_of(count: int, size: int = DAYS_AT_ONCE) -> Iterator[slice]:
    """Yield consecutive ranges of days or cells, so that intermediate arrays stay small."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def _square_root(cells: int, length: float) -> Array:
    """Return the symmetric square root ``[cells, cells]`` of the correlation along one axis."""
    distance = np.subtract.outer(np.arange(cells), np.arange(cells)) / length
    values, vectors = np.linalg.eigh(np.exp(-(distance**2) / 2))
    return np.asarray(vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T)


def terrain(shape: tuple[int, int], cell_km: float, rng: np.random.Generator) -> tuple[Array, NDArray[np.bool_]]:
    """Return altitude in metres and land, both ``[Y, X]``: an island with a ragged coast and hills in its west."""
    rows, columns = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])[None, :]
    island = 1.8 - 2.2 * (np.abs(rows) ** 3 + np.abs(columns) ** 3)
    rough = GaussianFields(shape, 35 / cell_km).draw(1, rng)[0]
    fine = GaussianFields(shape, 10 / cell_km).draw(1, rng)[0]
    height = island + 0.7 * rough
    hills = np.clip(height, 0, None) * np.exp(-(((columns + 0.3) / 0.5) ** 2)) * np.exp(0.35 * fine)
    altitude = 15 + 800 * hills / hills.max()
    return altitude, height > 0


def season(times: pd.DatetimeIndex, peak_day: float) -> Array:
    """Return the annual cosine ``[T]`` that is 1 on ``peak_day`` of the year."""
    return np.cos(2 * np.pi * (times.dayofyear.to_numpy() - peak_day) / 365.25)


def rain(times: pd.DatetimeIndex, altitude: Array, cell_km: float, rng: np.random.Generator) -> Array:
    """Return daily rain ``[T, Y, X]`` in mm/day."""
    amount = np.empty((len(times), *altitude.shape))
    for days, fronts in GaussianFields(altitude.shape, 90 / cell_km).evolve(len(times), 0.55, rng):
        amount[days] = np.sqrt(0.8) * fronts
    for days, showers in GaussianFields(altitude.shape, 20 / cell_km).evolve(len(times), 0.2, rng):
        cycle = season(times[days], 350)
        threshold = 0.05 - 0.2 * cycle
        mean = 2.6 * (1 + 0.25 * cycle)[:, None, None] * (0.75 + altitude / 450)
        excess = np.maximum(amount[days] + np.sqrt(0.2) * showers - threshold[:, None, None], 0) ** RAIN_POWER
        amount[days] = mean / _mean_excess(threshold)[:, None, None] * excess
    return amount


def _mean_excess(threshold: Array) -> Array:
    """Return the expectation of ``max(Z - threshold, 0) ** RAIN_POWER`` for a standard normal ``Z``."""
    z = np.linspace(-8, 8, 4001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    excess = np.maximum(z - threshold[:, None], 0) ** RAIN_POWER
    return np.asarray(np.trapezoid(excess * density, z, axis=-1))


def temperature(times: pd.DatetimeIndex, altitude: Array, cell_km: float, rng: np.random.Generator) -> Array:
    """Return daily mean temperature ``[T, Y, X]`` in degrees Celsius."""
    northward = np.arange(altitude.shape[0])[:, None] * cell_km
    normal = 10.5 - LAPSE_RATE * altitude - 0.006 * northward
    field = np.empty((len(times), *altitude.shape))
    for days, anomaly in GaussianFields(altitude.shape, 150 / cell_km).evolve(len(times), 0.8, rng):
        field[days] = normal + 6.0 * season(times[days], 203)[:, None, None] + 2.4 * anomaly
    return field
