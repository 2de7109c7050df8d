"""Text tables, read strictly: every line whole, every number a number, every date a date and there once.

CSV, tables with other separators, and tables of columns set apart by spaces. Byte-order marks, Windows line ends,
blank lines and spaces around a value are taken as what they are: nothing. Errors name the file and the line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.config.data import TextFormat
from watercli.errors import DataError, nearest
from watercli.preparation.readers.sources import unreadable
from watercli.preparation.readers.text import Say, text_of

MISSING = frozenset(
    (
        "",
        "nan",
        "-nan",
        "na",
        "n/a",
        "<na>",
        "#na",
        "#n/a",
        "null",
        "none",
        "nat",
        "1.#qnan",
        "-1.#qnan",
        "1.#ind",
        "-1.#ind",
    )
)
"""What stands for a missing value, in small letters."""
PLACES = {"line": "on line", "column": "in column", "gauge": "of gauge"}
"""Where a value stands, by the name of a table's index."""
MOST_SHOWN = 5
"""Further values that are no numbers, which an error shows."""
MARK_TOLERANCE = 1e-6
"""Share by which a value may differ from a mark of missing values: -28316.8 is also -28316.818, and a float32."""


@dataclass(frozen=True)
class Format:
    """How a text table is written."""

    separators: Sequence[str] = (",",)
    """Tried in turn, a space standing for any white space: the first by which the line of names holds ``key`` (any, if
    that is None) separates all lines."""
    key: str | None = None
    decimal: str = "."
    skip_lines: int = 0
    """Lines above the names of the columns."""
    comment: str = "#"
    """What begins a line that is left out; empty for none."""
    lines_below_names: int = 0
    """Lines between the names and the values, such as one of units."""
    names: Sequence[str] | None = None
    """Names of the columns where no line holds them."""
    transposed: bool = False
    """Lines are columns, and begin with their names."""
    sheet: str | None = None
    """Sheet of an Excel workbook; None: the first."""

    @classmethod
    def of(cls, settings: TextFormat, separators: Sequence[str], key: str | None = None) -> Format:
        """Return the format that a recipe states."""
        return cls(separators, key, settings.decimal, settings.skip_lines, settings.comment,
                   settings.lines_below_names, transposed=settings.transposed, sheet=settings.sheet)  # fmt: skip


CSV = Format()
"""Names of columns on the first line, commas, decimal points."""


@dataclass(frozen=True)
class Lines:
    """A text table: the names of its columns, and its rows with the number of the line each stands on."""

    name: str
    """The file, for errors."""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int]
    numbered: str = "line"
    """What the numbers count: lines, or the columns of a table that was transposed."""

    def transposed(self) -> Lines:
        """Return the table with its lines as columns, which their first fields name."""
        names, *rows = zip(self.header, *self.rows, strict=True)
        return Lines(self.name, list(names), rows, range(2, len(rows) + 2), "column")

    def columns(
        self, names: Collection[str], remedy: Callable[[str, Sequence[str]], str] = lambda column, header: ""
    ) -> pd.DataFrame:
        """Return the columns as text, indexed by line; ``remedy`` says what to do about one that is not there.

        Raises
        ------
        DataError
            If the table lacks one.
        """
        for column in names:
            if column not in self.header:
                raise DataError(
                    f"{self.name} has no column '{column}'{nearest(column, self.header)}{remedy(column, self.header)}"
                )
            if self.header.count(column) > 1:
                raise DataError(f"{self.name} has the column '{column}' twice; keep one")
        places = {column: self.header.index(column) for column in names}
        data = {column: [row[place].strip() for row in self.rows] for column, place in places.items()}
        return pd.DataFrame(data, index=pd.Index(self.numbers, name=self.numbered), dtype=object)


def read_lines(path: Path, name: str, say: Say, form: Format = CSV) -> Lines:
    """Return a table of which every line is looked at.

    Raises
    ------
    DataError
        If a line has fewer columns than that of the names, or more, or there is no line at all.
    """
    text = text_of(path, name, say, form.sheet)
    try:
        _, header, lines = opened(text, form)
        if not header:
            raise DataError(f"{name} is empty; fetch it again or leave it out")
        table = whole(name, header, lines)
        if not table.rows and not form.names:
            raise DataError(f"{name} has no line below the names of its columns; fetch it again or leave it out")
        return table.transposed() if form.transposed else table
    except csv.Error as error:
        raise unreadable(name, "a table") from error


def opened(text: str, form: Format) -> tuple[str, list[str], Iterator[tuple[int, list[str]]]]:
    """Return a table's separator, the names of its columns, which are empty without any line, and its lines of values.

    Raises
    ------
    csv.Error
        If the text is no table.
    """
    # Where no separator yields the key, the first one's names are the likeliest to be shown.
    for separator in (*form.separators, form.separators[0]):
        lines = _content(text, separator, form)
        header = list(form.names) if form.names else [column.strip() for column in next(lines, (0, []))[1]]
        if form.key is None or form.key in header:
            break
    for _ in range(form.lines_below_names):
        next(lines, None)
    return separator, header, lines


def _content(text: str, separator: str, form: Format) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are neither skipped nor comments."""
    for number, row in fields(text, separator):
        if number > form.skip_lines and not (form.comment and row[0].startswith(form.comment)):
            yield number, row


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
            names_below = "" if width > 1 else "; or leave lines above the names out by skip_lines"
            raise DataError(
                f"{name} has {len(row)} columns on line {number}, not {width} as its first line has: the line is torn "
                f"or the file is damaged; fetch it again or mend the line{names_below}"
            )
        numbers.append(number)
        rows.append(row[:width])
    return Lines(name, names, rows, numbers)


def to_numbers(
    column: pd.Series, name: str, label: str, missing: Sequence[str] = (), *, decimal: str = ".", setting: str = ""
) -> NDArray[np.float64]:
    """Return text or numbers as float64, NaN where missing.

    ``missing`` are further marks of that, in the units of the column; ``setting`` names the section of the
    configuration that holds ``missing_values`` and ``decimal``, for errors.

    Raises
    ------
    DataError
        If a value is neither a finite number nor missing.
    """
    is_text = not pd.api.types.is_numeric_dtype(column)
    readable = _with_points(column, decimal) if is_text and decimal != "." else column
    values = pd.to_numeric(readable, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    values = without_marks(values, missing)
    # Only what is no number has to be looked at as text; of numbers, what is infinite.
    strange = np.flatnonzero(~np.isfinite(values) if is_text else np.isinf(values))
    if not strange.size:
        return values
    text = column.iloc[strange].astype(str).str.strip()
    wrong = ~text.str.lower().isin(MISSING | {mark.lower() for mark in missing})
    wrong &= np.isinf(values[strange]) | pd.to_numeric(readable.iloc[strange], errors="coerce").isna()
    if wrong.any():
        line, given = text.index[wrong][0], text[wrong].iloc[0]
        raise DataError(
            f"{name} has '{given}' for '{label}' {place(column, line)}; it must be a number, or empty where missing"
            f"{_remedy(given, setting)}{_further(text[wrong].iloc[1:], given)}"
        )
    return values


def _with_points(column: pd.Series, decimal: str) -> pd.Series:
    """Return numbers with decimal points; one that has a point already could be two things, and is none."""
    texts = column.astype(str)
    return texts.str.replace(decimal, ".", regex=False).mask(texts.str.contains(".", regex=False), "ambiguous")


def without_marks(values: NDArray[np.float64], marks: Sequence[str]) -> NDArray[np.float64]:
    """Return values with NaN in place of the marks of missing values that are numbers: -999 is also -999.00."""
    for mark in marks:
        number = pd.to_numeric(mark, errors="coerce")
        if np.isfinite(number):
            values = np.where(np.abs(values - number) <= MARK_TOLERANCE * abs(number), np.nan, values)
    return values


def _further(text: pd.Series, given: str) -> str:
    """Return which other values are no numbers, so that all are mended at once."""
    others = [f"'{value}'" for value in dict.fromkeys(text) if value != given]
    return f"; so are {', '.join(others[:MOST_SHOWN])}{', ...' if len(others) > MOST_SHOWN else ''}" if others else ""


def _remedy(given: str, setting: str) -> str:
    """Return what cures a value that is no number: the setting, where there is one."""
    where = f"{setting}." if setting else ""
    if re.fullmatch(r"[-+]?\d{1,3}([, '\u2019]\d{3})+(\.\d+)?|[-+]?\d{1,3}([. ]\d{3})+(,\d+)?", given):
        return (
            f" (the thousands have a separator: write 1250.5 for 1,250.5; or set {where}decimal to ',' if the comma is "
            "a decimal one)"
        )
    if re.fullmatch(r"[-+]?\d*,\d+", given):
        return f" (decimal commas: set {where}decimal to ',')"
    if re.fullmatch(r"[<>~]\s*[-+.\d]*\d|[-+.\d]*\d\s*[^\d.,]{1,3}", given):
        return f" (take the sign beside the number out of the file, or name '{given}' in {where}missing_values)"
    if re.fullmatch(r"[-+]?inf(inity)?", given.lower()):
        return f" (infinite: mend it, or name '{given}' in {where}missing_values)"
    return f" (if '{given}' marks a missing value, name it in {where}missing_values)"


def place(column: pd.Series, row: object) -> str:
    """Say where a value stands: on its line of a text, on a row by its number, or at a gauge."""
    return f"{PLACES.get(str(column.index.name), 'on row')} {row}"
