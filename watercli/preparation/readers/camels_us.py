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
from numpy.typing import NDArray

from watercli.errors import DataError, nearest
from watercli.log import track
from watercli.preparation.readers import dates, tabular
from watercli.preparation.readers.gauges import assemble, by_gauge, of_text
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request
from watercli.preparation.readers.tabular import Format
from watercli.preparation.readers.text import text_of

FORCING_FILE = re.compile(r"(?P<gauge>\d+)_lump_\w+_forcing_leap\.txt")
FLOW_FILE = re.compile(r"(?P<gauge>\d+)_streamflow_qc\.txt")
DISCHARGE = ("streamflow", "QObs", "discharge")
"""Names by which the one variable of the streamflow files may be called."""
FORCING = Format((" ",), skip_lines=3, comment="")
"""Above the table: latitude, elevation, area."""
STREAMFLOW = Format((" ",), comment="", names=("gauge_id", "year", "month", "day", "discharge", "flag"))
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
    names, like = (FLOW_FILE, "streamflow_qc") if is_flow else (FORCING_FILE, "lump_<source>_forcing_leap")
    paths = by_gauge(request, names, f"<gauge_id>_{like}.txt, as those of CAMELS-US")
    records: dict[str, pd.Series] = {}
    units: str | None = None
    for gauge, path in track(paths.items(), f"Reading {request.modality_name}"):
        request.sources.use([path])
        records[gauge], units = _streamflow(request, path) if is_flow else _forcing(request, path, variable)
    return assemble(request, records, units, f"'{variable}' of CAMELS-US", DAY)


def _streamflow(request: Request, path: Path) -> tuple[pd.Series, str]:
    name, gauge = request.name(path), path.name.partition("_")[0]

    def record(table: pd.DataFrame) -> pd.Series:
        if table.empty:
            raise DataError(f"{name} is empty; fetch it again or leave it out")
        strange = table.index[table["gauge_id"] != gauge]
        if len(strange):
            raise DataError(
                f"{name} holds gauge {table['gauge_id'][strange[0]]} on line {strange[0]}, not {gauge}; "
                "rename or mend it"
            )
        values = _numbers(request, table["discharge"], name, "discharge")
        values[table["flag"] == "M"] = np.nan
        return pd.Series(values, index=dates.to_days(_dates(table, ["year", "month", "day"]), name))

    texts = [column for column in STREAMFLOW.names or () if column != "discharge"]
    return of_text(request, path, STREAMFLOW, texts, ["discharge"], record), "ft3/s"


def _forcing(request: Request, path: Path, variable: str) -> tuple[pd.Series, str | None]:
    """Return a variable by day, and its units, both by the name of its column, in capital letters or small."""
    name = request.name(path)
    _, header, _ = tabular.opened(text_of(path, name, request.say), FORCING)
    named = {column: NAMED.fullmatch(column) for column in header}
    known = {match["name"].lower(): column for column, match in named.items() if match}
    column = known.get(variable.lower().partition("(")[0])
    if column is None:
        raise DataError(f"{name} has no column '{variable}'{nearest(variable, known)}")
    parts = [part for part in ("Year", "Mnth", "Day") if part in header]
    if len(parts) < 3:
        raise DataError(
            f"{name} lacks Year, Mnth or Day on line {FORCING.skip_lines + 1}; it is no forcing of CAMELS-US"
        )

    def record(table: pd.DataFrame) -> pd.Series:
        days = dates.to_days(_dates(table, parts), name)
        return pd.Series(_numbers(request, table[column], name, column), index=days)

    # All columns but those of the date are numbers: other modalities read them from the same file.
    match = named[column]
    return of_text(request, path, FORCING, parts, [name for name in header if name not in parts], record), match[
        "units"
    ] if match else None


def _dates(table: pd.DataFrame, parts: Sequence[str]) -> pd.Series:
    return dates.of_columns([table[part] for part in parts], dates.ISO)


def _numbers(request: Request, column: pd.Series, name: str, label: str) -> NDArray[np.float64]:
    return tabular.to_numbers(column, name, label, (*MISSING, *request.missing_values), setting=request.setting)


READER = Reader(read, ("series",))
