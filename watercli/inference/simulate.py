"""``watercli simulate``: the flow of every catchment on every date, as a Zarr store or in memory, block by block.

A run with an evidence head also says how certain it is, and uses the flow that it may know; see
`watercli.inference.evidence`.

The store is written into a folder beside the output, which takes its place when it is whole; what an interruption
leaves there, the same command goes on with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from watercli import __version__
from watercli.config import Simulate
from watercli.data.windows import Indices
from watercli.errors import ConfigError, nearest
from watercli.inference import labels, provenance, single_file
from watercli.inference.archive import ForecastArchive
from watercli.inference.evidence import InformedSimulator
from watercli.inference.export import Arrays, Export, dataset
from watercli.inference.forecast import about_weather, known_at, weather_of, without_inputs
from watercli.inference.formats import ZarrFormat
from watercli.inference.known_flow import KnownFlow, position_of
from watercli.inference.layout import Layout
from watercli.inference.simulation_layout import SCHEMA, SCHEMA_VERSION, arrays_from, arrays_of, labels_of
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
    issued: int | None = None
    """Position of the day of issue of a forecast."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, store: Store, settings: Simulate, device: str) -> SimulationBlocks:
        """Return what computes the simulation that the settings choose."""
        simulator, fitted = _simulator(checkpoint, store, settings, device)
        store, issued, about = simulator.store, None, {}
        if settings.init_time is not None:
            issued = position_of(store, settings.issues[0])
            weather = weather_of(settings, store, simulator.inputs)
            about = about_weather(simulator, np.array([issued]), settings, weather)
            known = known_at(store, issued, settings.lead_time, simulator.target, weather)
            simulator = replace(simulator, store=known)
        informed = None
        if fitted is not None:
            known_flow = KnownFlow.of(simulator.store, simulator.target, settings)
            informed = InformedSimulator.of(simulator, fitted, known_flow)
        layout = _lay_out(simulator, store, chosen_dates(simulator.store, settings), settings, fitted)
        layout = replace(layout, labels=layout.labels.assign_attrs(about))
        return cls(simulator, layout, settings, informed, issued)

    def __call__(self, number: int) -> Arrays:
        """Simulate the dates of a block."""
        return self.on(self.layout.dates[self.layout.block(number)])

    def on(self, dates: Indices) -> Arrays:
        """Simulate ascending dates, positions in the store; a day of which the model knew nothing is missing."""
        simulated = self.informed.simulated_on(dates) if self.informed else self.simulator(dates)
        if self.informed is not None and self.issued is not None:
            blind = without_inputs(self.informed.simulated, self.informed.places, self.issued)
            blind = blind[:, dates - self.issued - 1]
        else:
            blind = np.logical_not(simulated.available.any(axis=-1))
        estimate = self.informed(dates) if self.informed else None
        arrays = arrays_from(simulated, estimate, blind, self.simulator, self.settings)
        if self.informed is not None and estimate is not None and self.settings.fill:
            arrays |= self.informed.filled(dates, estimate, blind)
        return arrays


def _simulator(
    checkpoint: Checkpoint, store: Store, settings: Simulate, device: str
) -> tuple[Simulator, FittedEvidence | None]:
    """Return what simulates, and the evidence head that the run has for the target, after checking that all fit."""
    target = settings.target or checkpoint.config.evaluate.target
    _check(checkpoint, store, target, settings)
    fitted = load_evidence(checkpoint, target)
    if fitted is None and settings.uses_flow:
        raise ConfigError(
            f"{checkpoint.path} has no evidence head for '{target}', so that flow cannot be evidence; "
            "pretrain with train.evidence, or leave out the options for it"
        )
    return Simulator(checkpoint, with_absent_series(checkpoint, store), target, device, settings.catchments), fitted


def blocks_of(
    checkpoint: Checkpoint, store: Store, settings: Simulate, device: str
) -> SimulationBlocks | ForecastArchive:
    """Return what computes the simulation, or the archive of forecasts, that the settings choose.

    Raises
    ------
    ConfigError
        If run, store and settings do not fit each other.
    """
    if not settings.is_archive:
        return SimulationBlocks.of(checkpoint, store, settings, device)
    simulator, fitted = _simulator(checkpoint, store, settings, device)
    assert fitted is not None  # a forecast uses flow
    return ForecastArchive.of(simulator, settings, fitted)


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
    blocks = blocks_of(checkpoint, store, settings, device)
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
    blocks = blocks_of(checkpoint, store, settings, device)
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
        first = position_of(store, settings.issues[0]) + 1
        if first == len(times):
            raise ConfigError(
                f"{store.path} holds no weather after simulate.init_time {settings.init_time}; prepare it with "
                "modalities.NAME.forecast, or set simulate.forecast_weather to none"
            )
        return np.arange(first, len(times))
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
    """Return the layout of a simulation of some dates; ``store`` is the one that it is of, later days and all."""
    checkpoint, times = simulator.checkpoint, simulator.store.times
    arrays = arrays_of(simulator, settings, fitted, {"catchment": len(simulator.catchments), "time": len(dates)})
    first = (simulator.windows.starts(dates) - labels.antecedent_days(checkpoint)).clip(min=0)
    about = labels_of(simulator, store, settings, fitted)
    about = about.merge(labels.of_dates(checkpoint, simulator.store, dates, "simulated date"), combine_attrs="override")
    about = about.assign(antecedent_start=("time", times[first], {"long_name": "first day of the antecedent state"}))
    return Layout(dates, BLOCK_DATES, about.assign_attrs(block_dates=BLOCK_DATES), arrays)


def _key(blocks: SimulationBlocks | ForecastArchive) -> str:
    """Return a hash of all that determines what is written."""
    simulator, dates = blocks.simulator, blocks.layout.dates
    content = [__version__, SCHEMA_VERSION, simulator.checkpoint.fingerprint_of_weights(), simulator.store.fingerprint,
               simulator.target, simulator.gauges, int(dates[0]), int(dates[-1]),
               blocks.settings.model_dump(mode="json"), blocks.informed and blocks.informed.fingerprint]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def warn_of_missing_inputs(simulated: xr.Dataset) -> None:
    """Warn of the share of catchment days that lack each input."""
    available = simulated["input_available"]
    shares = (available == 0).mean([dim for dim in available.dims if dim != "input"]).to_series()
    lacking = [f"{name} {share:.1%}" for name, share in shares.items() if share]
    if lacking:
        days = available.size // available.sizes["input"]
        log.warning(
            "Of %d catchment days, some lack an input ('input_available' says which): %s", days, ", ".join(lacking)
        )
