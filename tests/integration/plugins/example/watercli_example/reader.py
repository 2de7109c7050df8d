"""A reader of wide tables: a column ``date``, and one column for each gauge."""

import pandas as pd
import xarray as xr

from watercli.preparation import units
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request


def read(request: Request) -> xr.DataArray:
    """Return the series ``(catchment, time)`` in the modality's units; NaN is missing."""
    table = pd.concat(pd.read_csv(path, index_col="date", parse_dates=True) for path in request.paths)
    data = xr.DataArray(
        table.to_numpy("float32").T,
        dims=("catchment", "time"),
        coords={"catchment": table.columns.to_numpy(object), "time": table.index.to_numpy("datetime64[ns]")},
        attrs={"day": "00:00 to 24:00"},
    )
    given = request.source.units or "mm/day"
    return units.convert(data, given, request.modality.units, f"'{request.source.variable}'", request.say)


WIDE_CSV = Reader(read, kinds=("series",))
