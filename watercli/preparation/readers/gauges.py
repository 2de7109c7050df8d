"""What the readers of catchment series share: one record for each gauge becomes one array, in the modality's units."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import ConfigError, DataError, nearest
from watercli.hydrology.units import are_discharge_and_depth
from watercli.preparation import units
from watercli.preparation.readers import daily, dates, ids, plain_text, tabular
from watercli.preparation.readers.request import Request, ordered
from watercli.preparation.readers.tabular import Format


class NoGaugeError(Exception):
    """A source has no gauge of the recipe; another may, or the modality is optional."""


Entry = TypeVar("Entry")
Built = TypeVar("Built")


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
    """Add the file of a gauge, which must be its only one; return the gauge's id as the recipe knows it.

    Raises
    ------
    DataError
        If it has one already.
    """
    gauge = request.gauge_id(gauge)
    if gauge in paths:
        first, second = request.name(paths[gauge]), request.name(path)
        raise DataError(f"Gauge {gauge} has two files, {first} and {second}; keep one")
    paths[gauge] = path
    return gauge


def chosen(request: Request, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return what belongs to the gauges of the recipe, which is all if none are named, in their order.

    Raises
    ------
    ConfigError
        If a gauge of the recipe is not there.
    NoGaugeError
        If none is there, and `Request.may_lack_gauges`.
    """
    absent = [gauge for gauge in request.gauges if gauge not in entries]
    if absent and not request.may_lack_gauges:
        hint = ids.hint(absent[0], entries, "", request.setting)
        raise ConfigError(
            f"recipe.catchments.gauges names {absent[0]}, of which '{request.modality_name}' has no record"
            f"{f' ({hint})' if hint else nearest(absent[0], entries)}"
        )
    present = [gauge for gauge in ordered(request.gauges or entries) if gauge in entries]
    if not present and request.may_lack_gauges:
        raise NoGaugeError
    return {gauge: entries[gauge] for gauge in present}


def of_text(
    request: Request,
    path: Path,
    form: Format,
    texts: Sequence[str],
    numbers: Sequence[str] | None,
    build: Callable[[pd.DataFrame], Built],
    remedy: Callable[[str, Sequence[str]], str] = lambda column, header: "",
) -> Built:
    """Return what ``build`` makes of columns of a text table: ``texts``, and ``numbers`` or, if those are None, all.

    The table is read by the fast parser. Where that or ``build`` does not accept it, it is read line by line, so that
    errors name the line. ``remedy`` says what to do about a column that is not in the header.

    Raises
    ------
    DataError
        If the file cannot be read, is torn, lacks a column, or ``build`` refuses it.
    """
    try:
        return build(_plain(request, path, form, texts, numbers))
    except (plain_text.Unsure, DataError):
        lines = tabular.read_lines(path, request.name(path), request.say, form)
        columns = dict.fromkeys((*texts, *(lines.header if numbers is None else numbers)))
        return build(lines.columns(columns, remedy))


def _plain(
    request: Request, path: Path, form: Format, texts: Sequence[str], numbers: Sequence[str] | None
) -> pd.DataFrame:
    """Return a table, with the columns that other modalities take from it, as it is or was read fast."""
    columns = None if numbers is None else tuple(sorted({*numbers, *request.columns}))
    key = path, form, tuple(texts), columns, request.missing_values
    table = request.sources.tables.get(key)
    if table is None:
        table = plain_text.read(path, request.name(path), request.say, form, texts, columns, request.missing_values)
        if len(request.columns) > 1:
            request.sources.remember(key, table)
    if not set(numbers or ()) <= set(table.columns):
        raise plain_text.Unsure
    return table


def dated_csv(request: Request, path: Path, date: str, column: str) -> pd.Series:
    """Return a column of a CSV by day.

    Raises
    ------
    DataError
        If the file cannot be read, is torn, lacks a column, or repeats a date.
    """
    request.sources.use([path])
    name = request.name(path)

    def record(table: pd.DataFrame) -> pd.Series:
        values = tabular.to_numbers(table[column], name, column, request.missing_values, setting=request.setting)
        return pd.Series(values, index=dates.to_days(table[date], name, say=request.say))

    return of_text(request, path, tabular.CSV, [date], [column], record)


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
    if request.source.daily is not None:
        data = _daily(data, where, request)
    request.say("day", f"days are {data.attrs['day']}; dates are kept as stamped")
    data.attrs |= _extremes(data)
    given = units.stated(request.source.units, source_units, where, request.say)
    target = request.modality.units
    if are_discharge_and_depth(given, target):
        area = request.area(list(records))
        request.say("area", f"{where} is converted from {given} to {target} by the area of each catchment")
        data = units.by_area(data, given, target, area, where)
    else:
        data = units.convert(data, given, target, where, request.say)
    return data.astype(np.float32)


def _daily(data: xr.DataArray, where: str, request: Request) -> xr.DataArray:
    """Return days of sub-daily series, as `daily.to_dates` makes them of grids."""
    field = data.rename(catchment="y").expand_dims(x=1).transpose("time", "y", "x")
    days = daily.to_dates(field, where, request).compute()
    return days.isel(x=0, drop=True).rename(y="catchment").transpose("catchment", "time")


def _extremes(data: xr.DataArray) -> dict[str, float]:
    """Return the least and the greatest value in units of the source, where marks of missing values are found."""
    values = data.to_numpy()
    seen = values[~np.isnan(values)]
    return {"source_least": float(seen.min()), "source_greatest": float(seen.max())} if seen.size else {}
