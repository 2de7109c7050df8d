"""Climate attributes of a model that a store lacks: computed from the catchments' own weather, as ``prepare`` does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from watercli.config import Config
from watercli.hydrology.climate_indices import NEEDS, QUANTITIES, Weather, index_of, series_of
from watercli.run.matching import attribute_recipes, conversion
from watercli.store import Store

Floats = NDArray[np.floating[Any]]


def climate_of(config: Config, dataset: xr.Dataset, store: Store, names: Iterable[str]) -> dict[str, Floats]:
    """Return those of a model's attributes that are indices of weather which a store has, by name, ``[C]`` each.

    Parameters
    ----------
    config
        The model's configuration, whose recipe says which attributes are such indices.
    dataset
        The store's series by the model's names, in its units.
    store
        The store, whose training period the indices are of.
    names
        The attributes that the store lacks.
    """
    known = attribute_recipes(config)
    indices = {name: known[name].climate for name in names if name in known}
    days = store.period("train")
    inputs = {name: record for name in QUANTITIES if (record := _input(name, config, dataset, days)) is not None}
    weather = Weather(store.times[days], **inputs)
    return {
        name: index_of(weather, index)
        for name, index in indices.items()
        if index is not None and set(NEEDS[index]) <= set(inputs)
    }


def _input(name: str, config: Config, dataset: xr.Dataset, days: slice) -> Floats | None:
    """Return an input of the indices on the training days, ``[C, T]``; None if the store lacks it."""
    stated = config.recipe.quality.quantities if config.recipe else None
    names = series_of(name, config.modalities, stated)
    if not names or any(modality not in dataset for modality in names):
        return None
    records = []
    for modality in names:
        scale, offset = conversion(config.modalities[modality].units, QUANTITIES[name][1])
        records.append(dataset[modality].values[:, days].astype(np.float64) * scale + offset)
    mean: Floats = np.mean(records, axis=0)
    return mean
