"""Units by pint, with the names that CF metadata use."""

from __future__ import annotations

from collections.abc import Callable

import pint
import xarray as xr
from cf_xarray.units import units as registry

from watercli.errors import ConfigError, DataError


def convert(
    data: xr.DataArray, source: str | None, target: str, where: str, say: Callable[[str, str], None]
) -> xr.DataArray:
    """Return ``data`` in ``target`` units; ``where`` names variable and file, ``say(topic, message)`` tells of a guess.

    A sum over a day (``cell_methods: time: sum``) is a rate per day: ``mm`` becomes ``mm/day``.

    Raises
    ------
    ConfigError
        If ``target`` is no unit.
    DataError
        If the source's units are unknown or of another dimension.
    """
    try:
        wanted = registry.Unit(target)
    except Exception as error:  # pint raises half a dozen kinds, tokeniser errors among them
        raise ConfigError(f"'{target}', the units asked for {where}, are no units; write them like 'mm/day'") from error
    if source is None:
        say("no units", f"{where} states no units: taken to be in {target}")
        return data.assign_attrs(units=target)
    try:
        given = registry.Unit(source)
    except Exception as error:
        raise DataError(f"{where} is in '{source}', which are no known units; mend its units attribute") from error
    daily = given / registry.day
    summed = "time: sum" in str(data.attrs.get("cell_methods", ""))
    if summed and daily.dimensionality == wanted.dimensionality:
        say(f"sum of {source}", f"{where} is a sum over a day in {source}: taken as {source}/day")
        given = daily
    try:
        offset = registry.Quantity(0.0, given).to(wanted).magnitude
        scale = registry.Quantity(1.0, given).to(wanted).magnitude - offset
    except pint.DimensionalityError as error:
        raise DataError(
            f"{where} is in '{source}', which cannot be converted to '{target}'; mend the modality's units or variable"
        ) from error
    # A unit conversion must not touch the values where there is nothing to convert.
    if scale != 1.0 or offset != 0.0:
        data = (data * scale + offset).assign_attrs(data.attrs)
    return data.assign_attrs(units=target)
