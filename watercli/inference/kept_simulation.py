"""The simulation from weather that an extended file keeps: of every day of the store, and the gauges that are read.

An evidence head compares rivers by their simulations, so that it needs those of a gauge and its donors from the first
day on. An extended file keeps them in the group ``_weather_only``, and the next extension simulates later days only.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import xarray as xr

from watercli.errors import DataError
from watercli.log import log
from watercli.output import zarr_files
from watercli.run.checkpoint import versions
from watercli.run.simulator import Simulated, Simulator

GROUP = "_weather_only"
"""No modality has a name that begins so."""


def read_kept(file: Path, simulator: Simulator) -> Simulated | None:
    """Return the simulation that a file keeps; None if it keeps none, or of other gauges, versions or another device.

    The file is of the simulator's weights, and of its store as it was.
    """
    if not (file / GROUP).is_dir():
        return None
    try:
        kept = xr.open_zarr(file / GROUP, consolidated=False).load()
    except DataError as error:
        log.warning("%s; simulating every day of the store anew", str(error).partition(";")[0])
        return None
    if kept.attrs["made_by"] != _made_by(simulator) or kept["gauge_id"].values.tolist() != _names(simulator):
        return None
    return Simulated(kept["flow"].values, kept["input_available"].values.astype(bool), kept["spread"].values)


def keep(simulated: Simulated, simulator: Simulator, file: Path) -> None:
    """Write the simulation of every day of the store into a file, in the place of an earlier one."""
    units = simulator.checkpoint.config.modalities[simulator.target].units
    dims = "gauge_id", "time"
    kept = xr.Dataset(
        {
            "flow": (dims, simulated.flow, {"long_name": f"{simulator.target} simulated from weather", "units": units}),
            "input_available": ((*dims, "input"), simulated.available.astype(np.int8)),
            "spread": (dims, simulated.spread, {"long_name": "standard deviation over members", "units": units}),
        },
        {
            "gauge_id": np.array(_names(simulator), dtype=object),
            "time": simulator.store.times,
            "input": np.array(simulator.inputs, dtype=object),
        },
        {"made_by": _made_by(simulator)},
    )
    shutil.rmtree(file / GROUP, ignore_errors=True)
    zarr_files.write(kept, file / GROUP)


def _names(simulator: Simulator) -> list[str]:
    return [simulator.store.gauge_ids[catchment] for catchment in simulator.catchments]


def _made_by(simulator: Simulator) -> str:
    """Return what the last digits depend on."""
    return json.dumps(versions() | {"device": simulator.device})
