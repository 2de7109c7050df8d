"""``watercli simulate``: the flow of every catchment on every date, as a Zarr store or in memory, block by block.

The store is written into a folder beside the output, which takes its place when it is whole; what an interruption
leaves there, the same command goes on with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from watercli import __version__
from watercli.config import Simulate
from watercli.data.windows import Indices
from watercli.errors import ConfigError, nearest
from watercli.inference import labels, provenance
from watercli.inference.export import Arrays, Export, dataset
from watercli.inference.formats import ZarrFormat
from watercli.inference.layout import Array, Layout
from watercli.inference.simulator import Simulator
from watercli.inference.window_dates import first_and_last
from watercli.log import log
from watercli.output.atomic import Target
from watercli.output.resumable import working
from watercli.output.zarr_files import zarr_with
from watercli.run.checkpoint import Checkpoint
from watercli.run.compatibility import check_fits, with_absent_series
from watercli.store import Store

SCHEMA, SCHEMA_VERSION = "simulation_schema_version", 3
BLOCK_DATES = 512
"""Dates of a block: what is written, and done anew after an interruption, at once."""


@dataclass(frozen=True)
class SimulationBlocks:
    """Simulates a series, block by block; see `watercli.inference.export.Blocks`."""

    simulator: Simulator
    layout: Layout

    @classmethod
    def of(cls, checkpoint: Checkpoint, store: Store, settings: Simulate, device: str) -> SimulationBlocks:
        """Return what computes the simulation that the settings choose."""
        target = settings.target or checkpoint.config.evaluate.target
        _check(checkpoint, store, target, settings)
        complete = with_absent_series(checkpoint, store)
        simulator = Simulator(checkpoint, complete, target, device, settings.catchments)
        return cls(simulator, _lay_out(simulator, store, _dates(store, settings)))

    def __call__(self, number: int) -> Arrays:
        """Simulate the dates of a block; a day of which the model knew nothing is missing."""
        simulated = self.simulator(self.layout.dates[self.layout.block(number)])
        flow = np.where(simulated.available.any(-1), simulated.flow, np.float32(np.nan))
        return {self.simulator.target: flow, "input_available": simulated.available.astype(np.int8)}


def simulated_dataset(checkpoint: Checkpoint, store: Store, settings: Simulate, device: str = "cpu") -> xr.Dataset:
    """Return what `export_simulation` would write, in memory.

    Parameters are those of `export_simulation`.

    Returns
    -------
    xr.Dataset
        The target ``(catchment, time)`` in the units of its modality, ``input_available (catchment, time, input)``,
        and the labels of the export.

    Raises
    ------
    ConfigError
        If run, store and settings do not fit each other.
    RunError
        If the weights cannot be read.
    """
    blocks = SimulationBlocks.of(checkpoint, store, settings, device)
    provenance.log_novelty(checkpoint, store, blocks.simulator.catchments)
    simulated = dataset(blocks, "simulate")
    _warn_of_missing_inputs(simulated)
    return simulated


def export_simulation(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    settings: Simulate,
    *,
    overwrite: bool = False,
    device: str = "cpu",
) -> Path:
    """Write the series that the model simulates without seeing it, for catchments with and without a gauge.

    Parameters
    ----------
    checkpoint, store
        The model, and the weather and attributes that it is shown; the store need not have the target.
    out
        Where the Zarr store goes; it appears there only when it is whole.
    settings
        The target, the dates and the catchments.
    overwrite
        Replace a simulation of watercli at ``out``, once the new one is whole.
    device
        Where the model works.

    Raises
    ------
    ConfigError
        If run, store and settings do not fit each other, or ``out`` may not be written.
    RunError
        If the weights cannot be read or the disk is full.
    """
    place = Target(out, overwrite, "simulation", zarr_with(SCHEMA))
    place.check()
    blocks = SimulationBlocks.of(checkpoint, store, settings, device)
    simulator, layout = blocks.simulator, blocks.layout
    provenance.log_novelty(checkpoint, store, simulator.catchments)
    state = {"key": _key(blocks), "out": str(out), "what": "simulation", "blocks": layout.blocks}
    with working(place, state) as work:
        export = Export(blocks, ZarrFormat(), work)
        export.begin()
        export.write("simulate")
        export.finish()
    _warn_of_missing_inputs(xr.open_zarr(out))
    log.info(
        "%s of %d catchments on %d days in %s", simulator.target, len(simulator.catchments), len(layout.dates), out
    )
    return out


def _check(checkpoint: Checkpoint, store: Store, target: str, settings: Simulate) -> None:
    series = list(checkpoint.config.of_kind("series"))
    if target not in series:
        setting = "simulate.target" if settings.target else "evaluate.target"
        raise ConfigError(f"Setting '{setting}' names '{target}', which is no series of the run"
                          f"{nearest(target, series)}")  # fmt: skip
    if not checkpoint.structure.reads_others(target):
        raise ConfigError(
            f"The run's model is without cross-modal attention and without a recurrence, and cannot know '{target}' "
            "from anything other than itself; simulate with a run that has model.cross_modal_attention or "
            "model.recurrence"
        )
    check_fits(checkpoint, store, excluded=(target,))
    if not store.gauge_ids:
        raise ConfigError(f"{store.path} has no catchments to simulate; add catchments to its recipe")
    for gauge in settings.catchments:
        if gauge not in store.gauge_ids:
            raise ConfigError(
                f"Setting 'simulate.catchments' names gauge '{gauge}', which {store.path} lacks"
                f"{nearest(gauge, store.gauge_ids)}"
            )


def _dates(store: Store, settings: Simulate) -> Indices:
    """Return the positions of the chosen dates."""
    times, (first, last) = store.times, first_and_last(store.times, settings.since, settings.until)
    if first > last:
        raise ConfigError(
            f"No date of {store.path} lies between simulate.since and simulate.until; it holds {times[0]:%Y-%m-%d} to "
            f"{times[-1]:%Y-%m-%d}"
        )
    return np.arange(first, last + 1)


def _lay_out(simulator: Simulator, store: Store, dates: Indices) -> Layout:
    checkpoint, target, inputs = simulator.checkpoint, simulator.target, simulator.inputs
    shape, dims = (len(simulator.catchments), len(dates)), ("catchment", "time")
    modality = checkpoint.config.modalities[target]
    arrays = {
        target: Array(dims, shape, "float32", {
            "long_name": f"simulated {modality.long_name or target}", "units": modality.units,
            "ancillary_variables": "input_available", "coordinates": "latitude longitude",
        }),
        "input_available": Array((*dims, "input"), (*shape, len(inputs)), "int8", {
            "long_name": "the model saw a value of the input on the day", **labels.enumerated(("no", "yes")),
        }),
    }  # fmt: skip
    first = (simulator.starts(dates) - labels.antecedent_days(checkpoint)).clip(min=0)
    about = labels.of_catchments(checkpoint, store, simulator.catchments)
    about = about.merge(labels.of_dates(checkpoint, store, dates, "simulated date"))
    about = about.assign_coords(input=np.array(inputs, dtype=object))
    about = about.assign(
        antecedent_start=("time", store.times[first], {"long_name": "first day of the antecedent state"})
    )
    return Layout(dates, BLOCK_DATES, about.assign_attrs(_attributes(simulator, store)), arrays)


def _attributes(simulator: Simulator, store: Store) -> dict[str, Any]:
    return {
        "title": f"Simulated {simulator.target}",
        "featureType": "timeSeries",
        SCHEMA: SCHEMA_VERSION,
        **labels.of_origin(simulator.checkpoint, store),
        "excluded_inputs": [simulator.target],
        "causal": int(simulator.checkpoint.structure.causal),
    }


def _key(blocks: SimulationBlocks) -> str:
    """Return a hash of all that determines what is written."""
    simulator, dates = blocks.simulator, blocks.layout.dates
    content = [__version__, SCHEMA_VERSION, simulator.checkpoint.fingerprint_of_weights(), simulator.store.fingerprint,
               simulator.target, simulator.gauges, int(dates[0]), int(dates[-1])]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _warn_of_missing_inputs(simulated: xr.Dataset) -> None:
    """Warn of the share of catchment days that lack each input."""
    available = simulated["input_available"]
    shares = (available == 0).mean(("catchment", "time")).to_series()
    lacking = [f"{name} {share:.1%}" for name, share in shares.items() if share]
    if lacking:
        days = available.sizes["catchment"] * available.sizes["time"]
        log.warning(
            "Of %d catchment days, some lack an input ('input_available' says which): %s", days, ", ".join(lacking)
        )
