"""CAMELS-US: text files of basin mean forcing, and of the daily streamflow of the US Geological Survey.

Newman et al. (2015), Development of a large-sample watershed-scale hydrometeorological data set for the contiguous
USA, Hydrology and Earth System Sciences 19, 209-223, doi:10.5194/hess-19-209-2015; data: doi:10.5065/D6MW2F4D.
Forcing (Daymet, Maurer or NLDAS): latitude, elevation and area (m2) on three lines, then a table whose names hold the
units, ``Year Mnth Day Hr dayl(s) prcp(mm/day) srad(W/m2) swe(mm) tmax(C) tmin(C) vp(Pa)``. Streamflow: gauge, year,
month, day, ft3/s, and a flag: ``A`` approved, ``A:e`` approved and estimated, ``M`` missing (-999).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import DataError, nearest
from watercli.log import track
from watercli.preparation.readers import tabular
from watercli.preparation.readers.gauges import assemble, by_gauge
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request

FORCING = re.compile(r"(?P<gauge>\d+)_lump_\w+_forcing_leap\.txt")
STREAMFLOW = re.compile(r"(?P<gauge>\d+)_streamflow_qc\.txt")
DISCHARGE = ("streamflow", "QObs", "discharge")
"""Names by which the one variable of the streamflow files may be called."""
FORCING_HEADER = 3
"""Lines above the table: latitude, elevation, area."""
STREAMFLOW_COLUMNS = ("gauge_id", "year", "month", "day", "discharge", "flag")
MISSING = ("-999",)
NAMED = re.compile(r"(?P<name>\w+)\((?P<units>.+)\)")
DAY = "local days, of the gauge (streamflow) or of the forcing's source"


def read(request: Request) -> xr.DataArray:
    """Return ``(catchment, time)`` with NaN where a value is missing.

    Raises
    ------
    ConfigError
        If a gauge of the recipe has no file.
    DataError
        If a file cannot be read, is torn, lacks the variable, is another gauge's, or repeats a date.
    """
    variable = request.source.variable
    is_flow = variable in DISCHARGE
    names, like = (STREAMFLOW, "streamflow_qc") if is_flow else (FORCING, "lump_<source>_forcing_leap")
    paths = by_gauge(request, names, f"<gauge_id>_{like}.txt, as those of CAMELS-US")
    records: dict[str, pd.Series] = {}
    units: str | None = None
    for gauge, path in track(paths.items(), f"Reading {request.modality_name}"):
        request.sources.use([path])
        records[gauge], units = _streamflow(request, path) if is_flow else _forcing(request, path, variable)
    return assemble(request, records, units, f"'{variable}' of CAMELS-US", DAY)


def _streamflow(request: Request, path: Path) -> tuple[pd.Series, str]:
    name = request.name(path)
    lines = tabular.fields(tabular.text_of(path, name, request.say), " ")
    table = tabular.whole(name, STREAMFLOW_COLUMNS, lines).columns(STREAMFLOW_COLUMNS)
    if table.empty:
        raise DataError(f"{name} is empty; fetch it again or leave it out")
    gauge = path.name.partition("_")[0]
    strange = table.index[table["gauge_id"] != gauge]
    if len(strange):
        raise DataError(
            f"{name} holds gauge {table['gauge_id'][strange[0]]} on line {strange[0]}, not {gauge}; rename or mend it"
        )
    values = tabular.to_numbers(table["discharge"], name, "discharge", MISSING)
    values[table["flag"] == "M"] = np.nan
    return pd.Series(values, index=_days(table, STREAMFLOW_COLUMNS[1:4], name)), "ft3/s"


def _forcing(request: Request, path: Path, variable: str) -> tuple[pd.Series, str | None]:
    """Return a variable by day, and its units, both by the name of its column, in capital letters or small."""
    name = request.name(path)
    lines = tabular.read_lines(path, name, request.say, separators=(" ",), skip=FORCING_HEADER)
    named = {column: NAMED.fullmatch(column) for column in lines.header}
    known = {match["name"].lower(): column for column, match in named.items() if match}
    column = known.get(variable.lower().partition("(")[0])
    if column is None:
        raise DataError(f"{name} has no column '{variable}'{nearest(variable, known)}")
    dates = [name for name in ("Year", "Mnth", "Day") if name in lines.header]
    if len(dates) < 3:
        raise DataError(f"{name} lacks Year, Mnth or Day on line {FORCING_HEADER + 1}; it is no forcing of CAMELS-US")
    table = lines.columns((*dates, column))
    match = named[column]
    values = tabular.to_numbers(table[column], name, column, MISSING)
    return pd.Series(values, index=_days(table, dates, name)), match["units"] if match else None


def _days(table: pd.DataFrame, columns: Sequence[str], name: str) -> pd.DatetimeIndex:
    year, month, day = (table[column] for column in columns)
    return tabular.to_days(year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2), name)


READER = Reader(read, ("series",))
