"""Any table of daily series: CSV and other text, Parquet or NetCDF, laid out as ``source.table`` says.

Three layouts: one file for each gauge, whose name holds the id; a long table with a column of ids; a wide table with
a column for each gauge. Several files of one gauge are joined in time.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import ConfigError, DataError, nearest
from watercli.hydrology.units import stated_in
from watercli.log import track
from watercli.preparation.readers import missing, netcdf, tabular
from watercli.preparation.readers.gauges import assemble, chosen
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request
from watercli.preparation.readers.sources import unreadable

DAY = "as stamped by the source"
SEPARATORS = {",": ",", ";": ";", "tab": "\t", "space": " "}


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
            pieces.setdefault(gauge.removeprefix(request.source.gauge_id_prefix), []).append((path, record))
    records = {gauge: _joined(request, gauge, parts) for gauge, parts in chosen(request, pieces).items()}
    if len(units) > 1:
        raise DataError(
            f"The files of '{request.modality_name}' state different units ({', '.join(map(str, units))}); "
            "state one in the modality's source.units, or mend the files"
        )
    return assemble(request, records, units.pop(), f"'{request.source.variable}'", DAY)


def _records(request: Request, path: Path) -> tuple[dict[str, pd.Series], str | None]:
    """Return a file's records by gauge, and the units that it states."""
    layout, variable, name = request.source.table, request.source.variable, request.name(path)
    if layout.layout == "file":
        gauge = _gauge_of(request, path)
        if request.gauges and gauge.removeprefix(request.source.gauge_id_prefix) not in request.gauges:
            return {}, None
    if layout.layout == "long" and _is_netcdf(path) and (cube := _cube(request, path)) is not None:
        return cube
    columns = {"file": [variable], "long": [layout.gauge_id, variable], "wide": []}[layout.layout]
    table, units = _table(request, path, columns)
    if layout.layout == "wide":
        gauges = [column for column in table.columns if column not in _when(request)]
        days = _days(request, table, name)
        return {str(gauge): _record(request, table[gauge], days, name, str(gauge)) for gauge in gauges}, units
    if layout.layout == "file":
        return {gauge: _record(request, table[variable], _days(request, table, name), name, variable)}, units
    ids = table[layout.gauge_id]
    if pd.api.types.is_float_dtype(ids):
        raise _decimal_ids(request, name)
    return {
        gauge: _record(request, rows[variable], _days(request, rows, f"{name}, gauge {gauge},"), name, variable)
        for gauge, rows in table.groupby(ids.astype(str).str.strip(), sort=False)
    }, units


def _is_netcdf(path: Path) -> bool:
    return path.suffix.lower() in (".nc", ".nc4", ".cdf")


def _when(request: Request) -> tuple[str, ...]:
    """Return the columns or dimensions that say which day a value is of."""
    layout = request.source.table
    return (layout.day_of_year,) if layout.day_of_year else layout.date


def _cube(request: Request, path: Path) -> tuple[dict[str, pd.Series], str | None] | None:
    """Return the records of a variable whose dims are gauges and days, and its units; None if it has others.

    Of the file's other variables nothing is read, nor of gauges that are not asked for: packed files of hundreds of
    gauges and decades stay small.
    """
    layout, name, when = request.source.table, request.name(path), _when(request)
    with netcdf.peeked(path, name) as dataset:
        values = dataset.get(request.source.variable)
        if values is None or set(values.dims) != {layout.gauge_id, *when} or not set(values.dims) <= set(values.coords):
            return None
        _check_calendar(dataset, name)
        if values[layout.gauge_id].dtype.kind == "f":
            raise _decimal_ids(request, name)
        ids = values[layout.gauge_id].astype(str).to_series().str.strip().to_numpy()
        if request.gauges:
            own = pd.Series(ids).str.removeprefix(request.source.gauge_id_prefix)
            kept = np.flatnonzero(own.isin(request.gauges))
            values, ids = values[{layout.gauge_id: kept}], ids[kept]
        days = _days(request, pd.DataFrame({column: values[column].to_numpy() for column in when}), name)
        values = missing.valid(values, f"'{values.name}' in {name}", request.say)
        rows = values.transpose(layout.gauge_id, *when).to_numpy()
    if rows.dtype.kind not in "iuf":
        return None
    for mark in layout.missing_values:
        rows = np.where(rows == pd.to_numeric(mark, errors="coerce"), np.nan, rows)
    records = (pd.Series(row.astype(np.float64), index=days) for row in rows)
    return {gauge: _every_day(request, record) for gauge, record in zip(ids, records, strict=True)}, stated_in(
        values.attrs
    )


def _decimal_ids(request: Request, name: str) -> DataError:
    column = request.source.table.gauge_id
    return DataError(f"{name} holds its gauge ids ('{column}') as decimal numbers; write them as text")


def _every_day(request: Request, record: pd.Series) -> pd.Series:
    """Return a record by day: as it is, or a climatology by day of the year over the recipe's period."""
    if not request.source.table.day_of_year:
        return record
    period = request.recipe.period
    days = pd.date_range(period.start, period.end, freq="D")
    last = int(record.index.max())
    return pd.Series(record.reindex(days.dayofyear.to_numpy().clip(max=last)).to_numpy(), index=days)


def _table(request: Request, path: Path, columns: Collection[str]) -> tuple[pd.DataFrame, str | None]:
    """Return dates and ``columns`` of a file, or all columns if none are named, and the units of the variable."""
    name, layout, units = request.name(path), request.source.table, None
    needed = [*_when(request), *columns]
    if _is_netcdf(path):
        with netcdf.opened(path, name) as dataset:
            units = stated_in(dataset[request.source.variable].attrs) if request.source.variable in dataset else None
            table = _flat(dataset, needed if columns else None, name)
    elif path.suffix.lower() in (".parquet", ".pq"):
        table = _parquet(path, name)
    else:
        separator = SEPARATORS[layout.separator]
        lines = tabular.read_lines(path, name, request.say, separators=(separator,))
        return lines.columns(needed if columns else lines.header), None
    for column in needed:
        if column not in table:
            raise DataError(f"{name} has no column '{column}'{nearest(column, map(str, table.columns))}")
    return (table[needed] if columns else table), units


def _flat(dataset: xr.Dataset, needed: Collection[str] | None, name: str) -> pd.DataFrame:
    """Return variables and coordinates as columns, one row for each combination of the dims."""
    _check_calendar(dataset, name)
    held = dataset if needed is None else dataset[[column for column in needed if column in dataset.data_vars]]
    return held.to_dataframe().reset_index() if held.sizes else pd.DataFrame()


def _check_calendar(dataset: xr.Dataset, name: str) -> None:
    strange = [coordinate for coordinate, index in dataset.indexes.items() if isinstance(index, xr.CFTimeIndex)]
    if strange:
        raise DataError(f"'{strange[0]}' in {name} is no date of the standard calendar; convert the file")


def _parquet(path: Path, name: str) -> pd.DataFrame:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"Reading {name} needs pyarrow; pip install 'watercli[parquet]'") from error
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises a dozen kinds
        raise unreadable(name, "Parquet") from error
    return table.reset_index() if table.index.names != [None] else table


def _gauge_of(request: Request, path: Path) -> str:
    """Return the gauge id in a file's name."""
    pattern = request.source.table.file_name
    if pattern.count("{gauge_id}") != 1:
        raise ConfigError(
            f"modalities.{request.modality_name}.source.table.file_name is '{pattern}'; it must hold {{gauge_id}} once"
        )
    expression = re.escape(pattern).replace(r"\{gauge_id\}", "(?P<gauge>.+?)").replace(r"\*", ".*")
    match = re.fullmatch(expression, path.stem)
    if match is None:
        raise DataError(f"{request.name(path)} is not named like source.table.file_name, '{pattern}'; rename it")
    return match["gauge"]


def _days(request: Request, table: pd.DataFrame, name: str) -> pd.Index:
    layout = request.source.table
    if layout.day_of_year:
        return _days_of_year(table[layout.day_of_year], layout.day_of_year, name)
    if len(layout.date) == 1:
        return tabular.to_days(table[layout.date[0]], name, layout.date_format)
    if len(layout.date) != 3:
        raise ConfigError(
            f"modalities.{request.modality_name}.source.table.date names {len(layout.date)} columns; name one, or three"
        )
    year, month, day = (table[column].astype(str).str.strip() for column in layout.date)
    return tabular.to_days(year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2), name)


def _days_of_year(column: pd.Series, label: str, name: str) -> pd.Index:
    """Return the days of the year, which must be whole, from 1 to 366, and there once."""
    numbers = tabular.to_numbers(column, name, label)
    if not np.isin(numbers, np.arange(1, 367)).all() or len(np.unique(numbers)) < len(numbers):
        raise DataError(f"'{label}' in {name} must hold days of the year, 1 to 366, each once; mend it")
    return pd.Index(numbers.astype(np.int64))


def _record(request: Request, values: pd.Series, days: pd.Index, name: str, label: str) -> pd.Series:
    numbers = tabular.to_numbers(values, name, label, request.source.table.missing_values)
    return _every_day(request, pd.Series(numbers, index=days))


def _joined(request: Request, gauge: str, parts: list[tuple[Path, pd.Series]]) -> pd.Series:
    record: pd.Series = pd.concat([part for _, part in parts])
    doubled = record.index[record.index.duplicated()]
    if len(doubled):
        names = ", ".join(request.name(path) for path, part in parts if doubled[0] in part.index)
        raise DataError(f"Gauge {gauge} has the date {doubled[0]:%Y-%m-%d} twice, in {names}; keep one")
    return record


READER = Reader(read, ("series",))
