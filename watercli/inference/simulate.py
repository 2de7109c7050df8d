"""``watercli simulate``: the flow of every catchment on every date, as a Zarr store, block by block.

It is written into a folder beside the output, which takes its place when it is whole; what an interruption leaves
there, the same command goes on with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli import __version__
from watercli.config import Embed
from watercli.data.windows import Indices
from watercli.errors import ConfigError, nearest
from watercli.inference import labels, provenance
from watercli.inference.embedder import whole
from watercli.inference.formats import ZarrFormat
from watercli.inference.layout import Array, Layout
from watercli.inference.simulator import Simulator
from watercli.inference.window_dates import first_and_last
from watercli.log import log, track
from watercli.output.atomic import Target, zarr_with
from watercli.output.resumable import Work, working
from watercli.run.checkpoint import Checkpoint, check_fits
from watercli.store import Store

SCHEMA, SCHEMA_VERSION = "simulation_schema_version", 2
FORM = ZarrFormat()
BLOCK_DATES = 512
"""Dates of a block: what is written, and done anew after an interruption, at once."""


def export_simulation(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    chosen: Embed,
    target: str,
    *,
    overwrite: bool = False,
    device: str = "cpu",
) -> Path:
    """Write what the model says of a series that is hidden from it, for catchments with and without a gauge.

    Parameters
    ----------
    checkpoint, store
        The model, and the weather and attributes that it is shown; the store need not have the target.
    out
        Where the Zarr store goes; it appears there only when it is whole.
    chosen
        ``since``, ``until`` and ``catchments``.
    target
        The series to simulate.
    overwrite
        Replace a simulation of watercli at ``out``, once the new one is whole.
    device
        Where the model works.

    Raises
    ------
    ConfigError
        If run, store and what is asked for do not fit each other, or ``out`` may not be written.
    RunError
        If the weights cannot be read or the disk is full.
    """
    place = Target(out, overwrite, "simulation", zarr_with(SCHEMA))
    place.check()
    _check(checkpoint, store, target, chosen.catchments)
    simulator = Simulator(checkpoint, whole(checkpoint, store), target, device, chosen.catchments)
    dates = _dates(store, chosen)
    layout = _lay_out(simulator, store, dates)
    provenance.tell(checkpoint, store, simulator.catchments)
    state = {"key": _key(simulator, dates), "out": str(out), "what": "simulation", "blocks": layout.blocks}
    with working(place, state) as work:
        FORM.begin(work.store, layout)
        for part in FORM.parts(layout):
            work.marks(part).mkdir(parents=True, exist_ok=True)
        left = [number for number in range(layout.blocks) if not _mark(work, layout, number).exists()]
        total = sum(len(dates[layout.block(number)]) for number in left)
        for number in track(left, "simulate", total=total, size=lambda one: len(dates[layout.block(one)])):
            _write(simulator, layout, work, number)
        missing = sum(np.load(_mark(work, layout, number)) for number in range(layout.blocks))
        FORM.finish(work.store)
    _tell(simulator, len(dates), missing, out)
    return out


def _check(checkpoint: Checkpoint, store: Store, target: str, gauges: Sequence[str]) -> None:
    series = list(checkpoint.config.of_kind("series"))
    if target not in series:
        raise ConfigError(f"--target names '{target}', which is no series of the run{nearest(target, series)}")
    if checkpoint.structure.cross_modal_attention == "none":
        raise ConfigError(
            f"The run's model is without cross-modal attention (model.cross_modal_attention: none) and cannot know "
            f"'{target}' from anything other than itself; simulate with a run that has it"
        )
    check_fits(checkpoint, store, hidden=(target,))
    if not store.gauge_ids:
        raise ConfigError(f"{store.path} has no catchments to simulate; add catchments to its recipe")
    for gauge in gauges:
        if gauge not in store.gauge_ids:
            raise ConfigError(
                f"--catchments names gauge '{gauge}', which {store.path} lacks{nearest(gauge, store.gauge_ids)}"
            )


def _dates(store: Store, chosen: Embed) -> Indices:
    """Return the positions of the dates that are asked for."""
    times, (first, last) = store.times, first_and_last(store.times, chosen)
    if first > last:
        raise ConfigError(
            f"No date of {store.path} lies between --since and --until; it holds {times[0]:%Y-%m-%d} to "
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
        antecedent_start=("time", store.times[first], {"long_name": "first day that the model knows of"})
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


def _key(simulator: Simulator, dates: Indices) -> str:
    """Return a hash of all that determines what is written."""
    content = [__version__, SCHEMA_VERSION, simulator.checkpoint.fingerprint_of_weights(), simulator.store.fingerprint,
               simulator.target, simulator.gauges, int(dates[0]), int(dates[-1])]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _write(simulator: Simulator, layout: Layout, work: Work, number: int) -> None:
    """Simulate and write a block; its mark holds how many catchment days lack each input."""
    found = simulator(layout.dates[layout.block(number)])
    flow = np.where(found.known.any(-1), found.flow, np.nan)
    FORM.write(work.store, layout, number, {simulator.target: flow, "input_available": found.known.astype(np.int8)})
    mark = _mark(work, layout, number)
    unfinished = mark.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        np.save(file, (~found.known).sum((0, 1)))
    unfinished.replace(mark)


def _mark(work: Work, layout: Layout, number: int) -> Path:
    return work.marks(FORM.parts(layout)[0]) / f"{number:06d}.npy"


def _tell(simulator: Simulator, dates: int, missing: NDArray[np.int64], out: Path) -> None:
    days = dates * len(simulator.catchments)
    lacking = [f"{name} {count / days:.1%}" for name, count in zip(simulator.inputs, missing, strict=True) if count]
    if lacking:
        log.warning(
            "Of %d catchment days, some lack an input ('input_available' says which): %s", days, ", ".join(lacking)
        )
    log.info("%s of %d catchments on %d days in %s", simulator.target, len(simulator.catchments), dates, out)
