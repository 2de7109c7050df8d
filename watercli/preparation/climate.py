"""Climate of a catchment as attributes: computed from its own series over the training period, by one definition.

The inputs are found by what the series measure: precipitation; air temperature, or the mean of several such series;
evaporation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from watercli.config import Catchments, Config, Recipe
from watercli.errors import ConfigError, DataError
from watercli.hydrology.climate_indices import NEEDS, QUANTITIES, Weather, index_of, series_of
from watercli.log import log
from watercli.preparation import align, units
from watercli.preparation.geometry import listed


def attributes(
    config: Config, recipe: Recipe, series: Mapping[str, xr.DataArray], gauges: Sequence[str]
) -> pd.DataFrame:
    """Return the attributes that are climate indices, a row for each gauge and NaN where it has no such weather.

    Gauges without one are refused or left out, as ``recipe.catchments.on_missing`` says.

    Raises
    ------
    ConfigError
        If no series measures what an index needs.
    DataError
        If a gauge has too little weather in the training period.
    """
    assert recipe.catchments is not None
    chosen = {name: item.climate for name, item in recipe.catchments.attributes.items() if item.climate}
    if not chosen:
        return pd.DataFrame(index=pd.Index(gauges, name="gauge_id"))
    needed = {need for index in chosen.values() for need in NEEDS[index]}
    days, inputs, used = align.days(recipe.splits.train), {}, []
    for name in sorted(needed):
        of_series = {modality: config.modalities[modality] for modality in series}
        names = series_of(name, of_series, recipe.quality.quantities)
        users = [attribute for attribute, index in chosen.items() if name in NEEDS[index]]
        if not names:
            raise ConfigError(
                f"recipe.catchments.attributes.{users[0]} needs a series of {QUANTITIES[name][0].replace('_', ' ')}; "
                "add that modality, or say in recipe.quality.quantities which one it is"
            )
        records = [_daily(config, modality, series[modality], gauges, name, days) for modality in names]
        inputs[name] = np.mean(records, axis=0)
        used += names
    log.info("Climate of the catchments: %s, of their own %s from %s to %s", ", ".join(chosen), ", ".join(used),
             recipe.splits.train.start, recipe.splits.train.end)  # fmt: skip
    weather = Weather(days, **inputs)
    values = {attribute: index_of(weather, index) for attribute, index in chosen.items()}
    return _matched(pd.DataFrame(values, index=pd.Index(gauges, name="gauge_id")), recipe.catchments)


def _daily(
    config: Config, modality: str, data: xr.DataArray, gauges: Sequence[str], name: str, days: pd.DatetimeIndex
) -> np.ndarray:
    """Return a series of the training days in the units of the indices, ``[C, T]``."""
    own = data.reindex(catchment=list(gauges), time=days).transpose("catchment", "time").astype(np.float64)
    given, units_needed = config.modalities[modality].units, QUANTITIES[name][1]
    converted = units.convert(own, given, units_needed, f"'{modality}'", lambda topic, message: None)
    return np.asarray(converted.to_numpy())


def _matched(values: pd.DataFrame, catchments: Catchments) -> pd.DataFrame:
    lacking = values.isna().any(axis=1)
    if not lacking.any():
        return values
    absent = values.index[lacking]
    name = next(name for name in values if values[name].isna().any())
    said = f"{listed(absent, 'gauge', 'has', 'have')} too little weather in the training period for attribute '{name}'"
    if catchments.on_missing == "error":
        raise DataError(
            f"{said}; move recipe.splits.train, leave such gauges out with recipe.catchments.on_missing=drop, or take "
            "it as missing with on_missing=keep"
        )
    if catchments.on_missing == "keep":
        log.warning("%s: it is missing there", said)
        return values
    if lacking.all():
        raise DataError(f"No gauge has enough weather in the training period for attribute '{name}'; move its days")
    log.warning("%s: left out, %d kept", said, int((~lacking).sum()))
    return values[~lacking]
