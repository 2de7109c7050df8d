"""Which gauges of a study of transfer are local, whose flow may be learnt from, and which are judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from watercli.errors import ConfigError
from watercli.hydrology.scores import LEAST_CATCHMENTS
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

DAYS_IN_YEAR = 365.25


@dataclass(frozen=True)
class Drawn:
    """The gauges of one seed. Smaller sets of local gauges are parts of larger ones, and all are judged alike."""

    local: tuple[str, ...]
    """In the order in which they are taken."""
    judged: tuple[str, ...]

    def store_of(self, store: Store, count: int) -> Store:
        """Return a store of ``count`` local gauges and all judged ones, in the order of the store."""
        chosen = np.isin(store.gauge_ids, (*self.local[:count], *self.judged))
        return replace(store, dataset=store.dataset.isel(catchment=np.flatnonzero(chosen)))


def candidates(parent: Checkpoint, store: Store, target: str, period: str) -> list[str]:
    """Return the gauges that gave no flow to the parent, and have flow to learn from, to validate and to judge by."""
    trained = set(parent.gauges) - set(parent.held_out_gauges)
    observed = np.isfinite(store.dataset[target].values)
    days = [store.period(split) for split in ("train", "validation", period)]
    is_known = np.logical_and.reduce([observed[:, part].any(1) for part in days])
    return [gauge for gauge, known in zip(store.gauge_ids, is_known, strict=True) if known and gauge not in trained]


def draw(gauges: Sequence[str], most: int, seed: int) -> Drawn:
    """Draw ``most`` local gauges; all others are judged.

    Raises
    ------
    ConfigError
        If too few are left to be judged.
    """
    if len(gauges) < most + LEAST_CATCHMENTS:
        raise ConfigError(
            f"The store has {len(gauges)} gauges with flow that the model never saw, too few for {most} local ones and "
            f"{LEAST_CATCHMENTS} to be judged; give smaller --gauges, or a store with more gauges"
        )
    drawn = [gauges[position] for position in np.random.default_rng([seed, 31]).permutation(len(gauges))]
    return Drawn(tuple(drawn[:most]), tuple(drawn[most:]))


def with_record(store: Store, years: int | None) -> Store:
    """Return a store whose training period is its last years alone; None keeps all of it."""
    if years is None:
        return store
    splits = json.loads(store.dataset.attrs["splits"])
    end = pd.Timestamp(splits["train"]["end"])
    first = end - pd.Timedelta(days=round(years * DAYS_IN_YEAR) - 1)
    start = max(first, pd.Timestamp(splits["train"]["start"]))
    splits["train"]["start"] = start.date().isoformat()
    return replace(store, dataset=store.dataset.assign_attrs(splits=json.dumps(splits)))
