"""Any table of daily series: CSV and other text, Parquet or NetCDF, laid out as ``source.table`` says.

Three layouts: one file for each gauge, whose name holds the id; a long table with a column of ids; a wide table with
a column for each gauge. Several files of one gauge are joined in time.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd
import xarray as xr

from watercli.errors import ConfigError, DataError, nearest
from watercli.log import track
from watercli.preparation.readers import netcdf, tabular
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
    columns = {"file": [variable], "long": [layout.gauge_id, variable], "wide": []}[layout.layout]
    table, units = _table(request, path, columns)
    if layout.layout == "wide":
        gauges = [column for column in table.columns if column not in layout.date]
        days = _days(request, table, name)
        return {str(gauge): _record(request, table[gauge], days, name, str(gauge)) for gauge in gauges}, units
    if layout.layout == "file":
        return {gauge: _record(request, table[variable], _days(request, table, name), name, variable)}, units
    ids = table[layout.gauge_id]
    if pd.api.types.is_float_dtype(ids):
        raise DataError(f"{name} holds its gauge ids ('{layout.gauge_id}') as decimal numbers; write them as text")
    return {
        gauge: _record(request, rows[variable], _days(request, rows, f"{name}, gauge {gauge},"), name, variable)
        for gauge, rows in table.groupby(ids.astype(str).str.strip(), sort=False)
    }, units


def _table(request: Request, path: Path, columns: Collection[str]) -> tuple[pd.DataFrame, str | None]:
    """Return dates and ``columns`` of a file, or all columns if none are named, and the units of the variable."""
    name, layout, units = request.name(path), request.source.table, None
    needed = [*layout.date, *columns]
    if path.suffix.lower() in (".nc", ".nc4", ".cdf"):
        with netcdf.opened(path, name) as dataset:
            units = dataset[request.source.variable].attrs.get("units") if request.source.variable in dataset else None
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
    strange = [name for name, index in dataset.indexes.items() if isinstance(index, xr.CFTimeIndex)]
    if strange:
        raise DataError(f"'{strange[0]}' in {name} is no date of the standard calendar; convert the file")
    held = dataset if needed is None else dataset[[column for column in needed if column in dataset.data_vars]]
    return held.to_dataframe().reset_index() if held.sizes else pd.DataFrame()


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


def _days(request: Request, table: pd.DataFrame, name: str) -> pd.DatetimeIndex:
    layout = request.source.table
    if len(layout.date) == 1:
        return tabular.to_days(table[layout.date[0]], name, layout.date_format)
    if len(layout.date) != 3:
        raise ConfigError(
            f"modalities.{request.modality_name}.source.table.date names {len(layout.date)} columns; name one, or three"
        )
    year, month, day = (table[column].astype(str).str.strip() for column in layout.date)
    return tabular.to_days(year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2), name)


def _record(request: Request, values: pd.Series, days: pd.DatetimeIndex, name: str, label: str) -> pd.Series:
    return pd.Series(tabular.to_numbers(values, name, label, request.source.table.missing_values), index=days)


def _joined(request: Request, gauge: str, parts: list[tuple[Path, pd.Series]]) -> pd.Series:
    record: pd.Series = pd.concat([part for _, part in parts])
    doubled = record.index[record.index.duplicated()]
    if len(doubled):
        names = ", ".join(request.name(path) for path, part in parts if doubled[0] in part.index)
        raise DataError(f"Gauge {gauge} has the date {doubled[0]:%Y-%m-%d} twice, in {names}; keep one")
    return record


READER = Reader(read, ("series",))
