"""The daily mean temperature of a store that has only the highest and the lowest of the day: the mean of the two.

So do CAMELS and Daymet; it lies within a degree or so of the mean over the hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from watercli.hydrology.names import quantity_named
from watercli.run.matching import Match, conversion
from watercli.run.series_statistics import renew_statistics
from watercli.store import Store

MEAN, HIGHEST, LOWEST = "mean temperature", "highest temperature", "lowest temperature"
STANDARD_NAME = "air_temperature"
"""By which it is found; a name of the quantity in `watercli.hydrology.names`."""


def with_mean_temperature(store: Store, matches: Sequence[Match]) -> Store | None:
    """Return the store with a mean temperature if a model lacks that alone; None if there is nothing to make it of.

    Parameters
    ----------
    store
        The store, of which one series must be a highest and one a lowest temperature.
    matches
        Where the model's modalities were found in it.
    """
    lacking = [found for found in matches if found.given is None and found.needed.quantity == MEAN]
    ends = _series_named(store, HIGHEST), _series_named(store, LOWEST)
    if len(lacking) != 1 or lacking[0].needed.kind != "series" or any(len(names) != 1 for names in ends):
        return None
    (highest,), (lowest,) = ends
    modality, name = store.config.modalities[highest], f"mean of {highest} and {lowest}"
    scale, offset = conversion(store.config.modalities[lowest].units, modality.units)
    data = store.dataset[highest]
    mean = (data + store.dataset[lowest] * scale + offset) / 2
    mean = mean.astype(data.dtype).rename(name)
    kept = {key: data.attrs[key] for key in ("units", "day") if key in data.attrs}
    mean.attrs = kept | {"long_name": name, "standard_name": STANDARD_NAME}
    known = store.dataset["statistics"].compute()
    own = xr.full_like(known.isel(variable=[0]), np.nan).assign_coords(variable=np.array([name], dtype=object))
    statistics = xr.concat([known, own], "variable")
    renew_statistics(statistics, mean, store.period("train"))
    dataset = store.dataset.drop_dims("variable").assign({name: mean, "statistics": statistics})
    modalities = store.config.modalities | {name: modality.model_copy(update={"source": (), "forecast": None})}
    return replace(store, dataset=dataset, config=store.config.model_copy(update={"modalities": modalities}))


def _series_named(store: Store, quantity: str) -> list[str]:
    """Return the series of a store that measure a quantity."""
    named = []
    for name, modality in store.config.of_kind("series").items():
        variables = (source.variable for source in modality.source)
        if quantity_named((name, *variables, store.dataset[name].attrs.get("standard_name"))) == quantity:
            named.append(name)
    return named
