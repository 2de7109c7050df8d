"""Climate indices of catchments from daily weather, as CAMELS defines them.

Addor et al. (2017), The CAMELS data set, Hydrology and Earth System Sciences 21, 5293-5313,
doi:10.5194/hess-21-5293-2017, table 2; seasonality after Woods (2009), Analytical model of seasonal climate impacts on
snow hydrology, Advances in Water Resources 32, 1465-1481, doi:10.1016/j.advwatres.2009.06.011, equation 14.
Shapes: C catchments, T days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.config import Modality, QuantityName
from watercli.config.data import ClimateIndex
from watercli.hydrology.quantities import quantity_of

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
YEAR = 365.25
LEAST_DAYS = 365
"""Days that must have all that an index needs; with fewer it is missing."""
HIGH = 5.0
"""Times the mean precipitation, from which a day is one of high precipitation."""
LOW = 1.0
"""mm/day, below which a day is one of low precipitation."""
FREEZING = 0.0
"""Degrees C: up to here, precipitation is snow."""

QUANTITIES: Mapping[str, tuple[QuantityName, str]] = {
    "precipitation": ("precipitation", "mm/day"),
    "temperature": ("air_temperature", "degC"),
    "pet": ("evaporation", "mm/day"),
}
"""What each input of an index measures, and in which units it is computed with."""


def series_of(
    name: str, modalities: Mapping[str, Modality], stated: Mapping[str, QuantityName] | None = None
) -> list[str]:
    """Return the series that measure an input of an index: the first of them, of temperature all.

    ``stated`` says what a modality measures where its name and units do not tell.
    """
    measured = {
        modality: quantity_of(modality, settings, (stated or {}).get(modality))
        for modality, settings in modalities.items()
        if settings.kind == "series"
    }
    fitting = [modality for modality, known in measured.items() if known and known.name == QUANTITIES[name][0]]
    if name != "temperature":
        return fitting[:1]
    means = [modality for modality in fitting if not any(end in modality.lower() for end in ("max", "min"))]
    return means[:1] or fitting


@dataclass(frozen=True)
class Weather:
    """Daily weather, ``[C, T]`` each, NaN where missing; inputs that no index needs may be left out."""

    days: pd.DatetimeIndex
    precipitation: Floats | None = None
    """mm/day."""
    temperature: Floats | None = None
    """Degrees C."""
    pet: Floats | None = None
    """Potential evaporation, mm/day."""


def index_of(weather: Weather, index: ClimateIndex) -> Floats:
    """Return an index of each catchment, ``[C]``; NaN where fewer than `LEAST_DAYS` days have all that it needs."""
    inputs = [getattr(weather, name) for name in NEEDS[index]]
    known = np.logical_and.reduce([np.isfinite(values) for values in inputs])
    values = np.full(len(known), np.nan)
    for c in np.flatnonzero(known.sum(axis=1) >= LEAST_DAYS):
        values[c] = INDICES[index](weather.days, *(np.where(known[c], record[c], np.nan) for record in inputs))
    return values


def aridity(_: pd.DatetimeIndex, precipitation: Floats, pet: Floats) -> float:
    """Return the ratio of mean potential evaporation to mean precipitation; NaN without precipitation."""
    total = np.nansum(precipitation)
    return float(np.nansum(pet) / total) if total > 0 else np.nan


def snow_fraction(_: pd.DatetimeIndex, precipitation: Floats, temperature: Floats) -> float:
    """Return the share of the precipitation on days that are not above freezing; NaN without precipitation."""
    total = np.nansum(precipitation)
    return float(np.nansum(precipitation[temperature <= FREEZING]) / total) if total > 0 else np.nan


def seasonality(days: pd.DatetimeIndex, precipitation: Floats, temperature: Floats) -> float:
    """Return by how much precipitation peaks in summer (above 0) or winter (below 0), relative to its mean.

    Sine curves of one year are fitted by least squares to precipitation over its mean and to temperature; Woods's index
    is the amplitude of the first times the cosine of the angle between them.
    """
    known = np.isfinite(precipitation)
    mean = precipitation[known].mean()
    if mean <= 0:
        return np.nan
    angle = 2 * np.pi * days[known].dayofyear.to_numpy() / YEAR
    curves = np.stack([np.ones_like(angle), np.sin(angle), np.cos(angle)], axis=1)
    both = np.stack([precipitation[known] / mean, temperature[known]], axis=1)
    _, *harmonics = np.linalg.lstsq(curves, both, rcond=None)[0]
    rain, warmth = np.stack(harmonics, axis=1)
    amplitude = float(np.hypot(*warmth))
    return float(rain @ warmth / amplitude) if amplitude > 0 else np.nan


def frequency(chosen: Flags, known: Flags) -> float:
    """Return on how many days a year a condition holds, of the days that are known."""
    return float(YEAR * chosen.sum() / known.sum())


def duration(chosen: Flags) -> float:
    """Return the mean length of its spells in days; 0 without any. A missing day ends one."""
    spells = int(chosen[0]) + int((chosen[1:] & ~chosen[:-1]).sum())
    return float(chosen.sum() / spells) if spells else 0.0


def _high(precipitation: Floats) -> Flags:
    high: Flags = (precipitation >= HIGH * np.nanmean(precipitation)) & (precipitation > 0)
    return high


def _low(precipitation: Floats) -> Flags:
    low: Flags = precipitation < LOW
    return low


def _mean(_: pd.DatetimeIndex, values: Floats) -> float:
    return float(np.nanmean(values))


INDICES: Mapping[ClimateIndex, Callable[..., float]] = {
    "p_mean": _mean,
    "t_mean": _mean,
    "pet_mean": _mean,
    "aridity": aridity,
    "p_seasonality": seasonality,
    "frac_snow": snow_fraction,
    "high_prec_freq": lambda _, rain: frequency(_high(rain), np.isfinite(rain)),
    "high_prec_dur": lambda _, rain: duration(_high(rain)),
    "low_prec_freq": lambda _, rain: frequency(_low(rain), np.isfinite(rain)),
    "low_prec_dur": lambda _, rain: duration(_low(rain)),
}
"""The functions, of the days and of what `NEEDS` names, ``[T]`` each, NaN where missing."""
NEEDS: Mapping[ClimateIndex, tuple[str, ...]] = {
    "p_mean": ("precipitation",),
    "t_mean": ("temperature",),
    "pet_mean": ("pet",),
    "aridity": ("precipitation", "pet"),
    "p_seasonality": ("precipitation", "temperature"),
    "frac_snow": ("precipitation", "temperature"),
    "high_prec_freq": ("precipitation",),
    "high_prec_dur": ("precipitation",),
    "low_prec_freq": ("precipitation",),
    "low_prec_dur": ("precipitation",),
}
"""The parts of `Weather` that an index needs."""
