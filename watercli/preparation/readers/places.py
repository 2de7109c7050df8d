"""Areas and places of catchments as attribute tables have them: units, and values that no place on Earth has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pint
from cf_xarray.units import units as registry
from pyproj import CRS

from watercli.config import Catchments
from watercli.errors import ConfigError, DataError
from watercli.log import log
from watercli.preparation.geometry import listed

GREATEST_AREA = 7e6
"""km2: more than any river's; the Amazon has 6.2 million at most."""


def areas(column: pd.Series, catchments: Catchments) -> pd.Series:
    """Return areas in km2, by gauge; NaN for one that is not above zero where such gauges are to be left out.

    Raises
    ------
    ConfigError
        If ``recipe.catchments.area_units`` is no area.
    DataError
        If an area is not above zero, or greater than any river's.
    """
    try:
        scale = float(registry.Quantity(1.0, catchments.area_units).to("km2").magnitude)
    except (pint.PintError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"recipe.catchments.area_units is '{catchments.area_units}', which is no area; write it like km2"
        ) from error
    column = column * scale if scale != 1.0 else column
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


def longitudes(latitude: pd.Series, longitude: pd.Series, catchments: Catchments) -> pd.Series:
    """Return longitudes from -180 to 180 degrees east; tables may count to 360.

    Raises
    ------
    DataError
        If a latitude lies beyond 90 degrees, or a longitude beyond what can be.
    """
    names = f"'{' or '.join(catchments.latitude)}' and '{' or '.join(catchments.longitude)}'"
    north = latitude.index[latitude.abs() > 90]
    if len(north):
        swapped = longitude.abs().max() <= 90 and latitude.abs().max() <= 360
        cure = (
            "swap recipe.catchments.latitude and recipe.catchments.longitude"
            if swapped
            else f"columns {names} must hold degrees"
        )
        raise DataError(
            f"{listed(north, 'gauge', 'has', 'have')} a latitude beyond 90 degrees ({latitude[north[0]]:g}); {cure}"
        )
    east = longitude.index[(longitude < -180) | (longitude > 360)]
    if len(east):
        raise DataError(
            f"{listed(east, 'gauge', 'has', 'have')} a longitude of {longitude[east[0]]:g}; columns {names} must hold "
            "degrees"
        )
    return longitude.where(longitude <= 180, longitude - 360)


def warn_if_swapped(latitude: pd.Series, longitude: pd.Series, crs: CRS) -> None:
    """Warn where all gauges lie outside the area for which the grid's CRS is made, and inside it when swapped."""
    use = crs.area_of_use
    if use is None:
        return
    if not _inside(latitude, longitude, use.bounds).any() and _inside(longitude, latitude, use.bounds).all():
        log.warning(
            "All gauges lie outside %s, where recipe.grid.crs '%s' is used, and inside it when latitude and longitude "
            "are swapped: swap recipe.catchments.latitude and recipe.catchments.longitude?", use.name, crs.name,
        )  # fmt: skip


def _inside(latitude: pd.Series, longitude: pd.Series, bounds: tuple[float, float, float, float]) -> np.ndarray:
    west, south, east, north = bounds
    return np.asarray(latitude.between(south, north) & longitude.between(west, east))
