"""Series of a store that has grids alone: their areal means, for a model that reads series of catchments.

Shapes: C catchments, T days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from watercli.data.areal_means import catchment_means
from watercli.data.blocks import DAYS_AT_ONCE, grid_blocks
from watercli.hydrology.names import quantity_named
from watercli.log import log, track
from watercli.run.checkpoint import Checkpoint
from watercli.run.matching import Match, Variable, converts, modalities_of
from watercli.run.mean_temperature import HIGHEST, LOWEST, MEAN
from watercli.run.series_statistics import with_series
from watercli.store import FORECAST, SERIES_DIMS, Store

RIVER_FLOW = "river flow"
"""Not averaged: flow is measured at a gauge, and the runoff of a grid is another model's."""


def with_named_grids(checkpoint: Checkpoint, store: Store, names: Mapping[str, str]) -> tuple[Store, dict[str, str]]:
    """Return the store with areal means of the grids that the user names for series of a model, and the names of those.

    ``names`` are the store's names of inputs, by the model's, or the other way round.
    """
    series = checkpoint.config.of_kind("series")
    grids = store.config.of_kind("grid") if store.gauge_ids else {}
    renamed = dict(names)
    for first, second in names.items():
        own, given = (first, second) if second in grids else (second, first)
        if own in series and given in grids:
            del renamed[first]
            store, renamed[own] = _with_mean_of(store, given)
    return store, renamed


def with_areal_means(store: Store, matches: Sequence[Match]) -> Store | None:
    """Return the store with areal means of the grids that measure what a model lacks as series; None without any.

    Parameters
    ----------
    store
        The store. Of several grids of one quantity none is taken: the user can name one.
    matches
        Where the model's modalities were found in it.
    """
    if not store.gauge_ids:
        return None
    taken = [found.given for found in matches]
    free = [given for given in modalities_of(store) if given.kind == "grid" and given not in taken]
    averaged: list[str] = []
    for found in matches:
        if found.given is None and not found.why and found.needed.kind == "series":
            averaged += _grids_for(found.needed, free)
    for grid in averaged:
        store, _ = _with_mean_of(store, grid)
    return store if averaged else None


def _grids_for(needed: Variable, free: Sequence[Variable]) -> list[str]:
    """Return the grids of which an input can be made: that of its quantity, or those of both ends of a temperature."""
    if needed.quantity in (None, RIVER_FLOW):
        return []
    for quantities in ((needed.quantity,), (HIGHEST, LOWEST) if needed.quantity == MEAN else ()):
        same = [[grid.name for grid in free if grid.quantity == quantity] for quantity in quantities]
        units_fit = all(converts(grid, needed, has_area=False) for grid in free if grid.quantity in quantities)
        if same and all(len(names) == 1 for names in same) and units_fit:
            return [name for names in same for name in names]
    return []


def _with_mean_of(store: Store, grid: str) -> tuple[Store, str]:
    """Return the store with the areal means of a grid, and their name."""
    name = f"{grid} over catchments"
    if name in store.config.modalities:
        return store, name
    log.info("Averaging '%s' of %s over %d catchments", grid, store.path, len(store.gauge_ids))
    days = len(store.times)
    blocks = grid_blocks(store, grid, slice(0, days))
    means = [
        catchment_means(store, values)
        for _, values in track(blocks, f"areal means of {grid}", total=-(-days // DAYS_AT_ONCE))
    ]
    data, modality = store.dataset[grid], store.config.modalities[grid]
    kept = {key: data.attrs[key] for key in ("units", "day") if key in data.attrs}
    words = (grid, *(source.variable for source in modality.source), data.attrs.get("standard_name"))
    if known := [word for word in words if quantity_named([word])]:
        kept["standard_name"] = known[0]  # by which a model finds it
    series = xr.DataArray(np.concatenate(means, axis=1), dims=SERIES_DIMS, name=name, attrs=kept | {"long_name": name})
    if modality.forecast is not None:  # a forecast product is of catchments anyway
        store = replace(store, dataset=store.dataset.assign({f"{name}{FORECAST}": store.dataset[f"{grid}{FORECAST}"]}))
    return with_series(store, series, modality.model_copy(update={"kind": "series", "source": ()})), name
