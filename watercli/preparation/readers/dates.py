"""Dates and times in columns of tables: read as stamped, strictly, with errors that name the line and the remedy."""

from __future__ import annotations

import logging
import re
from functools import lru_cache

import numpy as np
import pandas as pd

from watercli.errors import DataError
from watercli.preparation.readers.tabular import MISSING, place
from watercli.preparation.readers.text import Say

ISO = "ISO8601"
"""Dates as 2000-01-31, with or without a time."""
LIKELY_DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d-%b-%Y",
                "%d-%b-%y", "%d/%m/%y", "%m/%d/%y", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M",
                "%Y/%m/%d %H:%M")  # fmt: skip
"""Formats that an error proposes where they read every date of a table."""
CACHED_LENGTH = 1_000_000
"""Characters of a column of dates up to which it is worth remembering: files of one data set share their days."""


def to_days(
    column: pd.Series, name: str, written: str = ISO, say: Say | None = None, setting: str = ""
) -> pd.DatetimeIndex:
    """Return dates, or times of which only the day counts; ``written`` as pandas has it.

    ``say`` tells of times of day that were cut off; ``setting`` names the modality's source, for errors.

    Raises
    ------
    DataError
        If one is not ``written`` so, or comes twice.
    """
    index = _known_days(column, written)
    if index is not None:
        return index
    column = column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column
    times = to_times(column, name, written, setting=setting)
    index = times.normalize().as_unit("ns")
    doubled = index.duplicated()
    if doubled.any():
        row = column.index[doubled][0]
        refuse_several(times, name, setting)
        raise DataError(
            f"{name} has the date {index[doubled][0]:%Y-%m-%d} twice, again {place(column, row)}; keep one row"
        )
    if say is not None:
        _tell_of_hours(times, column, name, say)
    return index


def _known_days(column: pd.Series, written: str) -> pd.DatetimeIndex | None:
    """Return plainly written dates; None where they have to be looked at one by one."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        days = _known_days(column.cat.categories.to_series(), written)
        index = None if days is None else days.take(column.cat.codes.to_numpy())
        return None if index is None or index.has_duplicates else index
    try:
        joined = "\n".join(column)
    except TypeError:  # not all of it is text
        return None
    return _same_days(joined, written) if len(joined) < CACHED_LENGTH else _plain_days(column, written)


@lru_cache(maxsize=16)
def _same_days(joined: str, written: str) -> pd.DatetimeIndex | None:
    return _plain_days(pd.Series(joined.split("\n"), dtype=object), written)


def _plain_days(column: pd.Series, written: str) -> pd.DatetimeIndex | None:
    """Return dates that are plainly written and there once, or None."""
    if written == ISO and set(map(len, column)) != {len("2000-01-31")}:
        return None
    plain = "%Y-%m-%d" if written == ISO else written
    if "%H" in plain or "%I" in plain or "%z" in plain:
        return None
    days = pd.DatetimeIndex(pd.to_datetime(column, format=plain, errors="coerce")).as_unit("ns")
    return None if days.hasnans or days.has_duplicates else days


def of_parts(year: pd.Series, month: pd.Series, day: pd.Series) -> pd.Series:
    """Return dates as text from columns of year, month and day, which may be decimal numbers without a fraction."""
    years, months, days = (
        part.astype(str).str.strip().str.replace(r"\.0+$", "", regex=True) for part in (year, month, day)
    )
    return years + "-" + months.str.zfill(2) + "-" + days.str.zfill(2)


def to_times(
    column: pd.Series, name: str, written: str = ISO, *, utc: bool = False, setting: str = ""
) -> pd.DatetimeIndex:
    """Return times as stamped, or in UTC; ``24:00`` and other odd hours of a date are its midnight.

    Raises
    ------
    DataError
        If one is not ``written`` so.
    """
    if written == ISO and not pd.api.types.is_datetime64_any_dtype(column):
        times = _iso_times(column, utc)
    else:
        times = pd.to_datetime(column, format=written, errors="coerce")
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = (times.dt.tz_convert("UTC") if utc else times).dt.tz_localize(None)
    if times.isna().any():
        position = int(np.flatnonzero(times.isna())[0])
        raise DataError(_no_date(column, position, name, written, setting))
    return pd.DatetimeIndex(times)


def _iso_times(column: pd.Series, utc: bool) -> pd.Series:
    """Return times as stamped: pandas would take 2001-12, a torn date, as a day, and move what has a zone."""
    parts = column.astype(str).str.extract(r"^\s*(\d{4}-?\d{2}-?\d{2})(?:[T ](.*))?$")
    days = pd.to_datetime(parts[0], format=ISO, errors="coerce")
    clock = parts[1].fillna("").str.strip()
    hours = pd.to_timedelta(
        clock.str.extract(r"^(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)")[0].map(_with_seconds), errors="coerce"
    )
    hours = hours.where(hours < pd.Timedelta(days=1)).fillna(pd.Timedelta(0))
    if not utc:
        return days + hours
    zone = clock.str.extract(r"([+-]\d{2}):?(\d{2})?$")
    east = pd.to_timedelta(pd.to_numeric(zone[0], errors="coerce").fillna(0), unit="h")
    return days + hours - east


def _with_seconds(clock: str | float) -> str | float:
    return f"{clock}:00" if isinstance(clock, str) and clock.count(":") == 1 else clock


def _no_date(column: pd.Series, position: int, name: str, written: str, setting: str) -> str:
    """Return the sentence for what is no date, with the setting that reads it, if one does."""
    given, where = str(column.iloc[position]).strip(), place(column, column.index[position])
    if given.lower() in MISSING:
        return f"{name} has no date {where}; mend or remove that line"
    example = pd.Timestamp(2000, 1, 31).strftime("%Y-%m-%d" if written == ISO else written)
    sentence = f"{name} has '{given}' for a date {where}; dates must be written like {example}"
    texts = column.astype(str).str.strip()
    formats = [form for form in LIKELY_DATES if pd.to_datetime(texts, format=form, errors="coerce").notna().all()]
    formats = [ISO] if _iso_times(texts, utc=False).notna().all() else formats
    if re.fullmatch(r"\d{5}(\.\d+)?", given):
        return f"{sentence} (a day number of a spreadsheet: save dates as text)"
    if formats:
        setting = f"{setting}.table.date_format" if setting else "the date format"
        return f"{sentence} (set {setting} to {' or '.join(repr(form) for form in formats[:2])})"
    if written == ISO and re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", given):
        return f"{sentence} ('{given}' is no day of the calendar)"
    return sentence


def refuse_several(times: pd.DatetimeIndex, name: str, setting: str) -> None:
    """Refuse a table of several values a day.

    Raises
    ------
    DataError
        If the times have a step of less than a day.
    """
    if len(times.unique()) < 2:
        return
    step = pd.Series(times.unique().sort_values()).diff().median()
    if step < pd.Timedelta(days=1):
        where = f"{setting}.daily" if setting else "daily values"
        raise DataError(
            f"{name} has a value every {step / pd.Timedelta(hours=1):g} hours; say how they become days in {where}"
        )


def _tell_of_hours(times: pd.DatetimeIndex, column: pd.Series, name: str, say: Say) -> None:
    """Say that times of day were cut off; warn where they look like the midnights of another time zone."""
    hours = (times - times.normalize()).unique()
    clocks = [f"{pd.Timestamp(0) + hour:%H:%M}" for hour in sorted(hours) if hour]
    if not clocks:
        return
    shown = ", ".join(clocks[:3]) + (", ..." if len(clocks) > 3 else "")
    zoned = isinstance(column.dtype, pd.DatetimeTZDtype) or column.astype(str).str.contains(r"(?:Z|[+-]00:?00)$").any()
    if clocks[0] > "12:00" and (zoned or len(clocks) > 1):
        say(
            "times of day",
            f"{name} has stamps at {shown}, which may be midnights of a zone east of UTC: dates are kept as stamped "
            "and may be a day early; write local dates if so",
            logging.WARNING,
        )
    else:
        say("times of day", f"{name} has stamps at {shown}: the time of day is cut off, the date kept as stamped")
