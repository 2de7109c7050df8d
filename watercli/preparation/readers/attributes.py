"""Static attributes from text tables keyed by gauge id, such as those of CAMELS-GB, CAMELS-US and Caravan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.config import AttributeTable, Catchments
from watercli.errors import DataError, nearest
from watercli.log import log
from watercli.preparation.geometry import listed
from watercli.preparation.quality import marks
from watercli.preparation.readers import ids, netcdf, places, tabular
from watercli.preparation.readers.sources import Sources
from watercli.preparation.readers.tabular import Format

SEPARATORS = (",", ";", "\t", " ")
"""The first by which the line of names holds the column of gauge ids is the table's: CAMELS-US has semicolons."""

MOST_CLASSES = 10
"""Classes of a column that a message names."""


@dataclass(frozen=True)
class Table:
    """One attribute file: its name for errors and its rows by gauge id, all text."""

    name: str
    rows: pd.DataFrame
    setting: str = "recipe.catchments.tables"
    """The section of the configuration that names it, for messages."""
    decimal: str = "."


def read_tables(catchments: Catchments, sources: Sources) -> list[Table]:
    """Read every attribute table of the recipe.

    Raises
    ------
    DataError
        If a file cannot be read, has no column of gauge ids, or has a gauge twice.
    """
    tables: list[Table] = []
    for number, spec in enumerate(catchments.tables):
        setting = f"recipe.catchments.tables.{number}"
        paths = sources.find(spec.files, f"{setting}.files")
        sources.use(paths)
        tables += [_read(path, spec, sources.name(path), setting) for path in paths]
    return tables


def _read(path: Path, spec: AttributeTable, name: str, setting: str) -> Table:
    rows = _of_netcdf(path, spec, name) if path.suffix.lower() in netcdf.ENDINGS else _of_text(path, spec, name)
    missing = tabular.MISSING | {mark.lower() for mark in spec.missing_values}
    rows = rows.mask(rows.apply(lambda column: column.str.lower().isin(missing)))
    if rows[spec.gauge_id].hasnans:
        raise DataError(f"{name} has a row without a gauge id in column '{spec.gauge_id}'; mend it")
    rows[spec.gauge_id] = [ids.own(gauge, spec.gauge_id_prefix, spec.gauge_id_digits) for gauge in rows[spec.gauge_id]]
    rows = rows.set_index(spec.gauge_id)
    if rows.index.duplicated().any():
        raise DataError(f"{name} has gauge {rows.index[rows.index.duplicated()][0]} twice; keep one row")
    return Table(name, _without_marks(rows, spec.missing_values), setting, spec.decimal)


def _of_text(path: Path, spec: AttributeTable, name: str) -> pd.DataFrame:
    """Return all columns as text: leading zeros survive."""
    lines = tabular.read_lines(path, name, _say, Format.of(spec, SEPARATORS, key=spec.gauge_id))
    others = [column for column in lines.header if column and column != spec.gauge_id]
    return lines.columns([spec.gauge_id, *others])


def _of_netcdf(path: Path, spec: AttributeTable, name: str) -> pd.DataFrame:
    """Return the variables along the dimension of the gauge ids, and no other, as text."""
    with netcdf.peeked(path, name) as dataset:
        if spec.gauge_id not in dataset.variables or dataset[spec.gauge_id].ndim != 1:
            known = nearest(spec.gauge_id, map(str, dataset.variables))
            raise DataError(f"{name} has no variable '{spec.gauge_id}' of gauge ids{known}")
        labels = dataset[spec.gauge_id]
        others = [str(column) for column, data in dataset.data_vars.items() if data.dims == labels.dims]
        columns = {column: netcdf.as_text(dataset[column]) for column in dict.fromkeys((spec.gauge_id, *others))}
    return pd.DataFrame(columns, dtype=object)


def _without_marks(rows: pd.DataFrame, missing: Sequence[str]) -> pd.DataFrame:
    """Return rows without the marks of missing values that are numbers, however they are written."""
    numbers = rows.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    kept = numbers.apply(lambda column: pd.Series(tabular.without_marks(column.to_numpy(), missing), rows.index))
    return rows.mask(numbers.notna() & kept.isna())


def _say(_: str, message: str) -> None:
    log.info(message)


def in_memory(rows: pd.DataFrame, name: str) -> Table:
    """Return a table that comes from no file."""
    return Table(name, rows.set_index("gauge_id").astype(str))


def gauges_of(tables: Sequence[Table]) -> list[str]:
    """Return the gauges of the first table."""
    return [str(gauge) for gauge in tables[0].rows.index]


def select(
    tables: Sequence[Table], catchments: Catchments, gauges: Sequence[str], attributes: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return attributes and place of each gauge: numbers, one column for each attribute by its name.

    ``attributes`` names those wanted; None is all of the recipe. Further columns: ``latitude``, ``longitude``
    (degrees), ``area`` (km2) and ``gauge_name`` (text), as ``@latitude`` and so on, so that an attribute may have the
    same name. Gauges that lack a value are left out where ``recipe.catchments.on_missing`` says so.

    Raises
    ------
    DataError
        If a column is in no table, or a gauge lacks a value.
    """
    columns = {"@latitude": catchments.latitude, "@longitude": catchments.longitude, "@area": catchments.area}
    chosen = catchments.attributes if attributes is None else {name: catchments.attributes[name] for name in attributes}
    columns |= {name: attribute.column for name, attribute in chosen.items()}
    numbers = {
        name: _is_of_class(tables, name, column, chosen[name].one_hot, gauges)
        if name in chosen and chosen[name].one_hot
        else _numbers(tables, column, gauges)
        for name, column in columns.items()
    }
    values = pd.DataFrame(numbers, index=pd.Index(gauges, name="gauge_id"))
    values["@area"] = places.areas(values["@area"], catchments)
    values = _matched(values, columns, tables, catchments)
    values["@longitude"] = places.longitudes(values["@latitude"], values["@longitude"], catchments)
    _warn_of_marks(values[list(chosen)], columns, tables)
    names = _column(tables, catchments.gauge_name, list(values.index)) if catchments.gauge_name else None
    return values.assign(**{"@gauge_name": "" if names is None else names.fillna("")})


def classes(tables: Sequence[Table], column: str, gauges: Sequence[str]) -> NDArray[np.object_]:
    """Return a column of classes as text for each gauge, ``[C]``.

    Raises
    ------
    DataError
        If the column is in no table, or a gauge has no class.
    """
    text = _column(tables, column, gauges)
    if text.isna().any():
        raise DataError(
            f"{listed(text.index[text.isna()], 'gauge', 'has', 'have')} no value of column '{column}', by which "
            "recipe.catchments.groups sorts catchments; add it, or leave that group out"
        )
    return text.str.strip().to_numpy(dtype=object)


def _matched(
    values: pd.DataFrame, columns: dict[str, str], tables: Sequence[Table], catchments: Catchments
) -> pd.DataFrame:
    """Return the gauges that have every value; refuse the others, or leave them out with a warning."""
    lacking = values.isna().any(axis=1)
    if not lacking.any():
        return values
    name, column = next((name, column) for name, column in columns.items() if values[name].isna().any())
    absent = values.index[values[name].isna()]
    hint = _hint(str(absent[0]), [table for table in tables if column in table.rows])
    holders = _names(table for table in tables if column in table.rows)
    if catchments.on_missing == "drop":
        dropped = listed(values.index[lacking], "gauge", "lacks", "lack")
        spelling = f"; {absent[0]}: {hint}" if " there: " in hint else ""
        log.warning("%s an attribute (such as '%s'): left out, %d kept%s", dropped, column, (~lacking).sum(), spelling)
        if lacking.all():
            raise DataError(f"No gauge has a value of every attribute; '{column}' is in {holders}: mend the gauge ids")
        return values[~lacking]
    use = "" if name.lstrip("@") == column else f" (for '{name.lstrip('@')}')"
    absence = f"{listed(absent, 'gauge', 'has', 'have')} no value of column '{column}'{use} in {holders}"
    if " there: " in hint:
        raise DataError(f"{absence}; {absent[0]}: {hint}")
    raise DataError(
        f"{absence}{f' ({hint})' if hint else ''}; add it there, name the gauges to use in "
        "recipe.catchments.gauges, or leave such gauges out with recipe.catchments.on_missing=drop"
    )


def _hint(gauge: str, holders: Sequence[Table]) -> str:
    """Return how a gauge is written in the tables that do not have it."""
    if any(gauge in table.rows.index for table in holders):
        return ""
    hints = (ids.hint(gauge, table.rows.index, "modalities.<name>.source", table.setting) for table in holders)
    return next((hint for hint in sorted(hints, key=len, reverse=True) if hint), "")


def _warn_of_marks(values: pd.DataFrame, columns: Mapping[str, str], tables: Sequence[Table]) -> None:
    """Say where an attribute's least or greatest value looks like a mark of missing ones."""
    for name in values.columns:
        for value in sorted({values[name].min(), values[name].max()}):
            if marks.is_likely(value):
                holder = next(table for table in tables if columns[name] in table.rows)
                log.warning(
                    "Attribute '%s': %s (column '%s' of %s): a missing mark? Name it in %s.missing_values",
                    name, listed(values.index[values[name] == value], "gauge", f"has {value:g}", f"have {value:g}"),
                    columns[name], holder.name, holder.setting,
                )  # fmt: skip


def _numbers(tables: Sequence[Table], column: str, gauges: Sequence[str]) -> pd.Series:
    """Return a column for each gauge as numbers, from the first table that has a value."""
    _column(tables, column, gauges)  # some table has it
    values = pd.Series(np.nan, index=pd.Index(gauges))
    for table in reversed(tables):
        if column in table.rows:
            own = table.rows[column].reindex(values.index).dropna().rename_axis("gauge")
            values[own.index] = tabular.to_numbers(
                own, table.name, column, decimal=table.decimal, setting=table.setting
            )
    return values


def _is_of_class(
    tables: Sequence[Table], name: str, column: str, classes: Sequence[str], gauges: Sequence[str]
) -> pd.Series:
    """Return 1 where the column has one of the values, 0 where it has another, NaN where it has none."""
    text = _column(tables, column, gauges)
    plain = text.map(_plain, na_action="ignore")
    known = set(plain.dropna())
    unknown = [name for name in classes if _plain(name) not in known]
    if unknown:
        present = ", ".join(sorted(known)[:MOST_CLASSES]) + (", ..." if len(known) > MOST_CLASSES else "")
        log.warning("Attribute '%s': no gauge has %s in column '%s' (%s)", name, " or ".join(unknown), column, present)
    return plain.isin([_plain(name) for name in classes]).astype(float).mask(text.isna())


def _plain(value: str) -> str:
    """Return a class as it is compared: 6 is 6.0, and spaces around it do not count."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.strip()


def _column(tables: Sequence[Table], column: str, gauges: Sequence[str]) -> pd.Series:
    """Return a column for each gauge as text, from the first table that has a value."""
    holders = [table.rows[column] for table in tables if column in table.rows]
    if not holders:
        known = {str(name) for table in tables for name in table.rows.columns}
        raise DataError(f"No column '{column}' in {_names(tables)}{nearest(column, known)}")
    index = pd.Index(gauges)
    merged = holders[0].reindex(index)
    for holder in holders[1:]:
        merged = merged.fillna(holder.reindex(index))
    return merged


def _names(tables: Iterable[Table], most: int = 3) -> str:
    names = [table.name for table in tables]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
