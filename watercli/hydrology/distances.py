"""Distances on the sphere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

EARTH_RADIUS_KM = 6371.0


def great_circle_km(latitude: Floats, longitude: Floats) -> Floats:
    """Return the distances between places ``[C]`` in degrees, by the haversine formula, in km: ``[C, C]``."""
    latitude, longitude = np.deg2rad(latitude), np.deg2rad(longitude)
    half = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half = half + np.cos(latitude[:, None]) * np.cos(latitude) * np.sin((longitude[:, None] - longitude) / 2) ** 2
    km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half.clip(0, 1)))
    return km
