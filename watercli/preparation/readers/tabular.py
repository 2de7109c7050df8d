"""Text tables, read strictly: every line whole, every number a number, every date a date and there once.

CSV, tables with other separators, and tables of columns set apart by spaces. Byte-order marks, Windows line ends,
blank lines and spaces around a value are taken as what they are: nothing. Errors name the file and the line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.errors import DataError, nearest
from watercli.preparation.readers.sources import unreadable

Say = Callable[[str, str], None]

ISO = "ISO8601"
"""Dates as 2000-01-31, with or without a time."""
MISSING = frozenset(("", "nan", "na", "n/a", "#n/a", "null", "none", "nat"))
"""What stands for a missing value, in small letters."""


@dataclass(frozen=True)
class Lines:
    """A text table: the names of its columns, and its rows with the number of the line each stands on."""

    name: str
    """The file, for errors."""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int]

    def columns(self, names: Collection[str]) -> pd.DataFrame:
        """Return the columns as text, indexed by line.

        Raises
        ------
        DataError
            If the table lacks one.
        """
        for column in names:
            if column not in self.header:
                raise DataError(f"{self.name} has no column '{column}'{nearest(column, self.header)}")
            if self.header.count(column) > 1:
                raise DataError(f"{self.name} has the column '{column}' twice; keep one")
        places = {column: self.header.index(column) for column in names}
        data = {column: [row[place].strip() for row in self.rows] for column, place in places.items()}
        return pd.DataFrame(data, index=pd.Index(self.numbers, name="line"), dtype=object)


def text_of(path: Path, name: str, say: Say) -> str:
    """Return a file's text: UTF-8, or Windows-1252 where it is not that.

    Raises
    ------
    DataError
        If it is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(name, "text") from error
    if b"\0" in content:
        raise unreadable(name, "text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        say("encoding", f"{name} is not UTF-8: read as Windows-1252")
        return content.decode("cp1252", errors="replace")


def read_lines(
    path: Path, name: str, say: Say, *, separators: Sequence[str] = (",",), key: str | None = None, skip: int = 0
) -> Lines:
    """Return a table with one line of column names, after ``skip`` lines and those that begin with ``#``.

    ``separators`` are tried in turn, a space standing for any white space: the first by which the line of names holds
    ``key`` (any, if that is None) separates all lines.

    Raises
    ------
    DataError
        If a line has fewer columns than the first, or more, or there is no line at all.
    """
    text = text_of(path, name, say)
    try:
        # Where no separator yields the key, the first one's names are the likeliest to be shown.
        for separator in (*separators, separators[0]):
            lines = (line for line in fields(text, separator) if line[0] > skip and not line[1][0].startswith("#"))
            header = [column.strip() for column in next(lines, (0, []))[1]]
            if key is None or key in header:
                break
        if not header:
            raise DataError(f"{name} is empty; fetch it again or leave it out")
        return whole(name, header, lines)
    except csv.Error as error:
        raise unreadable(name, "a table") from error


def fields(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line that is not blank, and its fields."""
    if separator == " ":
        for number, line in enumerate(text.split("\n"), start=1):
            if row := line.split():
                yield number, row
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    for row in reader:
        if any(row):
            yield reader.line_num, row


def whole(name: str, header: Sequence[str], lines: Iterator[tuple[int, list[str]]]) -> Lines:
    """Return lines under a header that all have its number of columns; empty ones beyond it do not count.

    Raises
    ------
    DataError
        If a line has fewer columns, or more.
    """
    names = list(header)
    while names and not names[-1]:
        names.pop()
    width, numbers, rows = len(names), [], []
    for number, row in lines:
        if len(row) < width or any(row[width:]):
            raise DataError(
                f"{name} has {len(row)} columns on line {number}, not {width} as its first line has: the line is torn "
                "or the file is damaged; fetch it again or mend the line"
            )
        numbers.append(number)
        rows.append(row[:width])
    return Lines(name, names, rows, numbers)


def to_numbers(column: pd.Series, name: str, label: str, missing: Sequence[str] = ()) -> NDArray[np.float64]:
    """Return text or numbers as float64, NaN where missing; ``missing`` are further marks of that.

    Raises
    ------
    DataError
        If a value is neither a finite number nor missing.
    """
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    for mark in missing:
        values[values == pd.to_numeric(mark, errors="coerce")] = np.nan  # -999 is also -999.00
    # Only what is no number has to be looked at as text.
    strange = np.flatnonzero(~np.isfinite(values))
    text = column.iloc[strange].astype(str).str.strip()
    wrong = ~text.str.lower().isin(MISSING | {mark.lower() for mark in missing})
    wrong &= np.isinf(values[strange]) | pd.to_numeric(text, errors="coerce").isna()
    if wrong.any():
        line = text.index[wrong][0]
        raise DataError(
            f"{name} has '{text[wrong].iloc[0]}' for '{label}' on {_place(column, line)}; "
            "it must be a number, or empty where missing"
        )
    return values


def to_days(column: pd.Series, name: str, written: str = ISO) -> pd.DatetimeIndex:
    """Return dates, or times of which only the day counts; ``written`` as pandas has it.

    Raises
    ------
    DataError
        If one is not ``written`` so, or comes twice.
    """
    if written == ISO and not pd.api.types.is_datetime64_any_dtype(column):
        # The day as stamped; pandas would take 2001-12, a torn date, as a day, and the zone of a time into account.
        days = column.astype(str).str.extract(r"^\s*(\d{4}-?\d{2}-?\d{2})(?:[T ].*)?$", expand=False)
        dates = pd.to_datetime(days, format=ISO, errors="coerce")
    else:
        dates = pd.to_datetime(column, format=written, errors="coerce")
    if isinstance(dates.dtype, pd.DatetimeTZDtype):
        dates = dates.dt.tz_localize(None)
    if dates.isna().any():
        line = column.index[dates.isna()][0]
        example = pd.Timestamp(2000, 1, 31).strftime("%Y-%m-%d" if written == ISO else written)
        raise DataError(
            f"{name} has '{column[line]}' for a date on {_place(column, line)}; dates must be written like {example}"
        )
    index = pd.DatetimeIndex(dates).normalize().as_unit("ns")
    doubled = index.duplicated()
    if doubled.any():
        where = _place(column, column.index[doubled][0])
        raise DataError(f"{name} has the date {index[doubled][0]:%Y-%m-%d} twice, again on {where}; keep one row")
    return index


def _place(column: pd.Series, row: object) -> str:
    return f"{'line' if column.index.name == 'line' else 'row'} {row}"
