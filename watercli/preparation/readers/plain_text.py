"""Text tables by pandas' C parser, four times as fast as line by line: those that are plainly whole.

What is not plainly whole, `read` refuses to judge: `tabular` then reads the table line by line, and says what is wrong
with which line, if anything is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from watercli.preparation.readers import tabular
from watercli.preparation.readers.tabular import MISSING, Format
from watercli.preparation.readers.text import Say, text_of

MARKS = ("NaN", *{form(word) for word in MISSING for form in (str, str.upper, str.title)})
"""What stands for a missing value, as it is usually written."""

LARGE = 16_000_000
"""Bytes of a table from which on its columns of text are held as categories: a long table repeats ids and dates."""


class Unsure(Exception):
    """A table has to be read line by line."""


def read(
    path: Path, name: str, say: Say, form: Format, texts: Collection[str], numbers: Collection[str] | None,
    missing: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """Return the columns ``texts`` as text, and ``numbers`` as finite numbers or NaN.

    None of ``numbers`` takes all other columns; those that the table lacks are left out.

    Raises
    ------
    Unsure
        If the table is not plainly whole.
    DataError
        If the file is no text.
    """
    if form.transposed:
        raise Unsure
    text = text_of(path, name, say, form.sheet)
    try:
        separator, header, lines = tabular.opened(text, form)
        first, _ = next(lines)
    except (csv.Error, StopIteration) as error:
        raise Unsure from error
    body = _body(text, first, separator, form.comment)
    if not _is_whole(body, separator, len(header)):
        raise Unsure
    chosen = [column for column in header if column and (column in texts or numbers is None or column in numbers)]
    if len(set(chosen)) < len(chosen) or not set(texts) <= set(chosen):
        raise Unsure
    values = [column for column in chosen if column not in texts]
    table = _parsed(body, separator, form.decimal, header, texts, values, missing)
    if np.isinf(table[values].to_numpy(dtype=np.float64)).any():
        raise Unsure
    return table


def _body(text: str, first: int, separator: str, comment: str) -> bytes:
    """Return the lines of values, from number ``first`` on, without needless quotes."""
    body = text.split("\n", first - 1)[-1]
    if comment and (body.startswith(comment) or f"\n{comment}" in body):
        raise Unsure
    if separator != " " and '"' in body:
        sign = re.escape(separator)
        body = re.sub(rf'(?:^|(?<=[\n{sign}]))"([^"\n{sign}]*)"(?=[\n{sign}]|$)', r"\1", body)
        if '"' in body:
            raise Unsure
    return f"{body}\n".encode()


def _is_whole(body: bytes, separator: str, width: int) -> bool:
    """Whether every line that is not empty has ``width`` fields."""
    signs = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(signs == ord("\n"))
    if separator == " ":
        is_space = np.isin(signs, np.frombuffer(b" \t\n", dtype=np.uint8))
        fields = np.flatnonzero(~is_space & np.append(True, is_space[:-1]))
        counts = np.diff(np.searchsorted(fields, ends), prepend=0)
    else:
        counts = np.diff(np.searchsorted(np.flatnonzero(signs == ord(separator)), ends), prepend=0) + 1
    lengths = np.diff(ends, prepend=-1) - 1
    return bool((counts[lengths > 0] == width).all())


def _parsed(
    body: bytes, separator: str, decimal: str, header: Sequence[str], texts: Collection[str], values: Sequence[str],
    missing: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    places = {column: str(header.index(column)) for column in (*texts, *values)}
    text_type = "category" if len(body) > LARGE else "str"
    try:
        table = pd.read_csv(
            io.BytesIO(body),
            sep=r"\s+" if separator == " " else separator,
            header=None,
            names=[str(place) for place in range(len(header))],
            usecols=list(places.values()),
            dtype={places[column]: text_type if column in texts else "float64" for column in places},
            na_values={places[column]: [*MARKS, *missing] for column in values},
            keep_default_na=False,
            decimal=decimal,
            skipinitialspace=True,
            quoting=csv.QUOTE_NONE,
            float_precision="high",
            engine="c",
            low_memory=False,
        )
    except (ValueError, OverflowError) as error:  # ParserError among them
        raise Unsure from error
    table.columns = pd.Index([header[int(place)] for place in table.columns])
    if f" {separator}".encode() in body or b" \n" in body:
        for column in texts:
            table[column] = table[column].astype(object).str.strip()
    return table
