"""Units by pint, with the names that CF metadata use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pint
import xarray as xr
from cf_xarray.units import units as registry

from watercli.errors import ConfigError, DataError

Say = Callable[[str, str], None]

SPELLINGS = {
    "(0 - 1)": "1",
    "~": "1",
    "fraction": "1",
    "m of water equivalent": "m",
    "degrees celsius": "degC",
    "deg c": "degC",
    "cfs": "ft3/s",
    "cumecs": "m3/s",
    "cms": "m3/s",
}
"""Units as ECMWF, hydrologists and others write them, in small letters, and as pint does."""
WATER = registry.Quantity(1000.0, "kg/m3")
"""Density of water, by which a mass over an area is a depth: 1 kg m-2 is 1 mm."""


def convert(data: xr.DataArray, source: str | None, target: str, where: str, say: Say) -> xr.DataArray:
    """Return ``data`` in ``target`` units; ``where`` names variable and file, ``say(topic, message)`` tells of a guess.

    A sum over a day (``cell_methods: time: sum``) is a rate per day: ``mm`` becomes ``mm/day``. A mass of water over
    an area is a depth: ``kg m-2 s-1`` becomes ``mm/day`` too.

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
        zero, unit = registry.Quantity(0.0, given), registry.Quantity(1.0, given)
        if given.dimensionality != target_unit.dimensionality:
            zero, unit = zero / WATER, unit / WATER
        offset = zero.to(target_unit).magnitude
        scale = unit.to(target_unit).magnitude - offset
    except pint.DimensionalityError as error:
        raise DataError(
            f"{where} is in '{source}', which cannot be converted to '{target}'; mend the modality's units "
            "or variable, or state the units of the source in source.units"
        ) from error
    # A unit conversion must not touch the values where there is nothing to convert.
    if scale != 1.0 or offset != 0.0:
        data = (data * float(scale) + float(offset)).assign_attrs(data.attrs)
    return data.assign_attrs(units=target)


def check_amount(source: str | None, target: str, where: str) -> None:
    """Refuse rates where a day is to be the sum of its values.

    Raises
    ------
    DataError
        If ``source`` can be converted to a rate in ``target`` as it is.
    """
    target_unit = _target_unit(target, where)
    if (
        source is not None
        and "[time]" in target_unit.dimensionality
        and _depth_or_mass(_given(source, where), target_unit)
    ):
        raise DataError(
            f"{where} is in '{source}', a rate, whose day is a mean and no sum; set daily.aggregation to mean"
        )


def _depth_or_mass(given: pint.Unit, target: pint.Unit) -> bool:
    return target.dimensionality in (given.dimensionality, (given / WATER.units).dimensionality)


def stated(recipe: str | None, file: str | None, where: str, say: Say) -> str | None:
    """Return the units that the recipe states, or those of the file; say so where they contradict each other."""
    if recipe is None:
        return file
    if file is not None and file != recipe:
        say("units", f"{where} says '{file}', the recipe '{recipe}': taken as the recipe says")
    return recipe


def are_discharge_and_depth(given: str | None, target: str) -> bool:
    """Whether one is a volume per time and the other a depth per time, in whichever order."""
    try:
        pair = [registry.Unit(spelt(units)).dimensionality for units in (given or "", target)]
    except Exception:  # no units: `convert` says so
        return False
    depth, discharge = registry.Unit("mm/day").dimensionality, registry.Unit("m3/s").dimensionality
    return pair in ([depth, discharge], [discharge, depth])


def by_area(data: xr.DataArray, given: str | None, target: str, area: np.ndarray) -> xr.DataArray:
    """Return discharge as runoff depth, or the reverse; ``data`` is ``(catchment, time)``, ``area`` in km2."""
    amount = registry.Quantity(1.0, spelt(str(given)))
    square = registry.Quantity(1.0, "km2")
    to_depth = amount.dimensionality == registry.Unit("m3/s").dimensionality
    scale = (amount / square if to_depth else amount * square).to(target).magnitude
    share = 1 / area if to_depth else area
    factor = xr.DataArray(float(scale) * share, dims="catchment", coords={"catchment": data["catchment"]})
    return (data * factor).assign_attrs(data.attrs, units=target)


def spelt(units: str) -> str:
    """Return units as pint spells them."""
    return SPELLINGS.get(units.strip().lower(), units.strip())


def _target_unit(target: str, where: str) -> pint.Unit:
    try:
        return registry.Unit(spelt(target))
    except Exception as error:  # pint raises half a dozen kinds, tokeniser errors among them
        raise ConfigError(f"'{target}', the units of {where}, are no units; write them like 'mm/day'") from error


def _given(source: str, where: str) -> pint.Unit:
    try:
        return registry.Unit(spelt(source))
    except Exception as error:
        raise DataError(
            f"{where} is in '{source}', which are no known units; mend its units attribute, or state the units in the "
            "modality's source.units"
        ) from error
