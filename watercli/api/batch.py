"""Windows of a store as a batch that the model encodes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from multimodal_mae.batch import Batch
from torch import Tensor

from watercli.api.arguments import Date, Names, as_date, as_names
from watercli.data.reader import WindowReader
from watercli.data.windows import Indices
from watercli.errors import ConfigError, nearest
from watercli.run.checkpoint import Checkpoint
from watercli.run.compatibility import check_fits, with_absent_series
from watercli.store import Store


def read_batch(
    checkpoint: Checkpoint,
    store: Store,
    dates: Date | Iterable[Date],
    catchments: Names | None,
    excluded_inputs: Names,
) -> Batch:
    """Return the windows that end on the dates; see `watercli.api.run.Run.batch`."""
    excluded = as_names(excluded_inputs)
    _check_known("excluded_inputs", excluded, list(checkpoint.config.modalities))
    check_fits(checkpoint, store, excluded)
    complete = with_absent_series(checkpoint, store)
    reader = WindowReader(complete, checkpoint.config_for(complete), checkpoint.scaling)
    starts = _starts(store, dates, reader.days)
    positions = _positions(store, catchments)
    return _without(reader.read(starts, np.tile(positions, (len(starts), 1))), excluded)


def _starts(store: Store, dates: Date | Iterable[Date], days: int) -> Indices:
    """Return the first day of the window that ends on each date."""
    ends = [dates] if isinstance(dates, str | dt.date | np.datetime64) else dates
    last_days = pd.DatetimeIndex([as_date(end, "date") for end in ends])
    starts = store.times.get_indexer(last_days) - days + 1
    if not len(starts) or starts.min() < 0:
        first, last = store.times[min(days, len(store.times)) - 1], store.times[-1]
        raise ConfigError(
            f"{store.path} has windows of {days} days that end from {first:%Y-%m-%d} to {last:%Y-%m-%d}; "
            "give such dates"
        )
    return np.asarray(starts, dtype=np.int64)


def _positions(store: Store, catchments: Names | None) -> Indices:
    """Return the positions of gauges in the store, in the order given."""
    gauges = store.gauge_ids if catchments is None else as_names(catchments)
    _check_known("catchments", gauges, store.gauge_ids)
    return np.array([store.gauge_ids.index(gauge) for gauge in gauges], dtype=np.int64)


def _check_known(argument: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{argument} names '{name}', which does not exist{nearest(name, known)}")


def _without(batch: Batch, names: Collection[str]) -> Batch:
    """Return a batch without values of some modalities: NaN in the window and in the days before it, zero
    (no day observed) in antecedent states."""

    def emptied(tensors: Mapping[str, Tensor], value: float) -> dict[str, Tensor]:
        return {name: torch.full_like(tensor, value) if name in names else tensor for name, tensor in tensors.items()}

    return replace(
        batch,
        grids=emptied(batch.grids, torch.nan),
        series=emptied(batch.series, torch.nan),
        past=emptied(batch.past, 0.0),
        catchment_grid_past=emptied(batch.catchment_grid_past, 0.0),
        history=emptied(batch.history, torch.nan),
    )
