"""The daily rainfall-runoff model GR4J, vectorised over catchments or cells.

Perrin, Michel & Andréassian (2003), Improvement of a parsimonious model for streamflow simulation, Journal of
Hydrology 279, 275-289, doi:10.1016/S0022-1694(03)00225-7; the equation numbers below are those of that paper.

Shapes: ``T`` days, ``N`` catchments (or cells).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

DIRECT_SHARE = 0.1
"""Share of the effective rain that bypasses the routing store (equation 8 and figure 1 of the paper)."""


@dataclass(frozen=True)
class Parameters:
    """GR4J's four parameters, each ``[N]``."""

    x1: Array
    """Capacity of the production store, mm."""
    x2: Array
    """Groundwater exchange coefficient, mm/day; negative loses water."""
    x3: Array
    """One-day-ahead capacity of the routing store, mm."""
    x4: Array
    """Time base of the first unit hydrograph, days; at least 0.5."""


def gr4j(
    rain: Array, pet: Array, parameters: Parameters, fill: tuple[float, float] = (0.3, 0.5)
) -> tuple[Array, Array]:
    """Simulate flow and the production store.

    Parameters
    ----------
    rain, pet
        ``[T, N]`` daily rain and potential evaporation, mm/day.
    parameters
        ``[N]`` each.
    fill
        Initial level of the production and the routing store, as a share of their capacities.

    Returns
    -------
    flow, level
        ``[T, N]`` flow in mm/day and the production store's level at the end of the day, as a share of its capacity.
    """
    effective, level = production(rain, pet, parameters.x1, fill[0])
    return routing(effective, parameters, fill[1]), level


def production(rain: Array, pet: Array, capacity: Array, fill: float = 0.3) -> tuple[Array, Array]:
    """Account for soil moisture: return effective rain (mm/day) and the store's level (share), both ``[T, N]``."""
    # The paper caps the scaled net input at 13 in its code: tanh is 1 beyond.
    net_rain = np.tanh(np.minimum(np.maximum(rain - pet, 0) / capacity, 13))
    net_pet = np.tanh(np.minimum(np.maximum(pet - rain, 0) / capacity, 13))
    effective, level = np.empty_like(rain), np.empty_like(rain)
    store = fill * capacity
    for day in range(len(rain)):
        share = store / capacity
        gain = capacity * (1 - share**2) * net_rain[day] / (1 + share * net_rain[day])  # equation 3
        loss = store * (2 - share) * net_pet[day] / (1 + (1 - share) * net_pet[day])  # equation 4
        store = store + gain - loss
        percolation = store * (1 - (1 + (4 / 9 * store / capacity) ** 4) ** -0.25)  # equation 6
        store = store - percolation
        effective[day] = percolation + np.maximum(rain[day] - pet[day], 0) - gain  # equation 8
        level[day] = store / capacity
    return effective, level


def routing(effective: Array, parameters: Parameters, fill: float = 0.5) -> Array:
    """Route effective rain ``[T, N]`` through unit hydrographs and the routing store; return flow, mm/day."""
    slow = _convolve((1 - DIRECT_SHARE) * effective, _ordinates(parameters.x4, both_limbs=False))
    direct = _convolve(DIRECT_SHARE * effective, _ordinates(parameters.x4, both_limbs=True))
    flow = np.empty_like(effective)
    store = fill * parameters.x3
    for day in range(len(effective)):
        exchange = parameters.x2 * (store / parameters.x3) ** 3.5  # equation 18
        store = np.maximum(store + slow[day] + exchange, 0)  # equation 19
        outflow = store * (1 - (1 + (store / parameters.x3) ** 4) ** -0.25)  # equation 20
        store = store - outflow
        flow[day] = outflow + np.maximum(direct[day] + exchange, 0)  # equations 22 and 23
    return flow


def _ordinates(base: Array, *, both_limbs: bool) -> Array:
    """Return a unit hydrograph's daily ordinates ``[days, N]``: UH1 (one limb) or UH2 (both limbs)."""
    days = np.arange(int(np.ceil((2 if both_limbs else 1) * base.max())) + 1)[:, None]
    scaled = days / base
    rising = np.minimum(scaled, 1) ** 2.5
    if not both_limbs:
        return np.diff(rising, axis=0)  # equations 9-11, 16
    falling = 1 - 0.5 * np.maximum(2 - scaled, 0) ** 2.5
    return np.diff(np.where(scaled <= 1, 0.5 * rising, falling), axis=0)  # equations 12-15, 17


def _convolve(water: Array, ordinates: Array) -> Array:
    """Spread each day's water ``[T, N]`` over the following days."""
    routed = np.zeros_like(water)
    for lag, share in enumerate(ordinates[: len(water)]):
        routed[lag:] += share * water[: len(water) - lag]
    return routed
