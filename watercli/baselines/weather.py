"""Weather of each catchment, as methods without a model read it.

Shapes: I inputs, C catchments, T days, N dates, P land patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from watercli.data.areal_means import catchment_means
from watercli.data.blocks import grid_blocks
from watercli.data.scaling import Scaling
from watercli.data.windows import Indices
from watercli.hydrology.quantities import quantity_of
from watercli.hydrology.units import parse
from watercli.store import Store

Array = NDArray[np.float32]


def catchment_weather(store: Store, scaling: Scaling, names: Sequence[str], days: slice) -> Array:
    """Return standardised daily inputs ``[I, C, T]`` of the days of ``days``; NaN where nothing was observed.

    A series is taken as it is; a grid is averaged over the land patches of the catchment, see
    `watercli.hydrology.areal_mean`. What the store does not have is missing throughout.
    """
    weather = np.full((len(names), len(store.gauge_ids), days.stop - days.start), np.nan, dtype=np.float32)
    for number, name in enumerate(names):
        if name not in store.config.modalities:
            continue
        scale = scaling.modalities[name]
        if store.config.modalities[name].kind == "series":
            weather[number] = scale.forward(store.dataset[name].values[:, days])
            continue
        for block, values in grid_blocks(store, name, days):
            means = catchment_means(store, scale.forward(values))
            weather[number, :, block.start - days.start : block.stop - days.start] = means
    return weather


def catchment_rain(store: Store, days: slice) -> Array | None:
    """Return daily rain ``[C, T]`` in mm/day: a series, or a grid's mean over each catchment; None without."""
    quantities = store.config.recipe.quality.quantities if store.config.recipe else {}
    modalities = store.config.modalities
    for kind in ("series", "grid"):
        for name, modality in modalities.items():
            quantity = quantity_of(name, modality, quantities.get(name))
            if modality.kind != kind or quantity is None or quantity.name != "precipitation":
                continue
            factor = float(parse(modality.units).to("mm/day").magnitude)
            if kind == "series":
                own: Array = store.dataset[name].values[:, days] * np.float32(factor)
                return own
            blocks = [catchment_means(store, values) for _, values in grid_blocks(store, name, days)]
            return np.concatenate(blocks, axis=1) * np.float32(factor)
    return None


def antecedent(weather: Array, ends: Indices, spans: Sequence[int]) -> Array:
    """Return means ``[C, N, I * spans]`` over the last days up to each end, of the days that were observed.

    Parameters
    ----------
    weather
        ``[I, C, T]``.
    ends
        Positions along T of the last day of each mean, ``[N]``; no span may reach before the first day.
    spans
        Numbers of days; 1 is the day itself.
    """
    assert ends.min(initial=max(spans)) >= max(spans) - 1, "a span reaches before the first day"
    observed = np.isfinite(weather)
    start = np.zeros((*weather.shape[:2], 1))
    total = np.concatenate([start, np.where(observed, weather, 0).cumsum(-1, dtype=np.float64)], axis=-1)
    number = np.concatenate([start, observed.cumsum(-1)], axis=-1)
    means = []
    for span in spans:
        sums, counts = (running[..., ends + 1] - running[..., ends + 1 - span] for running in (total, number))
        means.append(np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0))
    stacked = np.stack(means, axis=1).astype(np.float32)  # [I, spans, C, N]
    return np.ascontiguousarray(stacked.reshape(-1, *stacked.shape[2:]).transpose(1, 2, 0))
