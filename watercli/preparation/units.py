"""Data from one unit into another; how units are written is known to `watercli.hydrology.units`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pint
import xarray as xr
from cf_xarray.units import units as registry

from watercli.errors import ConfigError, DataError
from watercli.hydrology.units import WATER, Quantity, area_factor, parse, scale_and_offset

DISCHARGE = registry.Unit("m3/s").dimensionality
MILLILITRE = 1e-6
"""m3."""
Say = Callable[[str, str], None]

RATES = tuple(registry.Unit(unit).dimensionality for unit in ("mm/day", "kg/m2/s", "W/m2", "m3/s"))
"""Dimensions of what flows, whose day is a mean. ``J m-2`` and ``s`` (of sunshine) are amounts."""


def convert(data: xr.DataArray, source: str | None, target: str, where: str, say: Say) -> xr.DataArray:
    """Return ``data`` in ``target`` units; ``where`` names variable and file, ``say(topic, message)`` tells of a guess.

    A sum over a day (``cell_methods: time: sum``) is a rate per day: ``mm`` becomes ``mm/day``. A mass of water over
    an area is a depth: ``kg m-2 s-1`` becomes ``mm/day`` too. The attributes ``source_scale`` and ``source_offset``
    say by what the values were multiplied, and what was added.

    Raises
    ------
    ConfigError
        If ``target`` is no unit.
    DataError
        If the source's units are unknown or of another dimension.
    """
    target_unit = _target_unit(target, where)
    if source is None:
        say("no units", f"{where} states no units: taken to be in {target}")
        return data.assign_attrs(units=target)
    given = _given(source, where)
    if "time: sum" in str(data.attrs.get("cell_methods", "")) and _depth_or_mass(given / registry.day, target_unit):
        say(f"sum of {source}", f"{where} is a sum over a day in {source}: taken as {source}/day")
        given = given / registry.day
    try:
        scale, offset = scale_and_offset(given, target_unit)
    except pint.DimensionalityError as error:
        raise DataError(
            f"{where} is in '{source}', which cannot be converted to '{target}'; mend the modality's units "
            "or variable, or state the units of the source in source.units"
        ) from error
    # A unit conversion must not touch the values where there is nothing to convert.
    if scale != 1.0 or offset != 0.0:
        data = (data * scale + offset).assign_attrs(data.attrs)
    return data.assign_attrs(units=target, source_scale=scale, source_offset=offset)


def check_aggregation(source: str | None, target: str, aggregation: str, where: str) -> None:
    """Refuse rates where a day is to be the sum of its values, and amounts where it is to be their mean.

    Raises
    ------
    DataError
        If ``source`` is a rate and summed, or an amount, averaged, and ``target`` a rate.
    """
    if source is None:
        return
    given, target_unit = _given(source, where), _target_unit(target, where)
    if aggregation == "sum" and given.dimensionality in RATES:
        raise DataError(
            f"{where} is in '{source}', a rate, whose day is a mean and no sum; set daily.aggregation to mean"
        )
    if (
        aggregation == "mean"
        and not _depth_or_mass(given, target_unit)
        and _depth_or_mass(given / registry.day, target_unit)
    ):
        raise DataError(f"{where} is in '{source}', an amount, whose day is a sum; set daily.aggregation to sum")


def _depth_or_mass(given: Quantity, target: pint.Unit) -> bool:
    return target.dimensionality in (given.dimensionality, (given / WATER).dimensionality)


def stated(recipe: str | None, file: str | None, where: str, say: Say) -> str | None:
    """Return the units that the recipe states, or those of the file; say so where they contradict each other."""
    if recipe is None:
        return file
    if file is not None and file != recipe:
        say("units", f"{where} says '{file}', the recipe '{recipe}': taken as the recipe says")
    return recipe


def by_area(data: xr.DataArray, given: str | None, target: str, area: np.ndarray, where: str) -> xr.DataArray:
    """Return discharge as runoff depth, or the reverse; ``data`` is ``(catchment, time)``, ``area`` in km2.

    Raises
    ------
    ConfigError, DataError
        If ``target``, or what is ``given``, are millilitres a day.
    """
    _given(str(given), where), _target_unit(target, where)
    share = area_factor(str(given), target, area)
    factor = xr.DataArray(share, dims="catchment", coords={"catchment": data["catchment"]})
    return (data * factor).assign_attrs(data.attrs, units=target)


def _is_millilitres_a_day(quantity: Quantity) -> bool:
    """Whether units are of a discharge that no river has: ``ml/d`` is written for ``ML/d``, megalitres, only."""
    return quantity.dimensionality == DISCHARGE and quantity.to("m3/day").magnitude < 1.01 * MILLILITRE


def _target_unit(target: str, where: str) -> pint.Unit:
    try:
        unit = parse(target)
    except ValueError as error:
        raise ConfigError(f"'{target}', the units of {where}, are no units; write them like 'mm/day'") from error
    if _is_millilitres_a_day(unit):
        raise ConfigError(f"'{target}', the units of {where}, are millilitres a day; write megalitres as 'ML/d'")
    if unit.magnitude != 1:
        raise ConfigError(
            f"'{target}', the units of {where}, hold a factor; write them without, like '{unit.units:~C}'"
        )
    return registry.Unit(unit.units)


def _given(source: str, where: str) -> Quantity:
    try:
        given = parse(source)
    except ValueError as error:
        raise DataError(
            f"{where} is in '{source}', which are no known units; mend its units attribute, or state the units in the "
            "modality's source.units"
        ) from error
    if _is_millilitres_a_day(given):
        raise DataError(
            f"{where} is in '{source}', millilitres a day, which no river has; if megalitres are meant, state ML/d in "
            "the modality's source.units"
        )
    return given
