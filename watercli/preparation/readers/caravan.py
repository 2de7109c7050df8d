"""Caravan time series, one CSV or netCDF file for each gauge.

Kratzert et al. (2023), Caravan - A global community dataset for large-sample hydrology, Scientific Data 10, 61,
doi:10.1038/s41597-023-01975-w (variables and units: its table 1). ERA5-Land is aggregated there to days of the
catchment's local standard time; streamflow keeps the days of the national source.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import DataError, nearest
from watercli.log import track
from watercli.preparation.readers import netcdf, tabular
from watercli.preparation.readers.gauges import assemble, by_gauge, dated_csv
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request

FILE_NAME = re.compile(r"(?P<gauge>.+)\.(csv|nc)")
UNITS = (
    (r"total_precipitation_sum|potential_evaporation_sum.*|streamflow", "mm/day"),
    (r"(temperature_2m|dewpoint_temperature_2m)_(mean|min|max)", "degC"),
    (r"volumetric_soil_water_layer_[1-4]_(mean|min|max)", "m3/m3"),
    (r"snow_depth_water_equivalent_(mean|min|max)", "mm"),
    (r"surface_net_(solar|thermal)_radiation_(mean|min|max)", "W/m2"),
    (r"surface_pressure_(mean|min|max)", "kPa"),
    (r"[uv]_component_of_wind_10m_(mean|min|max)", "m/s"),
)
"""Units of the variables; the CSVs state none, and the netCDF files state them in one text for all."""
DAY = "of the catchment's local standard time (streamflow: of the national source)"


def read(request: Request) -> xr.DataArray:
    """Return ``(catchment, time)`` with NaN where a value is missing.

    Raises
    ------
    ConfigError
        If a gauge of the recipe has no file.
    DataError
        If a file cannot be read, is torn, lacks the variable, or repeats a date.
    """
    variable = request.source.variable
    paths = by_gauge(request, FILE_NAME, "<gauge_id>.csv or <gauge_id>.nc, as Caravan's are")
    records: dict[str, pd.Series] = {}
    zones: set[str] = set()
    for gauge, path in track(paths.items(), f"Reading {request.modality_name}"):
        if path.suffix == ".nc":
            records[gauge], zone = _netcdf(request, path, variable)
            zones |= {zone} if zone else set()
        else:
            records[gauge] = dated_csv(request, path, "date", variable)
    day = f"{DAY}; {', '.join(sorted(zones))}" if zones else DAY
    return assemble(request, records, _units(variable), f"'{variable}' of Caravan", day)


def _units(variable: str) -> str | None:
    return next((units for names, units in UNITS if re.fullmatch(names, variable)), None)


def _netcdf(request: Request, path: Path, variable: str) -> tuple[pd.Series, str]:
    """Return a variable of a netCDF file by day, and the time zone that the file names."""
    request.sources.use([path])
    name = request.name(path)
    with netcdf.opened(path, name) as dataset:
        if variable not in dataset:
            raise DataError(f"{name} has no variable '{variable}'{nearest(variable, map(str, dataset.data_vars))}")
        data = dataset[variable].squeeze(drop=True)
        if data.dims != ("date",):
            raise DataError(_not_of_one_gauge(request, data, name))
        days = netcdf.days_of(data, "date", f"'{variable}' in {name}")
        values = tabular.without_marks(data.values.astype(np.float64), request.missing_values)
        return pd.Series(values, index=days), str(dataset.attrs.get("Timezone", ""))


def _not_of_one_gauge(request: Request, data: xr.DataArray, name: str) -> str:
    """Return the sentence for a file of other dimensions, such as a Caravan merged into one file."""
    sentence = (
        f"'{data.name}' in {name} has the dims ({', '.join(map(str, data.dims))}); a Caravan series has 'date' only"
    )
    gauges = [str(dim) for dim in data.dims if dim != "date"]
    if data.ndim != 2 or "date" not in data.dims:
        return sentence
    layout = f"{{layout: long, gauge_id: {gauges[0]}, date: date}}"
    return f"{sentence}; a file of many gauges is read by {request.setting}.reader 'table' and table {layout}"


READER = Reader(read, ("series",))
