"""Areas and places of catchments as attribute tables have them: units, and values that no place on Earth has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pint
from numpy.typing import NDArray
from pyproj import CRS
from scipy.spatial import cKDTree

from watercli.config import Catchments
from watercli.errors import ConfigError, DataError
from watercli.hydrology.distances import EARTH_RADIUS_KM
from watercli.hydrology.units import parse
from watercli.log import log
from watercli.preparation.geometry import listed
from watercli.preparation.quality import marks

GREATEST_AREA = 7e6
"""km2: more than any river's; the Amazon has 6.2 million at most."""
ALONE, NEAR = 1000, 300
"""km: a gauge is alone if no other is as near as the first; the second is the distance to neighbours."""
LEAST_AREA = 0.01
"""km2, a hectare: gauged catchments are larger."""


def areas(column: pd.Series, catchments: Catchments, stated: str | None = None) -> pd.Series:
    """Return areas in km2, by gauge; NaN for one that is not above zero where such gauges are to be left out.

    ``stated`` are the units that the file states; they count unless the recipe names others than km2.

    Raises
    ------
    ConfigError
        If ``recipe.catchments.area_units`` is no area.
    DataError
        If an area is not above zero, or greater than any river's.
    """
    given = _given(catchments.area_units, stated)
    try:
        scale = float(parse(given).to("km2").magnitude)
    except (pint.PintError, ValueError) as error:
        raise ConfigError(
            f"recipe.catchments.area_units is '{catchments.area_units}', which is no area; write it like km2"
        ) from error
    column = column * scale if scale != 1.0 else column
    tiny = column.index[(column > 0) & (column < LEAST_AREA)]
    if len(tiny):
        log.warning(
            "%s an area of less than %g km2 (%.3g): are recipe.catchments.area_units, %s, right?",
            listed(tiny, "gauge", "has", "have"), LEAST_AREA, column[tiny[0]], given,
        )  # fmt: skip
    small = column.index[column <= 0]
    if len(small) and catchments.on_missing != "drop":
        raise DataError(
            f"{listed(small, 'gauge', 'has', 'have')} no positive area ({column[small[0]]:g} in column "
            f"'{' or '.join(catchments.area)}'); mend it, name the mark in missing_values of "
            "recipe.catchments.tables, or leave such gauges out with recipe.catchments.on_missing=drop"
        )
    great = column.index[column > GREATEST_AREA]
    if len(great):
        raise DataError(
            f"{listed(great, 'gauge', 'has', 'have')} an area of {column[great[0]]:g} km2 by column "
            f"'{' or '.join(catchments.area)}', more than any river's; state its units in "
            "recipe.catchments.area_units (m2?)"
        )
    return column.mask(column <= 0)


def _given(units: str, stated: str | None) -> str:
    """Return the units of areas: those of the recipe, or those that the file states, where these are an area."""
    try:
        is_area = stated is not None and parse(stated).check("[area]")
    except ValueError:
        is_area = False
    if units != "km2" or not is_area or parse(str(stated)) == parse("km2"):
        return units
    log.info("Areas are in %s by their file", stated)
    return str(stated)


def longitudes(latitude: pd.Series, longitude: pd.Series, catchments: Catchments) -> pd.Series:
    """Return longitudes from -180 to 180 degrees east; tables may count to 360.

    Raises
    ------
    DataError
        If a latitude lies beyond 90 degrees, or a longitude beyond what can be.
    """
    names = f"'{' or '.join(catchments.latitude)}' and '{' or '.join(catchments.longitude)}'"
    nowhere = latitude.index[(latitude == 0) & (longitude == 0)]
    if len(nowhere):
        raise DataError(
            f"{listed(nowhere, 'gauge', 'has', 'have')} latitude and longitude 0, in the Atlantic; mend columns {names}"
        )
    north = latitude.index[latitude.abs() > 90]
    if len(north):
        swapped = longitude.abs().max() <= 90 and latitude.abs().max() <= 360
        cure = (
            "swap recipe.catchments.latitude and recipe.catchments.longitude"
            if swapped
            else f"columns {names} must hold degrees"
        )
        if marks.is_likely(latitude[north[0]]):
            cure = "a missing mark? Name it in missing_values of recipe.catchments.tables"
        raise DataError(
            f"{listed(north, 'gauge', 'has', 'have')} a latitude beyond 90 degrees ({latitude[north[0]]:g}); {cure}"
        )
    east = longitude.index[(longitude < -180) | (longitude > 360)]
    if len(east):
        raise DataError(
            f"{listed(east, 'gauge', 'has', 'have')} a longitude of {longitude[east[0]]:g}; columns {names} must hold "
            "degrees"
        )
    longitude = longitude.where(longitude <= 180, longitude - 360)
    _warn_of_mirrored(latitude, longitude)
    return longitude


def _warn_of_mirrored(latitude: pd.Series, longitude: pd.Series) -> None:
    """Warn of a gauge that is far from all others, and near one where its longitude has the other sign."""
    if len(latitude) < 2 or latitude.isna().any() or longitude.isna().any():
        return
    north = latitude.to_numpy(np.float64)
    places, mirrored = (_on_sphere(north, sign * longitude.to_numpy(np.float64)) for sign in (1, -1))
    tree = cKDTree(places)
    alone = tree.query(places, k=2)[0][:, 1] > ALONE
    distance, nearest = tree.query(mirrored)
    doubtful = latitude.index[alone & (distance < NEAR) & (nearest != np.arange(len(latitude)))]
    if len(doubtful):
        log.warning(
            "%s more than %d km from every other gauge (%s: longitude %g), and near one with a longitude of the other "
            "sign: west is negative; mend the attribute table",
            listed(doubtful, "gauge"), ALONE, doubtful[0], longitude[doubtful[0]],
        )  # fmt: skip


def _on_sphere(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places ``[C, 3]`` in km from the centre of the Earth; their distances are chords."""
    north, east = np.deg2rad(latitude), np.deg2rad(longitude)
    axes = np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)
    return EARTH_RADIUS_KM * np.stack(axes, axis=1)


def warn_if_swapped(latitude: pd.Series, longitude: pd.Series, crs: CRS) -> None:
    """Warn where all gauges lie outside the area for which the grid's CRS is made, and inside it when mended.

    Mended are latitude and longitude that are swapped, and west longitudes that are written as positive numbers.
    """
    use = crs.area_of_use
    if use is None:
        return
    if not _inside(latitude, longitude, use.bounds).any() and _inside(latitude, -longitude, use.bounds).all():
        log.warning(
            "All gauges lie outside %s, where recipe.grid.crs '%s' is used, and inside it with longitudes of the other "
            "sign: west is negative; mend the attribute table", use.name, crs.name,
        )  # fmt: skip
    if not _inside(latitude, longitude, use.bounds).any() and _inside(longitude, latitude, use.bounds).all():
        log.warning(
            "All gauges lie outside %s, where recipe.grid.crs '%s' is used, and inside it when latitude and longitude "
            "are swapped: swap recipe.catchments.latitude and recipe.catchments.longitude?", use.name, crs.name,
        )  # fmt: skip


def _inside(latitude: pd.Series, longitude: pd.Series, bounds: tuple[float, float, float, float]) -> np.ndarray:
    west, south, east, north = bounds
    return np.asarray(latitude.between(south, north) & longitude.between(west, east))
