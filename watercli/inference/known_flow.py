"""Which flow may be evidence: what the settings open of the store's flow, and measurements from a file.

Shapes: C catchments of the store, N days of the store.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.config import Simulate
from watercli.data.windows import Indices
from watercli.errors import ConfigError, DataError, nearest
from watercli.log import log
from watercli.store import Store

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
COLUMNS = ("gauge_id", "date", "flow")


@dataclass(frozen=True)
class KnownFlow:
    """Which flow may be evidence, and when."""

    observed: Floats
    """``[C, N]`` in physical units: flow of the store with measurements put in, NaN where none may be known."""
    own: Flags
    """``[C, N]``: days on which a gauge's own flow may be evidence for its other days."""
    own_later: bool
    """Own flow after a day may be evidence for that day."""
    neighbours: str
    """``none``, ``past``, ``day`` or ``all``, as ``simulate.neighbours``."""
    last: int | None = None
    """Position of the last day on which any flow is known; None: each day by the rules above."""

    @classmethod
    def of(cls, store: Store, target: str, settings: Simulate) -> KnownFlow:
        """Return what the settings open.

        Raises
        ------
        ConfigError
            If a period or a day lies outside the store.
        DataError
            If the file of measurements cannot be used.
        """
        shape = len(store.gauge_ids), len(store.times)
        stored = target in store.config.modalities
        observed = store.dataset[target].values.astype(np.float32) if stored else np.full(shape, np.nan, np.float32)
        if not stored and settings.uses_flow and settings.measured is None:
            raise ConfigError(f"{store.path} holds no '{target}' that could be evidence; leave out the options for it")
        own = np.zeros(shape, dtype=bool)
        own[:, _own_days(store, settings)] = True
        if settings.measured is not None:
            measured = read_measurements(settings.measured, store, np.isfinite(observed))
            observed, own = np.where(np.isfinite(measured), measured, observed), own | np.isfinite(measured)
        last = None
        if settings.init_time is not None:
            last = position_of(store, settings.issues[0])
            own[:, : last + 1] = True
        return cls(
            observed=observed,
            own=own,
            own_later=settings.own_flow != "before" or settings.measured is not None,
            neighbours="all" if settings.fill else settings.neighbours or "day",
            last=last,
        )

    def among(self, gauges: Indices) -> KnownFlow:
        """Return the same for some gauges, by their positions."""
        return replace(self, observed=self.observed[gauges], own=self.own[gauges])


def _own_days(store: Store, settings: Simulate) -> slice:
    if settings.own_flow in ("before", "all") or settings.fill:
        return slice(None)
    if settings.own_flow == "none":
        return slice(0, 0)
    first, last = (pd.Timestamp(day) for day in settings.own_flow.split(".."))
    start, stop = store.times.searchsorted(first), store.times.searchsorted(last, side="right")
    if start >= stop:
        raise ConfigError(
            f"Setting 'simulate.own_flow' is {settings.own_flow}, of which {store.path} holds no day; it holds "
            f"{store.times[0]:%Y-%m-%d} to {store.times[-1]:%Y-%m-%d}"
        )
    return slice(int(start), int(stop))


def position_of(store: Store, day: dt.date) -> int:
    """Return the position in a store of a day of issue.

    Raises
    ------
    ConfigError
        If it lies outside the store.
    """
    moment = pd.Timestamp(day)
    if not store.times[0] <= moment <= store.times[-1]:
        raise ConfigError(
            f"Setting 'simulate.init_time' is {day}, which lies outside {store.path}: {store.times[0]:%Y-%m-%d} to "
            f"{store.times[-1]:%Y-%m-%d}"
        )
    return int(store.times.searchsorted(moment))


def read_measurements(file: Path, store: Store, known: Flags) -> Floats:
    """Return measurements ``[C, N]`` from a CSV file with the columns `COLUMNS`, NaN elsewhere.

    Measurements on days that the store lacks are left out, with a warning that counts them.

    Raises
    ------
    ConfigError
        If there is no such file.
    DataError
        If it cannot be read, lacks a column, names an unknown gauge, or holds a day twice or no flow.
    """
    if not file.is_file():
        raise ConfigError(f"{file} does not exist; name a CSV file with the columns {', '.join(COLUMNS)}")
    try:
        table = pd.read_csv(file, dtype={"gauge_id": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a table of measurements ({error}); write it as CSV") from error
    for column in COLUMNS:
        if column not in table:
            raise DataError(f"{file} has no column '{column}'; it needs {', '.join(COLUMNS)}"
                            f"{nearest(column, [str(name) for name in table.columns])}")  # fmt: skip
    for gauge in dict.fromkeys(table["gauge_id"]):
        if gauge not in store.gauge_ids:
            raise DataError(
                f"{file} names gauge '{gauge}', which {store.path} lacks{nearest(str(gauge), store.gauge_ids)}"
            )
    dates = pd.to_datetime(table["date"], format="%Y-%m-%d", errors="coerce")
    flow = pd.to_numeric(table["flow"], errors="coerce").to_numpy(np.float64)
    wrong = dates.isna().to_numpy() | ~np.isfinite(flow) | (flow < 0)
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0]) + 2
        raise DataError(f"{file}, line {line}, holds no date such as 2014-10-01 with a flow of zero or more; mend it")
    if table.assign(date=dates).duplicated(["gauge_id", "date"]).any():
        raise DataError(f"{file} holds a day of a gauge twice; keep one line for each day")
    inside = dates.isin(store.times).to_numpy()
    if not inside.all():
        log.warning("%s: %d of %d measurements lie on days that %s lacks, and are left out",
                    file, (~inside).sum(), len(inside), store.path)  # fmt: skip
    measured = np.full(known.shape, np.nan, dtype=np.float32)
    rows = pd.Index(store.gauge_ids).get_indexer(pd.Index(table["gauge_id"][inside]))
    measured[rows, store.times.get_indexer(pd.DatetimeIndex(dates[inside]))] = flow[inside]
    replaced = int((np.isfinite(measured) & known).sum())
    log.info("%s: %d measurements at %d gauges%s", file, inside.sum(), len(set(rows)),
             f"; {replaced} of them replace flow of the store" if replaced else "")  # fmt: skip
    return measured
