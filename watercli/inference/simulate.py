"""``watercli simulate``: the flow of every catchment on every date, as a Zarr store or in memory, block by block.

A run with an evidence head also says how certain it is, and uses the flow that it may know; see
`watercli.inference.evidence`.

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
import pandas as pd
import xarray as xr
from multimodal_mae.evidence import QUANTILES
from numpy.typing import NDArray

from watercli import __version__
from watercli.config import Simulate
from watercli.data.windows import Indices
from watercli.errors import ConfigError, nearest
from watercli.inference import labels, provenance, single_file
from watercli.inference.evidence import EVIDENCE, FLAGS, InformedSimulator
from watercli.inference.export import Arrays, Export, dataset
from watercli.inference.formats import ZarrFormat
from watercli.inference.known_flow import KnownFlow
from watercli.inference.layout import Array, Layout
from watercli.inference.window_dates import first_and_last
from watercli.log import log
from watercli.output.atomic import Target
from watercli.output.resumable import working
from watercli.output.zarr_files import open_checked, zarr_with
from watercli.run.checkpoint import Checkpoint
from watercli.run.compatibility import check_fits, with_absent_series
from watercli.run.evidence import FittedEvidence, load_evidence
from watercli.run.simulator import Simulator
from watercli.store import Store

SCHEMA, SCHEMA_VERSION = "simulation_schema_version", 5
BLOCK_DATES = 512
"""Dates of a block: what is written, and done anew after an interruption, at once."""


@dataclass(frozen=True)
class SimulationBlocks:
    """Simulates a series, block by block; see `watercli.inference.export.Blocks`."""

    simulator: Simulator
    layout: Layout
    settings: Simulate
    informed: InformedSimulator | None = None
    """None: the run has no evidence head."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, store: Store, settings: Simulate, device: str) -> SimulationBlocks:
        """Return what computes the simulation that the settings choose."""
        target = settings.target or checkpoint.config.evaluate.target
        _check(checkpoint, store, target, settings)
        fitted = load_evidence(checkpoint, target)
        if fitted is None and settings.uses_flow:
            raise ConfigError(
                f"{checkpoint.path} has no evidence head for '{target}', so that flow cannot be evidence; "
                "pretrain with train.evidence, or leave out the options for it"
            )
        complete = with_absent_series(checkpoint, store)
        simulator = Simulator(checkpoint, complete, target, device, settings.catchments)
        informed = None
        if fitted is not None:
            informed = InformedSimulator(simulator, fitted, KnownFlow.of(complete, target, settings))
        dates = chosen_dates(complete, settings)
        return cls(simulator, _lay_out(simulator, complete, dates, settings, fitted), settings, informed)

    def __call__(self, number: int) -> Arrays:
        """Simulate the dates of a block."""
        return self.on(self.layout.dates[self.layout.block(number)])

    def on(self, dates: Indices) -> Arrays:
        """Simulate ascending dates, positions in the store; a day of which the model knew nothing is missing."""
        target = self.simulator.target
        simulated = self.informed.simulated_on(dates) if self.informed else self.simulator(dates)
        blind = np.logical_not(simulated.available.any(axis=-1))
        arrays: dict[str, Any] = {"input_available": simulated.available.astype(np.int8)}
        if len(self.simulator.members) > 1:
            arrays[f"{target}_spread"] = _without(simulated.spread, blind)
        if self.informed is None:
            return {target: _without(simulated.flow, blind), **arrays}
        estimate = self.informed(dates)
        arrays |= {
            target: _without(estimate.flow, blind),
            f"{target}_quantile": _without(estimate.quantiles, blind),
            "neighbours_used": estimate.neighbours,
            "own_days_used": estimate.own_days,
            "evidence": estimate.evidence,
        }
        if self.settings.weather_only:
            arrays[f"{target}_weather_only"] = _without(estimate.weather_only, blind)
        if self.settings.fill:
            arrays |= self.informed.filled(dates, estimate, blind)
        return arrays


def _without(values: NDArray[np.float32], blind: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return values ``[C, N, ...]``, NaN where the model knew nothing."""
    empty = blind.reshape(blind.shape + (1,) * (values.ndim - blind.ndim))
    return np.where(empty, np.float32(np.nan), values)


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
    warn_of_missing_inputs(simulated)
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
        Where the Zarr store goes, or one file if its name ends in ``.nc`` or ``.csv``; it appears when it is whole.
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
    place = checked_target(out, overwrite)
    blocks = SimulationBlocks.of(checkpoint, store, settings, device)
    simulator, layout = blocks.simulator, blocks.layout
    provenance.log_novelty(checkpoint, store, simulator.catchments)
    if single_file.is_asked_for(out):
        return single_file.write(blocks, out, "simulate")
    state = {"key": _key(blocks), "out": str(out), "what": "simulation", "blocks": layout.blocks}
    with working(place, state) as work:
        export = Export(blocks, ZarrFormat(), work)
        export.begin()
        export.write("simulate")
        export.finish()
    warn_of_missing_inputs(open_checked(out))
    log.info(
        "%s of %d catchments on %d days in %s", simulator.target, len(simulator.catchments), len(layout.dates), out
    )
    return out


def checked_target(out: Path, overwrite: bool) -> Target:
    """Return where a simulation is to be written.

    Raises
    ------
    ConfigError
        If it may not be written there.
    """
    target = Target(out, overwrite, "simulation", zarr_with(SCHEMA))
    if single_file.is_asked_for(out):
        single_file.check(out, overwrite, target.what)
    else:
        target.check()
    return target


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


def chosen_dates(store: Store, settings: Simulate) -> Indices:
    """Return the positions in the store of the chosen dates.

    Raises
    ------
    ConfigError
        If the store has none of them.
    """
    times = store.times
    if settings.init_time is not None:
        first = int(times.searchsorted(pd.Timestamp(settings.init_time), side="right"))
        last = min(first + settings.lead_time, len(times)) - 1
        if first > last:
            raise ConfigError(
                f"{store.path} holds no weather after simulate.init_time {settings.init_time}; it ends "
                f"{times[-1]:%Y-%m-%d}"
            )
        return np.arange(first, last + 1)
    first, last = first_and_last(times, settings.since, settings.until)
    if first > last:
        raise ConfigError(
            f"No date of {store.path} lies between simulate.since and simulate.until; it holds {times[0]:%Y-%m-%d} to "
            f"{times[-1]:%Y-%m-%d}"
        )
    return np.arange(first, last + 1)


def _lay_out(
    simulator: Simulator, store: Store, dates: Indices, settings: Simulate, fitted: FittedEvidence | None
) -> Layout:
    checkpoint, target, inputs = simulator.checkpoint, simulator.target, simulator.inputs
    shape, dims = (len(simulator.catchments), len(dates)), ("catchment", "time")
    modality = checkpoint.config.modalities[target]
    name = modality.long_name or target
    arrays = {
        target: Array(dims, shape, "float32", {
            "long_name": f"simulated {name}", "units": modality.units,
            "ancillary_variables": "input_available", "coordinates": "latitude longitude",
        }),
        "input_available": Array((*dims, "input"), (*shape, len(inputs)), "int8", {
            "long_name": "the model saw a value of the input on the day", **labels.enumerated(("no", "yes")),
        }),
    }  # fmt: skip
    if len(simulator.members) > 1:
        arrays[f"{target}_spread"] = Array(dims, shape, "float32", {
            "long_name": f"standard deviation of simulated {name} over {len(simulator.members)} members, "
            "without evidence", "units": modality.units,
        })  # fmt: skip
    if fitted is not None:
        arrays |= _arrays_of_evidence(target, name, modality.units, shape, settings)
    first = (simulator.starts(dates) - labels.antecedent_days(checkpoint)).clip(min=0)
    about = labels.of_catchments(checkpoint, store, simulator.catchments)
    about = about.merge(labels.of_dates(checkpoint, store, dates, "simulated date"))
    about = about.assign_coords(input=np.array(inputs, dtype=object))
    about = about.assign(
        antecedent_start=("time", store.times[first], {"long_name": "first day of the antecedent state"})
    )
    if fitted is not None:
        about = about.assign_coords(quantile=np.array(QUANTILES))
    return Layout(dates, BLOCK_DATES, about.assign_attrs(_attributes(simulator, store, settings, fitted)), arrays)


def _arrays_of_evidence(
    target: str, name: str, units: str, shape: tuple[int, int], settings: Simulate
) -> dict[str, Array]:
    dims = ("catchment", "time")
    arrays = {
        f"{target}_quantile": Array((*dims, "quantile"), (*shape, len(QUANTILES)), "float32", {
            "long_name": f"quantiles of {name}, given the evidence", "units": units,
        }),
        "neighbours_used": Array(dims, shape, "int8", {"long_name": "other gauges whose errors were known"}),
        "own_days_used": Array(dims, shape, "int16", {"long_name": "days of the gauge whose errors were known"}),
        "evidence": Array(dims, shape, "int8", {
            "long_name": "evidence beside the attributes", **labels.enumerated(EVIDENCE),
        }),
    }  # fmt: skip
    if settings.weather_only:
        arrays[f"{target}_weather_only"] = Array(dims, shape, "float32", {
            "long_name": f"simulated {name}, without evidence", "units": units,
        })  # fmt: skip
    if settings.fill:
        arrays[f"{target}_filled"] = Array(dims, shape, "float32", {
            "long_name": f"{name}: observed where it is, otherwise estimated", "units": units,
            "ancillary_variables": f"{target}_flag",
        })  # fmt: skip
        arrays[f"{target}_flag"] = Array(dims, shape, "int8", {
            "long_name": f"what {target}_filled is", **labels.enumerated(FLAGS),
        })  # fmt: skip
    return arrays


def _attributes(
    simulator: Simulator, store: Store, settings: Simulate, fitted: FittedEvidence | None
) -> dict[str, Any]:
    seen = {}
    if fitted is not None:
        seen = {
            "neighbours": settings.neighbours or "day",
            "own_flow": "all" if settings.fill else settings.own_flow,
            "measured": str(settings.measured or ""),
            "init_time": str(settings.init_time or ""),
            "evidence_fingerprint": fitted.fingerprint,
        }
    return {
        "title": f"Simulated {simulator.target}",
        "featureType": "timeSeries",
        SCHEMA: SCHEMA_VERSION,
        **labels.of_origin(simulator.checkpoint, store),
        "excluded_inputs": [simulator.target],
        "causal": int(simulator.checkpoint.structure.causal),
        "simulate": settings.model_dump_json(),
        "block_dates": BLOCK_DATES,
        **seen,
    }


def _key(blocks: SimulationBlocks) -> str:
    """Return a hash of all that determines what is written."""
    simulator, dates = blocks.simulator, blocks.layout.dates
    content = [__version__, SCHEMA_VERSION, simulator.checkpoint.fingerprint_of_weights(), simulator.store.fingerprint,
               simulator.target, simulator.gauges, int(dates[0]), int(dates[-1]),
               blocks.settings.model_dump(mode="json"), blocks.informed and blocks.informed.fingerprint]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def warn_of_missing_inputs(simulated: xr.Dataset) -> None:
    """Warn of the share of catchment days that lack each input."""
    available = simulated["input_available"]
    shares = (available == 0).mean(("catchment", "time")).to_series()
    lacking = [f"{name} {share:.1%}" for name, share in shares.items() if share]
    if lacking:
        days = available.sizes["catchment"] * available.sizes["time"]
        log.warning(
            "Of %d catchment days, some lack an input ('input_available' says which): %s", days, ", ".join(lacking)
        )
