"""Series of a store that are converted or derived, with their statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from watercli.config import Modality
from watercli.store import SERIES_DIMS, Store
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


def with_series(store: Store, values: xr.DataArray, modality: Modality) -> Store:
    """Return the store with one more series, ``values`` by their name, and its statistics of the training period."""
    name = str(values.name)
    stored = store.dataset["statistics"].compute()
    own = xr.full_like(stored.isel(variable=[0]), np.nan).assign_coords(variable=np.array([name], dtype=object))
    statistics = xr.concat([stored, own], "variable")
    renew_statistics(statistics, values, store.period("train"))
    dataset = store.dataset.drop_dims("variable").assign({name: values, "statistics": statistics})
    modalities = store.config.modalities | {name: modality}
    return replace(store, dataset=dataset, config=store.config.model_copy(update={"modalities": modalities}))
