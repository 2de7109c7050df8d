"""A series from several sources: each gives what those before it do not have; a source may be a mean of variables.

Shapes: C catchments, T days.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import xarray as xr

from watercli.errors import ConfigError, nearest
from watercli.log import log
from watercli.preparation import align
from watercli.preparation.geometry import listed
from watercli.preparation.readers import registry
from watercli.preparation.readers.gauges import NoGaugeError
from watercli.preparation.readers.request import Request, ordered

MOST_DIFFERENT = 0.01
"""Share of the values' spread by which two sources may differ without a word."""
EXTREMES = {"source_least": min, "source_greatest": max}


def joined(request: Request) -> xr.DataArray:
    """Return a series ``(catchment, time)`` of all sources of a modality, NaN where none has a value.

    Raises
    ------
    ConfigError
        If a gauge of the recipe is in no source.
    """
    filled: xr.DataArray | None = None
    for number, part in enumerate((request, *request.further), start=1):
        with suppress(NoGaugeError):
            data = _read(part)
            filled = data if filled is None else _filled(request.modality_name, filled, data, number)
    known = [] if filled is None else [str(gauge) for gauge in filled["catchment"].values]
    if not request.modality.dropout:
        _check_gauges(request, known)
    if filled is None:
        return _nothing(request)
    return filled.sel(catchment=ordered(known)) if request.further else filled


def _nothing(request: Request) -> xr.DataArray:
    """Return an optional series that no gauge of the recipe has."""
    days = align.days(request.recipe.period)
    coords = {"catchment": np.array([], dtype=object), "time": days}
    return xr.DataArray(np.empty((0, len(days))), coords, ("catchment", "time"), attrs={"day": "of no source"})


def _read(request: Request) -> xr.DataArray:
    """Return one source, or the mean of its variables on the days that have all of them."""
    read = registry.READERS[request.source.reader].read
    variables = request.each_variable()
    if not variables:
        return read(request)
    records = list(xr.align(*(read(variable) for variable in variables), join="inner"))
    request.say("mean_of", f"the mean of {', '.join(request.source.mean_of)} ({request.setting}.mean_of)")
    mean = sum(records[1:], start=records[0]) / len(records)
    return mean.assign_attrs(records[0].attrs)


def _filled(name: str, first: xr.DataArray, second: xr.DataArray, number: int) -> xr.DataArray:
    """Return the first source, with the second where it has no value; say where both have one and they differ."""
    first, second = xr.align(first, second, join="outer")
    spread = float(first.std())
    differs = abs(first - second) > MOST_DIFFERENT * spread
    if bool(differs.any()):
        gauges = first["catchment"][differs.any("time")].to_index()
        log.warning(
            "%s: source %d has other values than those before it on %s days of %s; the earlier source is taken. If "
            "these are different catchments, give one source a gauge_id_new_prefix",
            name, number, f"{int(differs.sum()):,}", listed(gauges, "gauge", "", ""),
        )  # fmt: skip
    if first.attrs["day"] != second.attrs["day"]:
        log.info("%s: days of source %d are %s", name, number, second.attrs["day"])
    extremes = {
        key: choose(data.attrs[key] for data in (first, second) if key in data.attrs)
        for key, choose in EXTREMES.items()
        if key in first.attrs or key in second.attrs
    }
    return first.fillna(second).assign_attrs(first.attrs | extremes)


def _check_gauges(request: Request, known: Sequence[str]) -> None:
    absent = set(request.gauges) - set(known)
    if absent:
        gauge = ordered(absent)[0]
        raise ConfigError(
            f"recipe.catchments.gauges names {gauge}, of which no source of '{request.modality_name}' has a record"
            f"{nearest(gauge, known)}"
        )
