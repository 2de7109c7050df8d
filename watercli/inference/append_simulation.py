"""``watercli simulate --append``: later days for a simulation, whose earlier days keep their values.

A copy of the simulation is extended, which shares the files of the old one (hard links), and takes its place when it is
whole.
"""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from watercli.config import Simulate
from watercli.data.simulation import SimulationWindows
from watercli.errors import ConfigError
from watercli.inference import provenance, single_file
from watercli.inference.export import Arrays, Export
from watercli.inference.formats import ZarrFormat
from watercli.inference.kept_simulation import keep, read_kept
from watercli.inference.layout import Layout
from watercli.inference.simulate import SimulationBlocks, chosen_dates, warn_of_missing_inputs
from watercli.inference.simulation_layout import SCHEMA, SCHEMA_VERSION
from watercli.log import log
from watercli.output.atomic import Target, link, recover
from watercli.output.resumable import working
from watercli.output.zarr_files import open_checked, unfinish, zarr_with
from watercli.run.checkpoint import Checkpoint
from watercli.run.simulator import continued
from watercli.store import Store


@dataclass(frozen=True)
class AppendedBlocks:
    """The blocks of an extended simulation: only days that it does not hold are simulated."""

    blocks: SimulationBlocks
    out: Path
    """The simulation as it was."""
    held_days: int
    """How many days it holds."""

    @property
    def layout(self) -> Layout:
        """Labels and arrays of the extended simulation."""
        return self.blocks.layout

    def __call__(self, number: int) -> Arrays:
        """Return the arrays of a block: days that the simulation holds as they are, and later ones simulated."""
        block = self.layout.block(number)
        seam = max(self.held_days, block.start)
        later = self.blocks.on(self.layout.dates[seam : block.stop])
        earlier = zarr.open_group(self.out, mode="r")
        return {
            name: np.concatenate([np.asarray(earlier[name][:, block.start : seam]), values], axis=1)  # type: ignore[index]
            for name, values in later.items()
        }


def append_simulation(
    checkpoint: Checkpoint, store: Store, out: Path, until: dt.date | None = None, *, device: str = "cpu"
) -> Path:
    """Add later days to a simulation, with the settings of the first export; without any to add, change nothing.

    Parameters
    ----------
    checkpoint, store
        The model that made the simulation, and the store that it was made on, with later days.
    out
        The simulation, a Zarr store.
    until
        The last day; None for that of the store.
    device
        Where the model works.

    Raises
    ------
    ConfigError
        If there is no simulation at ``out``, it is of other weights or of a store that this one does not extend, or
        later days would change its earlier ones.
    RunError
        If the weights cannot be read or the disk is full; the simulation stays as it was.
    """
    recover(out)
    attributes = about(out)
    provenance.check_extends(attributes, checkpoint, store, out)
    settings = Simulate.model_validate_json(attributes["simulate"]).model_copy(update={"until": until})
    _check_settled(attributes, settings, out)
    dates = chosen_dates(store, settings)
    held_days = attributes["dates"]
    if len(dates) <= held_days:
        log.info("%s holds every date to %s already: nothing to add", out, f"{store.times[dates[-1]]:%Y-%m-%d}")
        return out
    _check_windows(attributes, checkpoint, store, int(dates[held_days - 1]), out)
    blocks = _in_blocks_of(SimulationBlocks.of(checkpoint, store, settings, device), int(attributes["block_dates"]))
    _check_head(attributes, blocks, out)
    provenance.log_novelty(checkpoint, store, blocks.simulator.catchments)
    _write(AppendedBlocks(_with_kept_past(blocks, out), out, held_days))
    added = len(dates) - held_days
    warn_of_missing_inputs(open_checked(out).isel(time=slice(held_days, None)))
    log.info("%d days added to %s, which now ends on %s", added, out, f"{store.times[dates[-1]]:%Y-%m-%d}")
    return out


def about(out: Path) -> dict[str, Any]:
    """Return the root attributes of a simulation that may be extended, and ``dates``, how many it holds.

    An archive of forecasts holds none.

    Raises
    ------
    ConfigError
        If there is none at ``out``.
    """
    if single_file.is_asked_for(out):
        raise ConfigError(f"{out} is one file, which is not extended; simulate into a Zarr store")
    if not out.is_dir() or not zarr_with(SCHEMA)(out):
        raise ConfigError(f"There is no simulation at {out}; make it with 'watercli simulate --out {out}'")
    labels = open_checked(out)
    if labels.attrs[SCHEMA] != SCHEMA_VERSION:
        raise ConfigError(
            f"{out} has schema version {labels.attrs[SCHEMA]}, this watercli extends {SCHEMA_VERSION}; simulate it "
            "again with --overwrite"
        )
    return dict(labels.attrs) | {"dates": labels.sizes.get("time", 0)}


def _check_settled(attributes: dict[str, Any], settings: Simulate, out: Path) -> None:
    """Refuse to extend a simulation whose evidence lies after its days: they would be others now."""
    if settings.init_time is not None:
        raise ConfigError(
            f"{out} is a forecast from {settings.init_time}, which is not extended; make another with a later "
            "--init-time"
        )
    option = _looking_ahead(settings, pd.Timestamp(attributes["store_end"]))
    if option is not None:
        raise ConfigError(
            f"{out} was made with {option}, by which later flow changes earlier days; simulate it again with "
            "--overwrite"
        )


def _looking_ahead(settings: Simulate, store_end: pd.Timestamp) -> str | None:
    """Return the option by which flow after ``store_end`` is evidence for days before it; None if there is none."""
    period = ".." in settings.own_flow
    options = {
        "--fill": settings.fill,
        "--measured": settings.measured is not None,
        "--neighbours all": settings.neighbours == "all",
        f"--own-flow {settings.own_flow}": settings.own_flow == "all"
        or (period and pd.Timestamp(settings.own_flow.partition("..")[2]) > store_end),
    }
    return next((option for option, given in options.items() if given), None)


def _check_windows(attributes: dict[str, Any], checkpoint: Checkpoint, store: Store, last: int, out: Path) -> None:
    """Refuse to extend a simulation whose ``last`` day saw a window that the end of the store had cut off."""
    windows = SimulationWindows.of(checkpoint.config.window_days, checkpoint.structure)
    window_end = int(windows.starts(np.array([last]))[0]) + windows.days
    if not checkpoint.structure.causal and window_end > store.times.searchsorted(
        pd.Timestamp(attributes["store_end"]), side="right"
    ):
        raise ConfigError(
            f"{out} is of a model that is not causal (model.causal), by which later weather changes its last days; "
            "simulate it again with --overwrite"
        )


def _check_head(attributes: dict[str, Any], blocks: SimulationBlocks, out: Path) -> None:
    """Refuse another evidence head than that of the simulation."""
    head = blocks.informed.fitted.fingerprint if blocks.informed else None
    if attributes.get("evidence_fingerprint") != head:
        raise ConfigError(
            f"{out} is of another evidence head than that of {blocks.simulator.checkpoint.path}; simulate it again "
            "with --overwrite"
        )


def _in_blocks_of(blocks: SimulationBlocks, block_dates: int) -> SimulationBlocks:
    labels = blocks.layout.labels.assign_attrs(block_dates=block_dates)
    return replace(blocks, layout=replace(blocks.layout, labels=labels, block_dates=block_dates))


def _with_kept_past(blocks: SimulationBlocks, out: Path) -> SimulationBlocks:
    """Return the same, whose evidence head reads the simulation of past days that ``out`` keeps, if it keeps one."""
    if blocks.informed is None:
        return blocks
    of_gauges = blocks.informed.of_gauges
    kept = read_kept(out, of_gauges)
    base = None if kept is None else continued(of_gauges, kept)
    return replace(blocks, informed=replace(blocks.informed, base=base))


def _write(blocks: AppendedBlocks) -> None:
    """Put the extended simulation in the place of the old one."""
    out, layout = blocks.out, blocks.layout
    state = {"key": None, "out": str(out), "what": "simulation", "blocks": layout.blocks}
    with working(Target(out, True, "simulation", zarr_with(SCHEMA)), state) as work:
        shutil.copytree(out, work.store, copy_function=link)
        unfinish(work.store)
        export = Export(blocks, ZarrFormat(), work)
        export.begin()
        for number in range(blocks.held_days // layout.block_dates):
            export.mark(number).touch()
        export.write("simulate")
        if informed := blocks.blocks.informed:
            keep(informed.simulated, informed.of_gauges, work.store)
        export.finish()
