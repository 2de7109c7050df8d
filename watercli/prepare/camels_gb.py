"""CAMELS-GB hydrometeorological time series, one CSV for each gauge.

Coxon et al. (2020), CAMELS-GB: hydrometeorological time series and landscape attributes for 671 catchments in
Great Britain, Earth System Science Data 12, 2459-2483, doi:10.5194/essd-12-2459-2020 (units: its table 1).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import ConfigError, DataError, nearest
from watercli.log import progress
from watercli.prepare import units
from watercli.prepare.reader import Request, ordered, unreadable

FILE_NAME = re.compile(r"CAMELS_GB_hydromet_timeseries_(?P<gauge>.+)_\d{8}-\d{8}\.csv")
UNITS = {
    "precipitation": "mm/day",
    "pet": "mm/day",
    "peti": "mm/day",
    "temperature": "degC",
    "discharge_spec": "mm/day",
    "discharge_vol": "m3/s",
    "humidity": "g/kg",
    "shortwave_rad": "W/m2",
    "longwave_rad": "W/m2",
    "windspeed": "m/s",
}
"""Units of the columns; the files themselves state none."""
DAY = "as stamped by the source"


def read(request: Request) -> xr.DataArray:
    """Return ``(catchment, time)`` with NaN where a value is missing.

    Raises
    ------
    ConfigError
        If a gauge asked for has no file.
    DataError
        If a file cannot be read, lacks the column, or repeats a date.
    """
    column = request.source.variable
    paths = _by_gauge(request)
    records: dict[str, pd.Series] = {}
    with progress() as display:
        for gauge in display.track(ordered(paths), description=f"Reading {request.modality_name}"):
            records[gauge] = _record(paths[gauge], column, request)
    table = pd.DataFrame(records)
    data = xr.DataArray(
        table.to_numpy(dtype=np.float32).T,
        dims=("catchment", "time"),
        coords={"catchment": np.array(list(records), dtype=object), "time": table.index},
        attrs={"day": DAY},
    )
    request.say("day", "the files do not say when a day begins; dates are kept as stamped")
    return units.convert(data, UNITS.get(column), request.modality.units, f"'{column}' of CAMELS-GB", request.say)


def _by_gauge(request: Request) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for path in request.paths:
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise DataError(
                f"{request.name(path)} is not named like a CAMELS-GB time series "
                "(CAMELS_GB_hydromet_timeseries_<gauge_id>_<from>-<to>.csv); narrow the pattern or rename it"
            )
        gauge = match["gauge"]
        if gauge in paths:
            one, other = request.name(paths[gauge]), request.name(path)
            raise DataError(f"Gauge {gauge} has two files, {one} and {other}; keep one")
        paths[gauge] = path
    absent = [gauge for gauge in request.gauges if gauge not in paths]
    if absent:
        raise ConfigError(
            f"recipe.catchments.gauges names {absent[0]}, of which '{request.modality_name}' has no file"
            f"{nearest(absent[0], paths)}"
        )
    return {gauge: paths[gauge] for gauge in request.gauges or paths}


def _record(path: Path, column: str, request: Request) -> pd.Series:
    """Return one gauge's daily record of a column, by date."""
    request.sources.use([path])
    name = request.name(path)
    try:
        table = pd.read_csv(path, dtype=str, usecols=lambda key: key in ("date", column), encoding="utf-8")
        header = pd.read_csv(path, nrows=0).columns
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise unreadable(name, "CSV") from error
    for key in ("date", column):
        if key not in table:
            raise DataError(f"{name} has no column '{key}'{nearest(key, map(str, header))}")
    dates = pd.to_datetime(table["date"], format="%Y-%m-%d", errors="coerce")
    if dates.isna().any():
        bad = table["date"][dates.isna()].iloc[0]
        raise DataError(f"{name} has '{bad}' for a date; dates must be written like 2000-01-31")
    if dates.duplicated().any():
        raise DataError(f"{name} has the date {dates[dates.duplicated()].iloc[0]:%Y-%m-%d} twice; keep one row")
    values = pd.to_numeric(table[column], errors="coerce")
    wrong = values.isna() & table[column].notna()
    if wrong.any():
        row = table[wrong].iloc[0]
        raise DataError(f"{name} has '{row[column]}' for '{column}' on {row['date']}; it must be a number or empty")
    return pd.Series(values.to_numpy(dtype=np.float64), index=pd.DatetimeIndex(dates, name="time"))
