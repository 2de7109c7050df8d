"""HadUK-Grid daily NetCDF: one file, or the monthly files as published.

Met Office; Hollis et al. (2019), HadUK-Grid: a new UK dataset of gridded climate observations, Geoscience Data
Journal 6, 151-159, doi:10.1002/gdj3.78. Dims, CRS, units and days come from the files' CF metadata.
"""

from __future__ import annotations

import xarray as xr

from watercli.preparation.readers import grid
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request

MEAN_OF = {"tas": ("tasmax", "tasmin")}
"""No daily mean temperature is published, only maximum and minimum; their mean stands for it."""


def read(request: Request) -> xr.DataArray:
    """Return ``(time, y, x)`` as the reader ``grid`` does; ``tas`` is the mean of ``tasmax`` and ``tasmin``.

    Raises
    ------
    DataError
        If a file cannot be read, lacks the variable, or repeats a date of another.
    """
    return grid.read(request, MEAN_OF.get(request.source.variable, ()))


READER = Reader(read, ("grid",))
