"""CAMELS-GB hydrometeorological time series, one CSV for each gauge.

Coxon et al. (2020), CAMELS-GB: hydrometeorological time series and landscape attributes for 671 catchments in
Great Britain, Earth System Science Data 12, 2459-2483, doi:10.5194/essd-12-2459-2020 (units: its table 1).
"""

from __future__ import annotations

import re

import pandas as pd
import xarray as xr

from watercli.log import track
from watercli.preparation.readers.gauges import assemble, by_gauge, dated_csv
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request

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
        If a gauge of the recipe has no file.
    DataError
        If a file cannot be read, is torn, lacks the column, or repeats a date.
    """
    column = request.source.variable
    paths = by_gauge(request, FILE_NAME, "CAMELS_GB_hydromet_timeseries_<gauge_id>_<from>-<to>.csv, as CAMELS-GB's are")
    records: dict[str, pd.Series] = {}
    for gauge, path in track(paths.items(), f"Reading {request.modality_name}"):
        records[gauge] = dated_csv(request, path, "date", column)
    return assemble(request, records, UNITS.get(column), f"'{column}' of CAMELS-GB", DAY)


READER = Reader(read, ("series",))
