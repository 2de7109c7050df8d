"""Static attributes from CSV tables keyed by gauge id, such as those of CAMELS-GB and Caravan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from watercli.config import AttributeTable, Catchments
from watercli.errors import DataError, nearest
from watercli.prepare.geometry import listed
from watercli.prepare.reader import unreadable
from watercli.prepare.sources import Sources


@dataclass(frozen=True)
class Table:
    """One attribute file: its name for errors and its rows by gauge id, all text."""

    name: str
    rows: pd.DataFrame


def read_tables(catchments: Catchments, sources: Sources) -> list[Table]:
    """Read every attribute table of the recipe.

    Raises
    ------
    DataError
        If a file cannot be read, has no column of gauge ids, or has a gauge twice.
    """
    tables: list[Table] = []
    for number, spec in enumerate(catchments.tables):
        paths = sources.find(spec.files, f"recipe.catchments.tables.{number}.files")
        sources.use(paths)
        tables += [_read(path, spec, sources) for path in paths]
    return tables


def _read(path: Path, spec: AttributeTable, sources: Sources) -> Table:
    name = sources.name(path)
    try:
        rows = pd.read_csv(path, dtype=str, encoding="utf-8")  # as text: leading zeros of an id survive
    except (ValueError, OSError) as error:
        raise unreadable(name, "CSV") from error
    if spec.gauge_id not in rows:
        raise DataError(f"{name} has no column '{spec.gauge_id}'{nearest(spec.gauge_id, rows.columns)}")
    rows[spec.gauge_id] = rows[spec.gauge_id].str.strip().str.removeprefix(spec.gauge_id_prefix)
    rows = rows.set_index(spec.gauge_id)
    if rows.index.duplicated().any():
        raise DataError(f"{name} has gauge {rows.index[rows.index.duplicated()][0]} twice; keep one row")
    return Table(name, rows)


def in_memory(rows: pd.DataFrame, name: str) -> Table:
    """Return a table that comes from no file."""
    return Table(name, rows.set_index("gauge_id").astype(str))


def gauges_of(tables: Sequence[Table]) -> list[str]:
    """Return the gauges of the first table."""
    return [str(gauge) for gauge in tables[0].rows.index]


def select(tables: Sequence[Table], catchments: Catchments, gauges: Sequence[str]) -> pd.DataFrame:
    """Return attributes and place of each gauge: numbers, one column for each attribute by its name.

    Further columns: ``latitude``, ``longitude`` (degrees), ``area`` (km2) and ``gauge_name`` (text), as
    ``@latitude`` and so on, so that an attribute may have the same name.

    Raises
    ------
    DataError
        If a column is in no table, or a gauge lacks a value.
    """
    columns = {"@latitude": catchments.latitude, "@longitude": catchments.longitude, "@area": catchments.area}
    columns |= {name: attribute.column for name, attribute in catchments.attributes.items()}
    numbers = {name: _numbers(tables, column, name, gauges) for name, column in columns.items()}
    chosen = pd.DataFrame(numbers, index=pd.Index(gauges, name="gauge_id"))
    small = chosen.index[chosen["@area"] <= 0]
    if len(small):
        raise DataError(f"{listed(small, 'gauge', 'has', 'have')} no positive area; mend column '{catchments.area}'")
    names = _column(tables, catchments.gauge_name, gauges) if catchments.gauge_name else None
    return chosen.assign(**{"@gauge_name": "" if names is None else names.fillna("")})


def _numbers(tables: Sequence[Table], column: str, use: str, gauges: Sequence[str]) -> pd.Series:
    text = _column(tables, column, gauges)
    holders = ", ".join(table.name for table in tables if column in table.rows)
    values = pd.to_numeric(text, errors="coerce")
    wrong = text.index[values.isna() & text.notna()]
    if len(wrong):
        raise DataError(
            f"{holders} has '{text[wrong[0]]}' in column '{column}' for gauge {wrong[0]}; it must be a number"
        )
    absent = text.index[values.isna()]
    if len(absent):
        use = "" if use.lstrip("@") == column else f" (for '{use.lstrip('@')}')"
        raise DataError(
            f"{listed(absent, 'gauge', 'has', 'have')} no value of column '{column}'{use} in {holders}; "
            "add it there, or name the gauges to use in recipe.catchments.gauges"
        )
    return values


def _column(tables: Sequence[Table], column: str, gauges: Sequence[str]) -> pd.Series:
    """Return a column for each gauge as text, from the first table that has a value."""
    holders = [table.rows[column] for table in tables if column in table.rows]
    if not holders:
        known = {str(name) for table in tables for name in table.rows.columns}
        names = ", ".join(table.name for table in tables)
        raise DataError(f"No column '{column}' in {names}{nearest(column, known)}")
    index = pd.Index(gauges)
    found = holders[0].reindex(index)
    for other in holders[1:]:
        found = found.fillna(other.reindex(index))
    return found
