"""Dates and times in columns of tables: read as stamped, strictly, with errors that name the line and the remedy."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import lru_cache, reduce

import numpy as np
import pandas as pd

from watercli.errors import DataError
from watercli.preparation.readers.tabular import MISSING, place
from watercli.preparation.readers.text import Say

ISO = "ISO8601"
"""Dates as 2000-01-31, with or without a time."""
_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y-%m-%d", "%Y.%m.%d", "%Y %m %d",
         "%d-%b-%Y", "%d %b %Y", "%d%b%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%a %d %b %Y", "%d-%b-%y", "%d/%m/%y",
         "%m/%d/%y", "%d.%m.%y", "%Y%j", "%Y-%j", "%Y%m%d")  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
LIKELY_DATES = (*(f"{day}{clock}" for clock in _CLOCKS for day in _DAYS), "%Y%m%d%H", "%Y%m%d%H%M", "%Y %j", "%Y %m%d")
"""Formats that an error proposes where they read every date of a table."""
LATE = pd.Timedelta(hours=13), pd.Timedelta(hours=23.5)
"""Daily values that are stamped between these may be those of the next day: midnights east of Greenwich, in UTC."""
LAST_MIDNIGHT = re.compile(r"\b24(?=:00\b)")
"""The end of a day."""
MONTHS = {name: str(number) for number, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1)}  # fmt: skip
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
    times = times.round("s")  # a stamp may be a fraction of a second short of midnight
    index = times.normalize().as_unit("ns")
    doubled = index.duplicated()
    if doubled.any():
        row = column.index[doubled][0]
        refuse_several(times, column, name, setting)
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
        joined = "\n".join(column.tolist())
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
    days = pd.DatetimeIndex(_formatted(column, plain)).as_unit("ns")
    return None if days.hasnans or days.has_duplicates else days


def of_columns(columns: Sequence[pd.Series], written: str) -> pd.Series:
    """Return dates as text from several columns, which may hold decimal numbers without a fraction.

    Where ``written`` is `ISO`, three are year, month and day, a fourth the hour; two are date and time. Otherwise they
    are what ``written`` says, with a space between them: ``%Y %j``.
    """
    parts = [part.astype(str).str.strip().str.replace(r"\.0+$", "", regex=True) for part in columns]
    if written != ISO or len(parts) < 3:
        return reduce(lambda first, second: first + " " + second, parts)
    year, month, day, *hour = parts
    month = month.str.lower().str[:3].map(MONTHS).fillna(month)
    dates = year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    return dates + " " + hour[0].str.zfill(2) + ":00" if hour else dates


def to_times(
    column: pd.Series, name: str, written: str = ISO, *, utc: bool = False, setting: str = ""
) -> pd.DatetimeIndex:
    """Return times as stamped, or in UTC.

    ``24:00`` is the midnight that ends a day in UTC times. As stamped, it and other odd hours count for their date.

    Raises
    ------
    DataError
        If one is not ``written`` so.
    """
    if written == ISO and not pd.api.types.is_datetime64_any_dtype(column):
        times = _iso_times(column, utc)
    else:
        times = _formatted(column, written, utc)
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = (times.dt.tz_convert("UTC") if utc else times).dt.tz_localize(None)
    if times.isna().any():
        position = int(np.flatnonzero(times.isna())[0])
        raise DataError(_no_date(column, position, name, written, setting))
    return pd.DatetimeIndex(times)


def _formatted(column: pd.Series, written: str, utc: bool = False) -> pd.Series:
    """Return times, NaT for what is not ``written`` so; of two digits of a year none lies in the future."""
    times = pd.to_datetime(column, format=written, errors="coerce")
    if "%H" in written and times.isna().any():
        last = column.astype(str).str.contains(LAST_MIDNIGHT)
        midnights = column.astype(str).str.replace(LAST_MIDNIGHT, "00", regex=True)
        times = times.fillna(pd.to_datetime(midnights.where(last), format=written, errors="coerce"))
        times += pd.to_timedelta((last & utc).astype(int), unit="D")
    if "%y" not in written:
        return times
    return times.mask(times > pd.Timestamp.now(), times - pd.DateOffset(years=100))


def _iso_times(column: pd.Series, utc: bool) -> pd.Series:
    """Return times as stamped: pandas would take 2001-12, a torn date, as a day, and move what has a zone."""
    texts = column.astype(str).str.strip()
    parts = texts.str.extract(r"^(\d{4}-?\d{2}-?\d{2})(?:[T ](.*))?$")
    days = pd.to_datetime(parts[0], format=ISO, errors="coerce")
    clock = parts[1].fillna("").str.strip()
    if utc:
        return _utc_times(texts, days, clock)
    hours = pd.to_timedelta(
        clock.str.extract(r"^(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)")[0].map(_with_seconds), errors="coerce"
    )
    return days + hours.where(hours < pd.Timedelta(days=1)).fillna(pd.Timedelta(0))


def _utc_times(texts: pd.Series, days: pd.Series, clock: pd.Series) -> pd.Series:
    """Return times in UTC, NaT for what is no hour of a day; ``24:00`` is the next midnight."""
    plain = texts.str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True).str.replace(r"([T ])(\d:)", r"\g<1>0\2", regex=True)
    is_last = clock.str.match(r"24:?00(?::?00)?(?!\d)")
    plain = plain.mask(is_last, plain.str.replace(r"([T ])24", r"\g<1>00", regex=True))
    # Without a zone of its own, a time would have that of the line before it.
    plain = plain.mask(clock == "", plain + "T00:00Z").mask(~clock.str.contains(r"Z|UTC|GMT|[+-]|^$"), plain + "Z")
    times = pd.to_datetime(plain, format=ISO, utc=True, errors="coerce").dt.tz_localize(None)
    return (times + pd.to_timedelta(is_last.astype(int), unit="D")).where(days.notna())


def _with_seconds(clock: str | float) -> str | float:
    return f"{clock}:00" if isinstance(clock, str) and clock.count(":") == 1 else clock


def _no_date(column: pd.Series, position: int, name: str, written: str, setting: str) -> str:
    """Return the sentence for what is no date, with the setting that reads it, if one does."""
    given, where = str(column.iloc[position]).strip(), place(column, column.index[position])
    if given.lower() in MISSING:
        units = (
            f", or set {setting}.table.lines_below_names to 1 if it holds units" if position == 0 and setting else ""
        )
        return f"{name} has no date {where}; mend or remove that line{units}"
    example = pd.Timestamp(2000, 1, 31).strftime("%Y-%m-%d" if written == ISO else written)
    sentence = f"{name} has '{given}' for a date {where}; dates must be written like {example}"
    texts = column.astype(str).str.strip()
    few = texts.iloc[:: max(1, len(texts) // 1000)]  # of all of them, every format would take a minute
    formats = [form for form in LIKELY_DATES if pd.to_datetime(few, format=form, errors="coerce").notna().all()
               and pd.to_datetime(texts, format=form, errors="coerce").notna().all()]  # fmt: skip
    formats = [ISO] if written != ISO and _iso_times(texts, utc=False).notna().all() else formats
    if re.fullmatch(r"\d{5}(\.\d+)?", given):
        return f"{sentence} (a day number of a spreadsheet: save dates as text)"
    if formats:
        setting = f"{setting}.table.date_format" if setting else "the date format"
        return f"{sentence} (set {setting} to {' or '.join(repr(form) for form in formats[:2])})"
    if written == ISO and re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", given):
        return f"{sentence} ('{given}' is no day of the calendar)"
    if position == 0 and column.index.name == "line" and _iso_times(texts.iloc[1:], utc=False).notna().all():
        return f"{sentence} (if that line holds units or types, set {setting}.table.lines_below_names to 1)"
    return sentence


def refuse_several(times: pd.DatetimeIndex, column: pd.Series, name: str, setting: str) -> None:
    """Refuse a table of several values a day.

    Raises
    ------
    DataError
        If the times have a step of less than a day, or clocks that are not read.
    """
    where = f"{setting}.daily" if setting else "daily values"
    texts = column.astype(str)
    if texts.str.contains(r"\d\s*[AP]\.?M\.?\s*$", case=False).all():
        form = "%Y-%m-%d %I:%M:%S %p" if texts.iloc[0].count(":") == 2 else "%Y-%m-%d %I:%M %p"
        raise DataError(
            f"{name} has times such as '{texts.iloc[0]}'; set {setting}.table.date_format to '{form}', and say how "
            f"they become days in {where}"
        )
    if len(times.unique()) < 2:
        return
    step = pd.Series(times.unique().sort_values()).diff().median()
    if step < pd.Timedelta(days=1):
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
    if all(LATE[0] <= hour <= LATE[1] for hour in hours):
        say(
            "times of day",
            f"{name} has stamps at {shown}, which may be midnights of a zone east of UTC: dates are kept as stamped "
            "and may be a day early; write local dates if so",
            logging.WARNING,
        )
    else:
        say("times of day", f"{name} has stamps at {shown}: the time of day is cut off, the date kept as stamped")
