"""What is known on the day of issue of a forecast: a store without its later flow, and the weather that is expected.

Shapes: C catchments of the store, L days that are forecast.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from watercli.config import Simulate
from watercli.data.grid_cache import FIRST_DAY, KNOWN_DAYS
from watercli.data.windows import Indices
from watercli.errors import ConfigError
from watercli.log import log
from watercli.run.simulator import Simulated, Simulator, cut, joined
from watercli.store import GRID_DIMS, SERIES_DIMS, Store

Weather = Literal["observed", "product", "none"]
SOURCES = {
    "observed": "observed, as if the forecast of it were perfect",
    "product": "the latest forecast product issued by then",
    "none": "none",
}
"""In words."""
RECENT_DAYS = 30
"""A catchment without any input on so many days before a forecast day, and on the day itself, has no forecast."""


def weather_of(settings: Simulate, store: Store, inputs: Sequence[str]) -> Weather:
    """Return where the weather of the days after the issue comes from: by default a product, if the store has one.

    Raises
    ------
    ConfigError
        If a product is to be taken, and no input of the model has one.
    """
    has_product = any(name in store.forecasts for name in inputs)
    if settings.forecast_weather == "product" and not has_product:
        raise ConfigError(
            f"{store.path} holds no forecast product of an input of the model; prepare it with "
            "modalities.NAME.forecast, or set simulate.forecast_weather to observed or none"
        )
    return settings.forecast_weather or ("product" if has_product else "observed")


def in_memory(store: Store) -> Store:
    """Return a store whose series and forecast products are in memory: they are read again for each day of issue."""
    series = [name for name, data in store.dataset.data_vars.items() if data.dims == SERIES_DIMS]
    series += [data.name for data in store.forecasts.values()]
    return replace(store, dataset=store.dataset.assign({name: store.dataset[name].load() for name in series}))


def known_at(store: Store, issued: int, lead_time: int, target: str, weather: Weather) -> Store:
    """Return a store as it is known on a day of issue, with the ``lead_time`` days that are forecast.

    Later days hold no flow, and the weather that `later_weather` says. Earlier days stay as they are.
    """
    if weather == "observed":
        lead_time = min(lead_time, len(store.times) - issued - 1)
    days = pd.date_range(store.times[0], periods=issued + 1 + lead_time, freq="D")
    dataset = store.dataset.isel(time=slice(issued + 1)).reindex(time=days)
    variables = {}
    for name, data in dataset.data_vars.items():
        if data.dims == GRID_DIMS:
            variables[name] = data.assign_attrs({KNOWN_DAYS: len(days) if weather == "observed" else issued + 1})
        elif data.dims == SERIES_DIMS and name != target:
            values = data.values.copy()
            values[:, issued + 1 :] = later_weather(store, str(name), issued, lead_time, weather)
            variables[name] = data.copy(data=values)
    return replace(store, dataset=dataset.assign(variables))


def later_weather(store: Store, name: str, issued: int, lead_time: int, weather: Weather) -> NDArray[np.float32]:
    """Return what is taken as a series on the days after the issue, ``[C, L]``, NaN where there is no value.

    It is the store's where ``weather`` is ``observed``; with ``product`` it is the latest forecast issued by then.
    """
    later = np.full((len(store.gauge_ids), lead_time), np.nan, dtype=np.float32)
    if weather == "product" and name in store.forecasts:
        return latest_forecast(store.forecasts[name], store.times[issued], lead_time)
    if weather == "observed":
        observed = store.dataset[name][:, issued + 1 : issued + 1 + lead_time].values
        later[:, : observed.shape[1]] = observed
    return later


def latest_forecast(forecast: xr.DataArray, day: pd.Timestamp, lead_time: int) -> NDArray[np.float32]:
    """Return the weather of the days after ``day``, ``[C, L]``, by the latest forecast issued by then; NaN where none.

    ``forecast`` is ``(catchment, init_time, lead_time)``.
    """
    reach = int(forecast["lead_time"].max()) if forecast.size else 0
    issues = forecast.sel(init_time=slice(day - pd.Timedelta(reach, "D"), day)).dropna("init_time", how="all")
    if not issues.sizes["init_time"]:
        return np.full((forecast.sizes["catchment"], lead_time), np.nan, dtype=np.float32)
    latest = issues.isel(init_time=-1)
    age = (day - issues.indexes["init_time"][-1]).days
    values: NDArray[np.float32] = latest.reindex(lead_time=age + np.arange(1, lead_time + 1)).values
    return values


def from_day(store: Store, first: int) -> Store:
    """Return a store from a day on, of which grids too are read from there."""
    dataset = store.dataset.isel(time=slice(first, None))
    grids = [name for name, data in dataset.data_vars.items() if data.dims == GRID_DIMS]
    moved = {
        name: dataset[name].assign_attrs(
            {FIRST_DAY: first, KNOWN_DAYS: dataset[name].attrs.get(KNOWN_DAYS, len(store.times)) - first}
        )
        for name in grids
    }
    return replace(store, dataset=dataset.assign(moved))


@dataclass(frozen=True)
class Resimulation:
    """Simulates stores that differ from one on their latest days alone: only the windows that hold these."""

    simulator: Simulator
    """Of the store that the others are like."""
    base: Simulated
    """Its simulation, from the first day on."""
    same_days: int = 0
    """Days after an issue on which the stores do not differ in what a simulation reads."""

    def __call__(self, known: Store, issued: int) -> Simulated:
        """Return the simulation of all days of a store that differs from the day after ``issued`` on."""
        if issued + self.same_days >= len(known.times) - 1:
            return cut(self.base, len(known.times))
        windows, every = self.simulator.windows, np.arange(len(known.times))
        starts = windows.starts(every)
        first = int(np.argmax(starts + windows.days - 1 > issued))
        begin = self._beginning(int(starts[first]))
        latest = self.simulator.on(from_day(known, begin))
        return joined([cut(self.base, first), latest(every[first:] - begin)])

    def _beginning(self, start: int) -> int:
        """Return the latest day before a window from which on the window is simulated as from the first day on.

        It is one on which windows begin.
        """
        step = self.simulator.windows.step
        return max((start - self.simulator.checkpoint.structure.past_days) // step * step, 0)


def without_inputs(simulated: Simulated, catchments: Indices, issued: int) -> NDArray[np.bool_]:
    """Return the days after the issue on which nothing recent is known of a catchment, ``[C, L]``."""
    first = max(issued + 1 - RECENT_DAYS, 0)
    seen = np.logical_or.accumulate(simulated.available[catchments, first:].any(-1), axis=1)
    return np.logical_not(seen[:, issued + 1 - first :])


def missing_weather(
    store: Store, issues: Indices, catchments: Indices, inputs: Sequence[str], lead_time: int, weather: Weather
) -> dict[str, int]:
    """Return how many values of each input are missing on the days after the issues, of some catchments.

    A grid counts as one value for each catchment and day.
    """
    missing = dict.fromkeys(inputs, 0)
    for issued in issues.tolist():
        beyond = max(issued + 1 + lead_time - len(store.times), 0) if weather == "observed" else lead_time
        for name in inputs:
            if store.dataset[name].dims == SERIES_DIMS:
                missing[name] += int(np.isnan(later_weather(store, name, issued, lead_time, weather)[catchments]).sum())
            else:
                missing[name] += beyond * len(catchments)
    return missing


def log_missing(missing: Mapping[str, int], values: int, weather: Weather) -> None:
    """Say where the weather after the issues comes from, and how many of so many values of each input it lacks."""
    lacking = [f"{name} {count:,} of {values:,}" for name, count in missing.items() if count]
    log.log(
        logging.WARNING if lacking and weather == "product" else logging.INFO,
        "Weather after init_time: %s%s", SOURCES[weather],
        f"; values that the model does without: {', '.join(lacking)}" if lacking else "",
    )  # fmt: skip


def about_weather(simulator: Simulator, issues: Indices, settings: Simulate, weather: Weather) -> dict[str, str]:
    """Return the attributes that say which weather forecasts have, and how many values it lacks; log the same."""
    missing = missing_weather(
        simulator.store, issues, simulator.catchments, simulator.inputs, settings.lead_time, weather
    )
    log_missing(missing, len(issues) * len(simulator.catchments) * settings.lead_time, weather)
    return {"forecast_weather": weather, "forecast_weather_missing": json.dumps(missing)}
