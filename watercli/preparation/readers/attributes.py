"""Static attributes from text tables keyed by gauge id, such as those of CAMELS-GB, CAMELS-US and Caravan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.config import AttributeTable, Catchments
from watercli.errors import DataError, nearest
from watercli.hydrology.units import stated_in
from watercli.log import log
from watercli.preparation.geometry import listed
from watercli.preparation.quality import marks
from watercli.preparation.readers import ids, netcdf, parquet, places, tabular
from watercli.preparation.readers.sources import Sources
from watercli.preparation.readers.tabular import Format

SEPARATORS = (",", ";", "\t", "|", " ")
"""The first by which the line of names holds the column of gauge ids is the table's: CAMELS-US has semicolons."""

MOST_CLASSES = 10
"""Classes of a column that a message names."""


FAR_APART = 1.0
"""Degrees between two places of one gauge beyond which they are two gauges."""


@dataclass(frozen=True)
class Table:
    """One attribute file: its name for errors and its rows by gauge id, all text."""

    name: str
    rows: pd.DataFrame
    setting: str = "recipe.catchments.tables"
    """The section of the configuration that names it, for messages."""
    decimal: str = "."
    units: Mapping[str, str] = field(default_factory=dict)
    """Units of columns that the file states."""


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
    _check_places(tables, catchments)
    return tables


def _check_places(tables: Sequence[Table], catchments: Catchments) -> None:
    """Refuse an id that is of two catchments: two tables have it, at places far from each other."""
    for axis in (catchments.latitude, catchments.longitude):
        known: dict[str, tuple[float, Table]] = {}
        for table in tables:
            column = next((column for column in axis if column in table.rows), None)
            degrees = pd.to_numeric(table.rows[column], errors="coerce").dropna() if column else pd.Series(dtype=float)
            for gauge, degree in degrees.items():
                elsewhere, first = known.setdefault(str(gauge), (degree, table))
                if min(abs(degree - elsewhere), 360 - abs(degree - elsewhere)) > FAR_APART:
                    raise DataError(
                        f"Gauge {gauge} is at {elsewhere:g} degrees in {first.name} and at {degree:g} in {table.name}: "
                        f"two catchments of one id; set gauge_id_new_prefix in {table.setting} and in its sources"
                    )


def _read(path: Path, spec: AttributeTable, name: str, setting: str) -> Table:
    units: dict[str, str] = {}
    if path.suffix.lower() in netcdf.ENDINGS:
        rows, units = _of_netcdf(path, spec, name)
    else:
        rows = _of_parquet(path, name) if path.suffix.lower() in parquet.ENDINGS else _of_text(path, spec, name)
    if spec.gauge_id not in rows:
        raise DataError(f"{name} has no column '{spec.gauge_id}'{nearest(spec.gauge_id, map(str, rows.columns))}")
    missing = tabular.MISSING | {mark.lower() for mark in spec.missing_values}
    rows = rows.mask(rows.apply(lambda column: column.str.lower().isin(missing)))
    if rows[spec.gauge_id].hasnans:
        raise DataError(f"{name} has a row without a gauge id in column '{spec.gauge_id}'; mend it")
    rows[spec.gauge_id] = [
        ids.own(gauge, spec.gauge_id_prefix, spec.gauge_id_digits, spec.gauge_id_new_prefix)
        for gauge in rows[spec.gauge_id]
    ]
    rows = rows.set_index(spec.gauge_id)
    if rows.index.duplicated().any():
        raise DataError(f"{name} has gauge {rows.index[rows.index.duplicated()][0]} twice; keep one row")
    return Table(name, _without_marks(rows, spec.missing_values), setting, spec.decimal, units)


def _of_parquet(path: Path, name: str) -> pd.DataFrame:
    """Return all columns as text."""
    rows = parquet.read(path, name)
    return rows.astype(object).where(rows.notna(), "").astype(str)


def _of_text(path: Path, spec: AttributeTable, name: str) -> pd.DataFrame:
    """Return all columns as text: leading zeros survive."""
    lines = tabular.read_lines(path, name, _say, Format.of(spec, SEPARATORS, key=spec.gauge_id))
    others = [column for column in lines.header if column and column != spec.gauge_id]
    return lines.columns([spec.gauge_id, *others])


def _of_netcdf(path: Path, spec: AttributeTable, name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the variables along the dimension of the gauge ids, and no other, as text, and their units."""
    with netcdf.peeked(path, name) as dataset:
        if spec.gauge_id not in dataset.variables or dataset[spec.gauge_id].ndim != 1:
            known = nearest(spec.gauge_id, map(str, dataset.variables))
            raise DataError(f"{name} has no variable '{spec.gauge_id}' of gauge ids{known}")
        labels = dataset[spec.gauge_id]
        others = [str(column) for column, data in dataset.data_vars.items() if data.dims == labels.dims]
        columns = {column: netcdf.as_text(dataset[column]) for column in dict.fromkeys((spec.gauge_id, *others))}
        units = {column: given for column in others if (given := stated_in(dataset[column].attrs))}
    return pd.DataFrame(columns, dtype=object), units


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

    ``attributes`` names some of those that have columns; None is all of them. Further columns: ``latitude``,
    ``longitude`` (degrees), ``area`` (km2) and ``gauge_name`` (text), as ``@latitude`` and so on, so that an attribute
    may have the same name. Gauges that lack a value are left out, or have NaN, where ``recipe.catchments.on_missing``
    says so.

    Raises
    ------
    DataError
        If a column is in no table, or a gauge lacks a value.
    """
    columns = {"@latitude": catchments.latitude, "@longitude": catchments.longitude, "@area": catchments.area}
    names = catchments.attributes if attributes is None else attributes
    chosen = {name: catchments.attributes[name] for name in names if catchments.attributes[name].column}
    columns |= {name: attribute.column for name, attribute in chosen.items()}
    numbers = {}
    for name, candidates in columns.items():
        if catchments.on_missing == "keep" and not name.startswith("@") and not _holders(tables, candidates):
            log.warning("Attribute '%s' is taken as missing: %s", name, _no_column(tables, candidates))
            numbers[name] = pd.Series(np.nan, index=pd.Index(gauges))
        elif name in chosen and chosen[name].one_hot:
            numbers[name] = _is_of_class(tables, name, candidates, chosen[name].one_hot, gauges)
        else:
            numbers[name] = _numbers(tables, candidates, gauges)
    values = pd.DataFrame(numbers, index=pd.Index(gauges, name="gauge_id"))
    values["@area"] = places.areas(values["@area"], catchments, _units_of(tables, catchments.area))
    values = _matched(values, columns, tables, catchments)
    values["@longitude"] = places.longitudes(values["@latitude"], values["@longitude"], catchments)
    _warn_of_marks(values[list(chosen)], columns, tables)
    labels = _names_of_gauges(tables, catchments, list(values.index))
    return values.assign(**{"@gauge_name": "" if labels is None else labels.fillna("")})


def _names_of_gauges(tables: Sequence[Table], catchments: Catchments, gauges: Sequence[str]) -> pd.Series | None:
    """Return the names of gauges; None if there are none: a table without names needs no setting that says so."""
    column = catchments.gauge_name
    if column is None or (column == Catchments.model_fields["gauge_name"].default and not _holders(tables, (column,))):
        return None
    return text_of(tables, (column,), gauges)


def classes(tables: Sequence[Table], column: str, gauges: Sequence[str]) -> NDArray[np.object_]:
    """Return a column of classes as text for each gauge, ``[C]``.

    Raises
    ------
    DataError
        If the column is in no table, or a gauge has no class.
    """
    text = text_of(tables, (column,), gauges)
    if text.isna().any():
        raise DataError(
            f"{listed(text.index[text.isna()], 'gauge', 'has', 'have')} no value of column '{column}', by which "
            "recipe.catchments.groups sorts catchments; add it, or leave that group out"
        )
    return text.str.strip().to_numpy(dtype=object)


def _matched(
    values: pd.DataFrame, columns: Mapping[str, Sequence[str]], tables: Sequence[Table], catchments: Catchments
) -> pd.DataFrame:
    """Return the gauges that have every value; refuse the others, or do with them as the recipe says."""
    if catchments.on_missing == "keep":
        _report_kept(values)
    needed = [name for name in columns if name.startswith("@") or catchments.on_missing != "keep"]
    lacking = values[needed].isna().any(axis=1)
    if not lacking.any():
        return values
    name = next(name for name in needed if values[name].isna().any())
    column = " or ".join(columns[name])
    absent = values.index[values[name].isna()]
    hint = _hint(str(absent[0]), _holders(tables, columns[name]))
    holders = _names(_holders(tables, columns[name]))
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
    keep = "" if name.startswith("@") else ", or take it as missing with recipe.catchments.on_missing=keep"
    raise DataError(
        f"{absence}{f' ({hint})' if hint else ''}; add it there, name the gauges to use in "
        f"recipe.catchments.gauges, or leave such gauges out with recipe.catchments.on_missing=drop{keep}"
    )


def _report_kept(values: pd.DataFrame) -> None:
    """Say which attributes are missing, and for how many gauges."""
    gaps = values.drop(columns=[name for name in values if str(name).startswith("@")]).isna().sum()
    missing = gaps[gaps > 0]
    if len(missing):
        counts = ", ".join(f"{name} of {count:,}" for name, count in missing.items())
        log.warning("Attributes are missing for some of %s gauges: %s", f"{len(values):,}", counts)


def _hint(gauge: str, holders: Sequence[Table]) -> str:
    """Return how a gauge is written in the tables that do not have it."""
    if any(gauge in table.rows.index for table in holders):
        return ""
    hints = (ids.hint(gauge, table.rows.index, "modalities.<name>.source", table.setting) for table in holders)
    return next((hint for hint in sorted(hints, key=len, reverse=True) if hint), "")


def _warn_of_marks(values: pd.DataFrame, columns: Mapping[str, Sequence[str]], tables: Sequence[Table]) -> None:
    """Say where an attribute's least or greatest value looks like a mark of missing ones."""
    for name in values.columns:
        for value in sorted({values[name].min(), values[name].max()}):
            if marks.is_likely(value):
                holder = _holders(tables, columns[name])[0]
                log.warning(
                    "Attribute '%s': %s (column '%s' of %s): a missing mark? Name it in %s.missing_values",
                    name, listed(values.index[values[name] == value], "gauge", f"has {value:g}", f"have {value:g}"),
                    " or ".join(columns[name]), holder.name, holder.setting,
                )  # fmt: skip


def _numbers(tables: Sequence[Table], columns: Sequence[str], gauges: Sequence[str]) -> pd.Series:
    """Return numbers for each gauge, from the first of the columns, and of it the first table, that has a value."""
    _check_columns(tables, columns)
    values = pd.Series(np.nan, index=pd.Index(gauges))
    for column in reversed(columns):
        for table in reversed(_holders(tables, (column,))):
            own = table.rows[column].reindex(values.index).dropna().rename_axis("gauge")
            values[own.index] = tabular.to_numbers(
                own, table.name, column, decimal=table.decimal, setting=table.setting
            )
    return values


def _is_of_class(
    tables: Sequence[Table], name: str, columns: Sequence[str], classes: Sequence[str], gauges: Sequence[str]
) -> pd.Series:
    """Return 1 where the columns have one of the values, 0 where they have another, NaN where they have none."""
    text = text_of(tables, columns, gauges)
    plain = text.map(_plain, na_action="ignore")
    known = set(plain.dropna())
    unknown = [name for name in classes if _plain(name) not in known]
    if unknown:
        present = ", ".join(sorted(known)[:MOST_CLASSES]) + (", ..." if len(known) > MOST_CLASSES else "")
        log.warning("Attribute '%s': no gauge has %s in column '%s' (%s)", name, " or ".join(unknown),
                    " or ".join(columns), present)  # fmt: skip
    return plain.isin([_plain(name) for name in classes]).astype(float).mask(text.isna())


def _plain(value: str) -> str:
    """Return a class as it is compared: 6 is 6.0, and spaces around it do not count."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.strip()


def text_of(tables: Sequence[Table], columns: Sequence[str], gauges: Sequence[str]) -> pd.Series:
    """Return the text of columns for each gauge, from the first column and table that has some; NaN elsewhere."""
    _check_columns(tables, columns)
    merged = pd.Series(np.nan, index=pd.Index(gauges), dtype=object)
    for column in columns:
        for table in _holders(tables, (column,)):
            merged = merged.fillna(table.rows[column].reindex(merged.index))
    return merged


def _holders(tables: Sequence[Table], columns: Sequence[str]) -> list[Table]:
    """Return the tables that have one of the columns."""
    return [table for table in tables if any(column in table.rows for column in columns)]


def _check_columns(tables: Sequence[Table], columns: Sequence[str]) -> None:
    if not _holders(tables, columns):
        raise DataError(_no_column(tables, columns))


def _no_column(tables: Sequence[Table], columns: Sequence[str]) -> str:
    known = {str(name) for table in tables for name in table.rows.columns}
    return f"No column '{' or '.join(columns)}' in {_names(tables)}{nearest(columns[0], known)}"


def _units_of(tables: Sequence[Table], columns: Sequence[str]) -> str | None:
    """Return the units that the first table with one of the columns states for it."""
    stated = (table.units.get(column) for column in columns for table in _holders(tables, (column,)))
    return next(stated, None)


def _names(tables: Iterable[Table], most: int = 3) -> str:
    names = [table.name for table in tables]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
