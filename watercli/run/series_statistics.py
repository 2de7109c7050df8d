"""Statistics of a store's series that was converted or derived."""

from __future__ import annotations

import numpy as np
import xarray as xr

from watercli.store import SERIES_DIMS
from watercli.transforms import TRANSFORMS


def renew_statistics(statistics: xr.DataArray, values: xr.DataArray, train: slice) -> None:
    """Put the statistics of converted values in their place; those of grids, which are large, are unknown."""
    place = {"variable": values.name}
    statistics.loc[place] = np.nan
    if values.dims != SERIES_DIMS:
        return
    present = values.values[:, train].astype(np.float64)
    present = present[np.isfinite(present)]
    for name, transform in TRANSFORMS.items():
        seen = transform.forward(present)
        if seen.size:
            statistics.loc[place | {"transform": name, "statistic": "mean"}] = seen.mean()
            statistics.loc[place | {"transform": name, "statistic": "std"}] = seen.std()
