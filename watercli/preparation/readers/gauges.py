"""What the readers of catchment series share: one record for each gauge becomes one array, in the modality's units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import ConfigError, DataError, nearest
from watercli.preparation import units
from watercli.preparation.readers import tabular
from watercli.preparation.readers.request import Request, ordered

Found = TypeVar("Found")


def by_gauge(request: Request, names: re.Pattern[str], like: str) -> dict[str, Path]:
    """Return the one file of each gauge of the recipe, by the group ``gauge`` of its name; ``like`` shows one.

    Raises
    ------
    ConfigError
        If a gauge of the recipe has no file.
    DataError
        If a file is named otherwise, or a gauge has two.
    """
    paths: dict[str, Path] = {}
    for path in request.paths:
        match = names.fullmatch(path.name)
        if match is None:
            raise DataError(f"{request.name(path)} is not named like {like}; narrow the pattern or rename it")
        add(request, paths, match["gauge"], path)
    return chosen(request, paths)


def add(request: Request, paths: dict[str, Path], gauge: str, path: Path) -> str:
    """Add the file of a gauge, which must be its only one; return the gauge's id without the source's prefix.

    Raises
    ------
    DataError
        If it has one already.
    """
    gauge = gauge.removeprefix(request.source.gauge_id_prefix)
    if gauge in paths:
        first, second = request.name(paths[gauge]), request.name(path)
        raise DataError(f"Gauge {gauge} has two files, {first} and {second}; keep one")
    paths[gauge] = path
    return gauge


def chosen(request: Request, entries: Mapping[str, Found]) -> dict[str, Found]:
    """Return what belongs to the gauges of the recipe, which is all if none are named, in their order.

    Raises
    ------
    ConfigError
        If a gauge of the recipe is not there.
    """
    absent = [gauge for gauge in request.gauges if gauge not in entries]
    if absent:
        raise ConfigError(
            f"recipe.catchments.gauges names {absent[0]}, of which '{request.modality_name}' has no file"
            f"{nearest(absent[0], entries)}"
        )
    return {gauge: entries[gauge] for gauge in ordered(request.gauges or entries)}


def dated_csv(request: Request, path: Path, date: str, column: str) -> pd.Series:
    """Return a column of a CSV by day.

    Raises
    ------
    DataError
        If the file cannot be read, is torn, lacks a column, or repeats a date.
    """
    request.sources.use([path])
    name = request.name(path)
    table = tabular.read_lines(path, name, request.say).columns((date, column))
    return pd.Series(tabular.to_numbers(table[column], name, column), index=tabular.to_days(table[date], name))


def assemble(
    request: Request, records: Mapping[str, pd.Series], source_units: str | None, where: str, day: str
) -> xr.DataArray:
    """Return daily records as ``(catchment, time)`` in the modality's units, NaN where a day is missing.

    ``records`` are indexed by day, by gauge. Units that the recipe states win over ``source_units``. Discharge becomes
    runoff depth, or the reverse, by the catchment's area. ``where`` names the variable in messages; ``day`` says when
    a day begins.
    """
    table = pd.DataFrame(dict(records)).sort_index()
    data = xr.DataArray(
        table.to_numpy(dtype=np.float64).T,
        dims=("catchment", "time"),
        coords={"catchment": np.array(list(records), dtype=object), "time": pd.DatetimeIndex(table.index, name="time")},
        # A daily depth is a sum over the day.
        attrs={"day": day, "cell_methods": "time: sum"},
    )
    request.say("day", f"days are {day}; dates are kept as stamped")
    given = units.stated(request.source.units, source_units, where, request.say)
    target = request.modality.units
    if units.are_discharge_and_depth(given, target):
        area = request.area(list(records))
        request.say("area", f"{where} is converted from {given} to {target} by the area of each catchment")
        data = units.by_area(data, given, target, area)
    else:
        data = units.convert(data, given, target, where, request.say)
    return data.astype(np.float32)
