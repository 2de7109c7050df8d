"""Any table of daily series: CSV and other text, Parquet or NetCDF, laid out as ``source.table`` says.

Three layouts: one file for each gauge, whose name holds the id; a long table with a column of ids; a wide table with
a column for each gauge. Several files of one gauge are joined in time.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import ConfigError, DataError, nearest
from watercli.hydrology.units import stated_in
from watercli.log import track
from watercli.preparation.readers import cf, daily, dates, missing, netcdf, parquet, tabular
from watercli.preparation.readers.gauges import assemble, chosen, of_text
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request
from watercli.preparation.readers.tabular import Format
from watercli.preparation.readers.text import ENDINGS as COMPRESSED

DAY = "as stamped by the source"
PARTS_OF_DATES = ("year", "month", "day", "doy", "hour", "minute", "time")
"""Columns that stand beside the date in wide tables, and are no gauges."""
Records = dict[str, pd.Series]
"""Series by day, by gauge."""
NOT_READ = pd.Series(dtype=np.float64)
"""The record of a column that is not a gauge of the recipe."""
SEPARATORS = {",": ",", ";": ";", "|": "|", "tab": "\t", "space": " "}


def read(request: Request) -> xr.DataArray:
    """Return ``(catchment, time)`` with NaN where a value is missing.

    Raises
    ------
    ConfigError
        If a gauge of the recipe is not there.
    DataError
        If a file cannot be read, is torn, lacks a column, or a gauge has a date twice.
    """
    pieces: dict[str, list[tuple[Path, pd.Series]]] = {}
    units: set[str | None] = set()
    for path in track(request.paths, f"Reading {request.modality_name}"):
        request.sources.use([path])
        by_gauge, stated = _records(request, path)
        units |= {stated} if by_gauge else set()
        for gauge, record in by_gauge.items():
            pieces.setdefault(request.gauge_id(gauge), []).append((path, record))
    records = {gauge: _joined(request, gauge, parts) for gauge, parts in chosen(request, pieces).items()}
    if not records and not request.may_lack_gauges:
        raise DataError(f"The files of '{request.modality_name}' hold no gauge that is read; mend {request.setting}")
    _check_units(units, f"The files of '{request.modality_name}'", request)
    return assemble(request, records, units.pop(), f"'{request.source.variable}'", DAY)


def _check_units(units: set[str | None], what: str, request: Request) -> None:
    if len(units) > 1 and request.source.units is None:
        raise DataError(
            f"{what} state different units ({', '.join(sorted(map(str, units)))}); state one in "
            f"{request.setting}.units, or mend the files"
        )


def _records(request: Request, path: Path) -> tuple[Records, str | None]:
    """Return a file's records by gauge, and the units that it states."""
    layout, name = request.source.table, request.name(path)
    gauge = _gauge_of(request, path) if layout.layout == "file" else ""
    if gauge and request.gauges and request.gauge_id(gauge) not in request.gauges:
        return {}, None
    if path.suffix.lower() in netcdf.ENDINGS:
        return _of_netcdf(request, path, gauge)
    texts = [*_when(request), *layout.where, *([layout.gauge_id] if layout.layout == "long" else [])]
    numbers = None if layout.layout == "wide" else [request.source.variable]
    build = partial(_by_gauge, request, name=name, gauge=gauge)
    if path.suffix.lower() in parquet.ENDINGS:
        return build(_parquet(request, path, name, [*texts, *(numbers or ())])), None
    form = Format.of(layout, (SEPARATORS[layout.separator],))
    return of_text(request, path, form, texts, numbers, build, partial(_remedy, request)), None


def _by_gauge(request: Request, table: pd.DataFrame, name: str, gauge: str) -> Records:
    """Return the records in a table of any layout; ``gauge`` is that of the file, if it is one gauge's."""
    layout, variable = request.source.table, request.source.variable
    for column, kept in layout.where.items():
        table = table[table[column].astype(str).str.strip().isin(kept)]
    if layout.layout == "file":
        return {gauge: _record(request, table[variable], _days(request, table, name), name, variable)}
    if layout.layout == "wide":
        days = _days(request, table, name)
        gauges = [column for column in table.columns if _is_gauge(request, column)]
        return {
            str(column): _record(request, table[column], days, name, str(column))
            if _is_read(request, column)
            else NOT_READ
            for column in gauges
        }
    labels = _labels(request, table, name)
    return {
        str(label): _record(request, rows[variable], _days(request, rows, f"{name}, gauge {label},"), name, variable)
        for label, rows in table.groupby(labels, sort=False, observed=True)
    }


def _labels(request: Request, table: pd.DataFrame, name: str) -> pd.Series:
    """Return the gauge id of each row of a long table as text."""
    labels = table[request.source.table.gauge_id]
    if pd.api.types.is_float_dtype(labels):
        labels = _whole_ids(request, labels, name)
    blank = labels.isna()
    labels = labels if isinstance(labels.dtype, pd.CategoricalDtype) else labels.astype(str).str.strip()
    blank |= labels == ""
    if blank.any():
        raise DataError(
            f"{name} has no gauge id {tabular.place(labels, labels.index[blank][0])}; mend or remove that row"
        )
    return labels


def _is_read(request: Request, column: str) -> bool:
    return not request.gauges or request.gauge_id(column) in request.gauges


def _is_gauge(request: Request, column: str) -> bool:
    """Whether a column of a wide table is a gauge's: not that of the date, nor of a part of it beside the date."""
    if column in _when(request) or column in request.source.table.where or not str(column):
        return False
    return str(column).lower() not in PARTS_OF_DATES or request.gauge_id(str(column)) in request.gauges


def _remedy(request: Request, column: str, header: Sequence[str]) -> str:
    """Return what to set where a text table lacks a column."""
    layout, where = request.source.table, f"{request.setting}.table"
    crowded = [name for name, sign in SEPARATORS.items() if len(header) == 1 and sign.strip(" ") and sign in header[0]]
    if crowded:
        return f" (set {where}.separator to '{crowded[0]}')"
    if column in _when(request):
        return f" (name the column of dates in {where}.date; lines above the names are left out by {where}.skip_lines)"
    if column == layout.gauge_id and layout.layout == "long":
        return (
            f" (layout long: name the column of gauge ids in {where}.gauge_id, or set {where}.layout to file or wide)"
        )
    if column == request.source.variable:
        return (
            f" (layout {layout.layout}: name the column in {request.setting}.variable, or set {where}.layout to wide "
            "if each gauge has a column)"
        )
    return ""


def _when(request: Request) -> tuple[str, ...]:
    """Return the columns or dimensions that say which day a value is of."""
    layout = request.source.table
    return (layout.day_of_year,) if layout.day_of_year else layout.date


def _of_netcdf(request: Request, path: Path, gauge: str) -> tuple[Records, str | None]:
    """Return the records of a NetCDF file, and the units of the variable.

    Of the file's other variables nothing is read, nor of gauges that are not asked for: packed files of hundreds of
    gauges and decades stay small.
    """
    name = request.name(path)
    with netcdf.peeked(path, name) as dataset:
        dataset = cf.in_standard_calendar(dataset, name, request)
        _check_calendar(request, dataset, name)
        if request.source.table.layout == "wide":
            return _columns_by_gauge(request, dataset, name)
        for column in (request.source.variable, *_when(request)):
            if column not in dataset.variables:
                raise DataError(f"{name} has no variable '{column}'{nearest(column, map(str, dataset.variables))}")
        values = dataset[request.source.variable].squeeze()
        units = stated_in(values.attrs)
        time = _dims_of_time(request, dataset)
        others = [dim for dim in values.dims if dim not in time]
        if request.source.table.layout == "file":
            if others:
                raise DataError(_other_layout(request, values, name))
            days = _days_of_netcdf(request, dataset, name)
            series = _valid(request, values.transpose(*time), name).to_series()
            return {gauge: _record(request, series, days, name, request.source.variable)}, units
        return _rows_by_gauge(request, dataset, values, name), units


def _columns_by_gauge(request: Request, dataset: xr.Dataset, name: str) -> tuple[Records, str | None]:
    """Return the variables that have the dimension of the dates, and no other, as records, and their units."""
    days = _days_of_netcdf(request, dataset, name)
    (time,) = {dim for column in _when(request) for dim in dataset[column].dims}
    series = {
        str(column): _valid(request, data, name).to_series()
        for column, data in dataset.data_vars.items()
        if data.dims == (time,) and data.dtype.kind in "iuf" and _is_gauge(request, str(column))
        if _is_read(request, str(column))
    }
    if not series:
        raise DataError(_other_layout(request, next(iter(dataset.data_vars.values())), name))
    units = {stated_in(dataset[column].attrs) for column in series}
    _check_units(units, f"The variables of {name}", request)
    return {column: _record(request, values, days, name, column) for column, values in series.items()}, units.pop()


def _rows_by_gauge(request: Request, dataset: xr.Dataset, values: xr.DataArray, name: str) -> Records:
    """Return the records of a variable of gauges and days, or of a list in which each value has its gauge and day."""
    column = request.source.table.gauge_id
    if column not in dataset.variables:
        raise DataError(
            f"{name} has no variable '{column}'{nearest(column, map(str, dataset.variables))} (name that of the gauge "
            f"ids in {request.setting}.table.gauge_id, or set layout to file or wide)"
        )
    labels = dataset[column]
    if values.ndim == 1 or set(labels.dims) & {dim for when in _when(request) for dim in dataset[when].dims}:
        values = _valid(request, dataset[request.source.variable], name)
        table = values.to_dataset(name=request.source.variable)
        table = table.assign({column: dataset[column] for column in (column, *_when(request))})
        return _by_gauge(request, table.to_dataframe().reset_index(), name, "")
    others = [str(dim) for dim in values.dims if dim not in (*labels.dims, *_dims_of_time(request, dataset))]
    if others:
        raise DataError(
            f"'{values.name}' in {name} has the further dims ({', '.join(others)}); keep one of each, as by "
            f"'ncks -d {others[0]},0'"
        )
    own = pd.Series(np.atleast_1d(labels.to_numpy()))
    own = _whole_ids(request, own, name) if own.dtype.kind == "f" else pd.Series(netcdf.as_text(labels))
    kept = [place for place, label in enumerate(own) if not request.gauges or request.gauge_id(label) in request.gauges]
    days = _days_of_netcdf(request, dataset, name)
    rows = (
        _valid(request, values[{labels.dims[0]: kept}], name)
        .transpose(labels.dims[0], ...)
        .to_numpy()
        .reshape(len(kept), -1)
    )
    return {
        own[place]: _record(request, pd.Series(row), days, name, request.source.variable)
        for place, row in zip(kept, rows, strict=True)
    }


def _valid(request: Request, values: xr.DataArray, name: str) -> xr.DataArray:
    """Return values without those outside the range that the file declares as valid."""
    return missing.valid(values, f"'{values.name}' in {name}", request.say)


def _dims_of_time(request: Request, dataset: xr.Dataset) -> tuple[Hashable, ...]:
    return tuple(dim for column in _when(request) for dim in dataset[column].squeeze().dims)


def _days_of_netcdf(request: Request, dataset: xr.Dataset, name: str) -> pd.Index:
    """Return the days along the dates of a file; its bounds of time decide, where it has them."""
    when = _when(request)
    times = pd.DataFrame({column: np.atleast_1d(dataset[column].to_numpy()) for column in when})
    bounds = cf.bounds_of(dataset, when[0]) if request.source.daily is None else None
    if bounds is not None and times[when[0]].dtype.kind == "M":
        middles = daily.middles_of(bounds[:, 0], bounds[:, 1], pd.DatetimeIndex(times[when[0]]).round("s"))
        times[when[0]] = times[when[0]] if middles is None else middles
    return _days(request, times, name)


def _other_layout(request: Request, values: xr.DataArray, name: str) -> str:
    """Return the sentence for a file whose dimensions are those of another layout."""
    dims = ", ".join(map(str, values.dims))
    other = "long" if values.ndim > 1 else "file"
    gauges = (
        f", and {request.setting}.table.gauge_id to the variable or dimension of the ids" if other == "long" else ""
    )
    return (
        f"'{values.name}' in {name} has the dims ({dims}), which are not those of layout "
        f"'{request.source.table.layout}'; "
        f"set {request.setting}.table.layout to {other}{gauges}"
    )


def _whole_ids(request: Request, labels: pd.Series, name: str) -> pd.Series:
    """Return ids that are held as decimal numbers, if the recipe says how many digits they have."""
    column, whole = request.source.table.gauge_id, labels.round()
    if not request.source.gauge_id_digits or labels.isna().any() or (whole != labels).any():
        raise DataError(
            f"{name} holds its gauge ids ('{column}') as decimal numbers; set {request.setting}.gauge_id_digits to the "
            "digits that they have, or write them as text"
        )
    return whole.astype(np.int64).astype(str)


def _every_day(request: Request, record: pd.Series) -> pd.Series:
    """Return a record by day: as it is, or a climatology by day of the year over the recipe's period."""
    if not request.source.table.day_of_year:
        return record
    period = request.recipe.period
    days = pd.date_range(period.start, period.end, freq="D")
    last = int(record.index.max())
    return pd.Series(record.reindex(days.dayofyear.to_numpy().clip(max=last)).to_numpy(), index=days)


def _check_calendar(request: Request, dataset: xr.Dataset, name: str) -> None:
    """Refuse a list of values, each with its date in another calendar: a date that does not exist has no day."""
    for column in _when(request):
        values = dataset[column].values.ravel() if column in dataset.variables else np.empty(0)
        calendar = getattr(values[0], "calendar", None) if values.dtype.kind == "O" and len(values) else None
        if calendar is not None:
            raise DataError(
                f"'{column}' in {name} has dates of the calendar {calendar} in a list; write them as text such as "
                "2001-12-31, without those that the standard calendar lacks"
            )


def _parquet(request: Request, path: Path, name: str, needed: Sequence[str]) -> pd.DataFrame:
    table = parquet.read(path, name)
    header = list(table.columns)
    for column in needed:
        if column not in header:
            raise DataError(
                f"{name} has no column '{column}'{nearest(column, header)}{_remedy(request, column, header)}"
            )
    return table if request.source.table.layout == "wide" else table[list(dict.fromkeys(needed))]


def _gauge_of(request: Request, path: Path) -> str:
    """Return the gauge id in a file's name."""
    pattern = request.source.table.file_name
    if pattern.count("{gauge_id}") != 1:
        raise ConfigError(f"{request.setting}.table.file_name is '{pattern}'; it must hold {{gauge_id}} once")
    expression = re.escape(pattern).replace(r"\{gauge_id\}", "(?P<gauge>.+?)").replace(r"\*", ".*")
    match = re.fullmatch(expression, path.stem if path.suffix.lower() not in COMPRESSED else Path(path.stem).stem)
    if match is None:
        raise DataError(
            f"{request.name(path)} is not named like source.table.file_name, '{pattern}'; change that, rename the "
            "file, or set layout to long or wide if it holds several gauges"
        )
    return match["gauge"]


def _days(request: Request, table: pd.DataFrame, name: str) -> pd.Index:
    """Return the days of a table's rows, or their times where the recipe says how times become days."""
    layout = request.source.table
    if layout.day_of_year:
        return _days_of_year(table[layout.day_of_year], layout.day_of_year, name)
    column, written = table[layout.date[0]], layout.date_format
    if len(layout.date) > 1:
        column = dates.of_columns([table[part] for part in layout.date], written)
    if request.source.daily is None:
        return dates.to_days(column, name, written, request.say, request.setting)
    return dates.to_times(column, name, written, utc=True, setting=request.setting)


def _days_of_year(column: pd.Series, label: str, name: str) -> pd.Index:
    """Return the days of the year, which must be whole, from 1 to 366, and there once."""
    numbers = tabular.to_numbers(column, name, label)
    if not np.isin(numbers, np.arange(1, 367)).all() or len(np.unique(numbers)) < len(numbers):
        raise DataError(f"'{label}' in {name} must hold days of the year, 1 to 366, each once; mend it")
    return pd.Index(numbers.astype(np.int64))


def _record(request: Request, values: pd.Series, days: pd.Index, name: str, label: str) -> pd.Series:
    layout = request.source.table
    try:
        numbers = tabular.to_numbers(
            values, name, label, request.missing_values, decimal=layout.decimal, setting=f"{request.setting}.table"
        )
    except DataError as error:
        if layout.layout != "wide" or request.gauges:
            raise
        raise DataError(f"{error}; if '{label}' is no gauge, name the gauges in recipe.catchments.gauges") from error
    return _every_day(request, pd.Series(numbers, index=days))


def _joined(request: Request, gauge: str, parts: list[tuple[Path, pd.Series]]) -> pd.Series:
    record: pd.Series = pd.concat([part for _, part in parts]) if len(parts) > 1 else parts[0][1]
    doubled = record.index[record.index.duplicated()]
    if len(doubled) and request.source.daily is not None:
        raise DataError(
            f"Gauge {gauge} has the time {doubled[0]:%Y-%m-%d %H:%M} twice; keep one, or write times in UTC or with "
            "their offset if they are local, with summer time"
        )
    if len(doubled):
        names = ", ".join(request.name(path) for path, part in parts if doubled[0] in part.index)
        raise DataError(f"Gauge {gauge} has the date {doubled[0]:%Y-%m-%d} twice, in {names}; keep one")
    return record


READER = Reader(read, ("series",))
