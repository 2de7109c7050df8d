"""The physical quantity that a modality measures, and the limits of its values on Earth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from cf_xarray.units import units as registry

from watercli.config import Modality, QuantityName
from watercli.config.defaults import RIVER_FLOW
from watercli.hydrology.units import parse


@dataclass(frozen=True)
class Quantity:
    """A quantity and its limits, in ``units``."""

    name: QuantityName
    units: str
    words: str
    """Regular expression for the names that it goes by."""
    possible: tuple[float, float]
    """Least and greatest daily value."""
    usual: tuple[float, float]
    """Between these lies the mean of a record; outside, the units are probably others than stated."""

    noise: float = 0.0
    """By so much may a value lie beyond: what packing and sums leave, such as -4.5e-05 mm of rain."""

    def possible_in(self, units: str) -> tuple[float, float]:
        """Return the limits of a daily value in other units, with room for rounding noise."""
        least, greatest = self.possible
        return self._in(units, (least - self.noise, greatest + self.noise))

    def usual_in(self, units: str) -> tuple[float, float]:
        """Return the limits of a record's mean in other units."""
        return self._in(units, self.usual)

    def _in(self, units: str, limits: tuple[float, float]) -> tuple[float, float]:
        return _converted(limits, self.units, units)


@cache  # thousands of records have the same limits
def _converted(limits: tuple[float, float], source: str, target: str) -> tuple[float, float]:
    unit = parse(target).units
    least, greatest = (float(registry.Quantity(limit, source).to(unit).magnitude) for limit in limits)
    return least, greatest


# Extremes: WMO World Weather and Climate Extremes Archive, wmo.asu.edu (1,825 mm in a day, Foc-Foc 1966; -89.2 and
# 56.7 degrees C). The wettest places have 33 mm/day over the years. No daily runoff exceeds the greatest daily rain.
# The Amazon carries 2e5 m3/s, and twice that at most.
QUANTITIES = (
    Quantity("soil_moisture", "1", r"soil|swvl|moisture", (0, 1), (0.005, 1), 1e-3),
    Quantity("evaporation", "mm/day", r"evap|\bpet|\bet0?\b|\beto\b", (-5, 30), (0.05, 15)),
    Quantity("precipitation", "mm/day", r"precip|rain|prcp|\bpr\b|\btp\b", (0, 1825), (0.01, 40), 1e-3),
    Quantity("river_flow", "mm/day", RIVER_FLOW, (0, 1825), (1e-4, 40), 1e-6),
    Quantity("river_flow", "m3/s", RIVER_FLOW, (0, 4e5), (1e-4, 2.5e5), 1e-6),
    Quantity("air_temperature", "degC", r"temp|\btas|\bt2m\b|\bt(max|min|mean|avg)\b", (-89.2, 56.7), (-60, 40)),
)


def quantity_of(name: str, modality: Modality, stated: QuantityName | None = None) -> Quantity | None:
    """Return what a modality measures: as stated, or by its names and the dimension of its units; None if unknown."""
    source = " ".join(source.variable for source in modality.source)
    text = re.sub(r"[_\W]+", " ", f"{name} {source} {modality.long_name}".lower())
    for quantity in QUANTITIES:
        matches = quantity.name == stated if stated else re.search(quantity.words, text) is not None
        if matches and _same_dimension(quantity.units, modality.units):
            return quantity
    return None


def _same_dimension(first: str, second: str) -> bool:
    try:
        return bool(parse(first).dimensionality == parse(second).dimensionality)
    except ValueError:
        return False  # units that are none are refused by the readers, with a sentence
