"""Forgetting: the skill that a fine-tuned model keeps at the gauges of its parent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from watercli.errors import ConfigError
from watercli.hydrology.scores import nse
from watercli.log import log
from watercli.output.atomic import write_text
from watercli.run.checkpoint import Checkpoint
from watercli.run.parent import Parent
from watercli.run.simulator import Simulator
from watercli.store import Store

FILE = "forgetting.json"
GAUGES = 64
"""Gauges, at most, over which it is measured."""


def measure_forgetting(parent: Parent, child: Checkpoint, store: Store, run: Path) -> dict[str, Any]:
    """Return and log the median NSE of parent and child over a store's test period, and write it to the run.

    Parameters
    ----------
    parent, child
        The two models.
    store
        A store of the parent's gauges, as it reads them.
    run
        The run directory of the child, which gets ``forgetting.json``.

    Raises
    ------
    ConfigError
        If the store has no flow of its gauges in the test period.
    """
    medians: dict[str, list[float]] = {}
    targets = [name for name in child.config.train.tasks.targets if child.structure.reads_others(name)]
    for target in targets:
        gauges = _gauges(store, target)
        medians[target] = [_median_nse(model, store, target, gauges) for model in (parent.checkpoint, child)]
        log.info("Median NSE of '%s' at %d gauges of %s: %.3f by the parent, %.3f by the child", target, len(gauges),
                 store.path, *medians[target])  # fmt: skip
    record = {"store": str(store.path.resolve()), "median_nse": {
        target: dict(zip(("parent", "child"), pair, strict=True)) for target, pair in medians.items()
    }}  # fmt: skip
    write_text(run / FILE, json.dumps(record, indent=1))
    return record


def _gauges(store: Store, target: str) -> tuple[str, ...]:
    """Return at most `GAUGES` gauges with flow in the test period, spread over the store."""
    observed = store.dataset[target].values[:, store.period("test")]
    gauged = np.flatnonzero(np.isfinite(observed).any(1))
    if not len(gauged):
        raise ConfigError(f"'{target}' has no value in the test period of {store.path}; give another --parent-store")
    sample = gauged[np.linspace(0, len(gauged) - 1, min(GAUGES, len(gauged))).round().astype(np.int64)]
    return tuple(store.gauge_ids[position] for position in sample)


def _median_nse(model: Checkpoint, store: Store, target: str, gauges: tuple[str, ...]) -> float:
    period = store.period("test")
    simulator = Simulator(model, store, target, gauges=gauges)
    flow = simulator(np.arange(period.start, period.stop)).flow
    observed = store.dataset[target].values[simulator.catchments][:, period]
    return float(np.nanmedian(nse(_series(flow), _series(observed)).values))


def _series(values: NDArray[np.floating[Any]]) -> xr.DataArray:
    return xr.DataArray(values.astype(np.float64), dims=("catchment", "time"))
