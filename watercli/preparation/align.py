"""Bring a modality onto the recipe's days and target grid, and refuse what cannot serve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

from watercli.config import Period, Recipe
from watercli.errors import ConfigError, DataError


def days(period: Period) -> pd.DatetimeIndex:
    """Return the days of a period."""
    return pd.date_range(period.start, period.end, freq="D", unit="ns")


def to_days(name: str, data: xr.DataArray, period: Period) -> xr.DataArray:
    """Return ``data`` on every day of ``period``; a day without a value is NaN.

    Raises
    ------
    DataError
        If no day of ``data`` lies in ``period``.
    """
    index = data.indexes["time"]
    calendar = days(period)
    if not len(index.intersection(calendar)):
        raise DataError(
            f"The dates of '{name}' ({index.min():%Y-%m-%d} to {index.max():%Y-%m-%d}) do not meet "
            f"recipe.period ({period.start} to {period.end}); give files of that period or change the period"
        )
    return data.reindex(time=calendar)


def target_crs(recipe: Recipe) -> CRS:
    """Return the CRS of the target grid.

    Raises
    ------
    ConfigError
        If ``recipe.grid.crs`` names none.
    """
    try:
        return CRS.from_user_input(recipe.grid.crs)
    except CRSError as error:
        raise ConfigError(
            f"recipe.grid.crs is '{recipe.grid.crs}', which names no CRS; write it like EPSG:27700"
        ) from error


def same_crs(first: CRS, second: CRS) -> bool:
    """Whether two CRS have the same projection and ellipsoid; the datum's name does not count.

    NetCDF files often give projection and ellipsoid only (HadUK-Grid: Airy 1830, no datum).
    """
    if first.is_projected != second.is_projected:
        return False
    ellipsoids = [crs.ellipsoid for crs in (first, second) if crs.ellipsoid is not None]
    axes = [(ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre) for ellipsoid in ellipsoids]
    if len(axes) == 2 and not np.allclose(axes[0], axes[1], rtol=1e-9):
        return False
    return _parameters(first) == _parameters(second)


def _parameters(crs: CRS) -> dict[str, float | str]:
    operation = crs.coordinate_operation
    if operation is None:
        return {}
    numbers = {item.name: round(float(item.value) * item.unit_conversion_factor, 9) for item in operation.params}
    return {"method": operation.method_name, **numbers}


def check_grid(name: str, data: xr.DataArray, first: tuple[str, xr.DataArray] | None, crs: CRS) -> None:
    """Refuse a grid that is not in the target CRS, not evenly spaced, or not that of the ``first`` grid.

    Raises
    ------
    DataError
        In any of these cases.
    """
    own = CRS.from_wkt(data.attrs["crs_wkt"])
    if not same_crs(own, crs):
        raise DataError(
            f"The grid of '{name}' is in the CRS '{own.name}' ({_short(own)}), not in "
            f"recipe.grid.crs '{crs.name}'; set recipe.grid.crs, or state the target in "
            "recipe.grid.bounds and recipe.grid.cell"
        )
    check_even(name, data)
    for axis in ("y", "x"):
        if first is not None and not same_centres(data[axis], first[1][axis]):
            raise DataError(
                f"'{name}' is on another grid than '{first[0]}' ({_extent(data, axis)} against "
                f"{_extent(first[1], axis)}); give both at one resolution and extent, or "
                "state the target in recipe.grid.bounds and recipe.grid.cell"
            )


def check_even(name: str, data: xr.DataArray) -> None:
    """Refuse a grid that is not evenly spaced.

    Raises
    ------
    DataError
        If it is not, or has a single row or column.
    """
    check_axes(name, data)
    for axis in ("y", "x"):
        steps = np.diff(data[axis].values)
        if not np.allclose(steps, steps[0], rtol=1e-3):
            raise DataError(
                f"The grid of '{name}' is not evenly spaced along {axis} (steps of {steps.min():.6g} to "
                f"{steps.max():.6g}, as those of a Gaussian grid); state an even one in recipe.grid.bounds and "
                "recipe.grid.cell, onto which it is brought by area"
            )


def check_axes(name: str, data: xr.DataArray) -> None:
    """Refuse a grid of which a row or column is missing or there twice.

    Raises
    ------
    DataError
        If it has a single row or column, or two at one place.
    """
    for axis in ("y", "x"):
        centres = data[axis].values
        if len(centres) < 2:
            raise DataError(
                f"The grid of '{name}' has one cell only along {axis} ({centres[0]:g}); give at least two rows and two "
                "columns, or the values as a series of each catchment"
            )
        if (np.diff(centres) <= 0).any() or not np.isfinite(centres).all():
            raise DataError(f"The grid of '{name}' has a centre along {axis} twice, or none; mend the file's {axis}")


def same_centres(data: xr.DataArray, other: xr.DataArray) -> bool:
    """Whether cell centres along an axis, or ``[Y, X]``, are the same, to a thousandth of a cell."""
    first, second = data.to_numpy(), other.to_numpy()
    step = abs(first.flat[-1] - first.flat[0]) / max(1, max(first.shape) - 1)
    return first.shape == second.shape and bool(np.allclose(first, second, atol=1e-3 * step, rtol=0))


def _short(crs: CRS) -> str:
    method = crs.coordinate_operation.method_name if crs.coordinate_operation else "no projection"
    return f"{method}, {crs.ellipsoid.name if crs.ellipsoid else 'no ellipsoid'}"


def _extent(data: xr.DataArray, axis: str) -> str:
    values = data[axis].values
    return f"{axis}: {len(values)} cells from {values[0]:g} to {values[-1]:g}"
