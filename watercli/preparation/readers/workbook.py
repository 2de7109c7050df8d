"""Excel workbooks: a sheet as the text that saving it as CSV would give, so that text tables are read in one way."""

from __future__ import annotations

import csv
import datetime as dt
import io
import warnings
import zipfile
from typing import Any

import openpyxl

from watercli.errors import DataError, nearest
from watercli.preparation.readers.sources import unreadable

ERRORS = frozenset(("#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"))
"""What cells hold whose formula failed: missing."""


def is_workbook(content: bytes) -> bool:
    """Return whether a file's bytes are an Excel workbook of 2007 or later (.xlsx)."""
    if not content.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def sheet_as_text(content: bytes, name: str, sheet: str | None, say: Any) -> str:
    """Return a sheet as CSV, dates as ISO 8601; ``sheet`` None: the only one that holds anything, or the first.

    Raises
    ------
    DataError
        If the workbook cannot be read, or has no such sheet.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which hold no values
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            if sheet is not None and sheet not in book.sheetnames:
                raise DataError(f"{name} has no sheet '{sheet}'{nearest(sheet, book.sheetnames)}")
            rows = {title: _rows(book[title]) for title in ([sheet] if sheet else book.sheetnames)}
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:  # what openpyxl raises of a torn workbook
        raise unreadable(name, "an Excel workbook") from error
    filled = [title for title, found in rows.items() if found] or [next(iter(rows))]
    if len(filled) > 1:
        say(
            "sheet",
            f"{name} has the sheets {', '.join(filled)}: '{filled[0]}' is read; name another by the setting sheet",
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows[filled[0]])
    return text.getvalue()


def _rows(sheet: Any) -> list[list[str]]:
    """Return the rows of a sheet as text, without empty rows below and empty columns to the right."""
    rows = [[_as_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    width = max((number + 1 for row in rows for number, text in enumerate(row) if text), default=0)
    while rows and not any(rows[-1]):
        rows.pop()
    return [row[:width] for row in rows]


def _as_text(value: Any) -> str:
    if value is None or value in ERRORS:
        return ""
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d}" if value.time() == dt.time() else f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
