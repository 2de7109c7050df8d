"""Daily series of the UK National River Flow Archive, one CSV for each station and data type.

The file begins with lines of three columns, category, key and value: ``station,id,39001``, ``dataType,id,gdf``,
``dataType,units,m3/s``, ``data,first,1883-01-01``; then come date, value and, if there is one, a flag: ``M`` missing,
``E`` estimated. See nrfa.ceh.ac.uk/data-formats-types. The station is known by that preamble, not by the file's name.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import DataError
from watercli.log import track
from watercli.preparation.readers import dates, tabular
from watercli.preparation.readers.gauges import add, assemble, chosen
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request
from watercli.preparation.readers.text import text_of

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
DAY = "water days from 09:00 to 09:00 GMT"


def read(request: Request) -> xr.DataArray:
    """Return ``(catchment, time)`` of a data type such as ``gdf``, NaN where a value is missing.

    Raises
    ------
    ConfigError
        If a gauge of the recipe has no file.
    DataError
        If a file cannot be read, is torn, holds another data type, or repeats a date.
    """
    paths: dict[str, Path] = {}
    units: dict[str, str | None] = {}
    tables: dict[str, pd.DataFrame] = {}
    for path in track(request.paths, f"Reading {request.modality_name}"):
        about, rows = _split(request, path)
        gauge = add(request, paths, about["station,id"], path)
        tables[gauge], units[gauge] = rows, about.get("dataType,units")
    tables = chosen(request, tables)
    records: dict[str, pd.Series] = {}
    estimated = 0
    for gauge, rows in tables.items():
        name = request.name(paths[gauge])
        request.sources.use([paths[gauge]])
        values = tabular.to_numbers(
            rows["value"], name, request.source.variable, request.missing_values, setting=request.setting
        )
        values[rows["flag"] == "M"] = np.nan
        estimated += int((rows["flag"] == "E").sum())
        records[gauge] = pd.Series(values, index=dates.to_days(rows["date"], name))
        if units[gauge] != units[first := next(iter(tables))]:
            raise DataError(
                f"{name} is in '{units[gauge]}', {request.name(paths[first])} in '{units[first]}'; mend one"
            )
    if estimated:
        request.say("estimated", f"{estimated:,} days are flagged as estimated; they are kept")
    return assemble(request, records, units[next(iter(tables))], f"'{request.source.variable}' of the NRFA", DAY)


def _split(request: Request, path: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """Return the preamble by ``category,key``, and the rows: date, value and flag, indexed by line.

    Raises
    ------
    DataError
        If the preamble names no station or another data type, or a line is torn.
    """
    name = request.name(path)
    about: dict[str, str] = {}
    lines: list[int] = []
    rows: list[list[str]] = []
    for number, line in tabular.fields(text_of(path, name, request.say), ","):
        row = [field.strip() for field in line]
        if DATE.fullmatch(row[0]):
            lines.append(number)
            rows.append(row)
        elif len(row) > 1 and not rows:
            about[",".join(row[:2])] = ",".join(row[2:])
        else:
            raise DataError(f"{name} has '{','.join(row)}' on line {number}, which is no date and value; mend the line")
    short = next((number for number, row in zip(lines, rows, strict=True) if len(row) < 2), None)
    if short is not None:
        raise DataError(f"{name} has no value after the date on line {short}: it is torn; fetch it again")
    kind, variable = about.get("dataType,id", ""), request.source.variable
    if not about.get("station,id") or not rows:
        raise DataError(f"{name} is no daily series of the NRFA: it names no station, or holds no day; leave it out")
    if kind.lower() != variable.lower():
        raise DataError(
            f"{name} holds the data type '{kind}', not '{variable}'; narrow the pattern or mend the variable"
        )
    padded = [[*row, ""][:3] for row in rows]
    return about, pd.DataFrame(padded, columns=["date", "value", "flag"], index=pd.Index(lines, name="line"))


READER = Reader(read, ("series",))
