"""What a file of simulated flow holds: its arrays, their values, its labels.

The arrays have the dims ``(catchment, time)``, or ``(catchment, init_time, lead_time)`` in an archive of forecasts.
Shapes: C catchments, N dates of a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from multimodal_mae.evidence import QUANTILES
from numpy.typing import NDArray

from watercli.config import Simulate
from watercli.inference import labels
from watercli.inference.evidence import EVIDENCE, FLAGS, Estimate
from watercli.inference.layout import Array
from watercli.run.evidence import FittedEvidence
from watercli.run.simulator import Simulated, Simulator
from watercli.store import Store

SCHEMA, SCHEMA_VERSION = "simulation_schema_version", 5


def arrays_of(
    simulator: Simulator, settings: Simulate, fitted: FittedEvidence | None, sizes: Mapping[str, int]
) -> dict[str, Array]:
    """Return the arrays of a file, of dims and ``sizes``."""
    target, inputs = simulator.target, simulator.inputs
    dims, shape = tuple(sizes), tuple(sizes.values())
    modality = simulator.checkpoint.config.modalities[target]
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
        arrays |= _arrays_of_evidence(target, name, modality.units, sizes, settings)
    return arrays


def _arrays_of_evidence(
    target: str, name: str, units: str, sizes: Mapping[str, int], settings: Simulate
) -> dict[str, Array]:
    dims, shape = tuple(sizes), tuple(sizes.values())
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


def arrays_from(
    simulated: Simulated,
    estimate: Estimate | None,
    blind: NDArray[np.bool_],
    simulator: Simulator,
    settings: Simulate,
) -> dict[str, NDArray[Any]]:
    """Return the values of a block, ``[C, N, ...]``, NaN where ``blind`` ``[C, N]``: the model knew nothing."""
    target = simulator.target
    arrays: dict[str, NDArray[Any]] = {"input_available": simulated.available.astype(np.int8)}
    if len(simulator.members) > 1:
        arrays[f"{target}_spread"] = _without(simulated.spread, blind)
    if estimate is None:
        return {target: _without(simulated.flow, blind), **arrays}
    arrays |= {
        target: _without(estimate.flow, blind),
        f"{target}_quantile": _without(estimate.quantiles, blind),
        "neighbours_used": estimate.neighbours,
        "own_days_used": estimate.own_days,
        "evidence": estimate.evidence,
    }
    if settings.weather_only:
        arrays[f"{target}_weather_only"] = _without(estimate.weather_only, blind)
    return arrays


def _without(values: NDArray[np.float32], blind: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return values ``[C, N, ...]``, NaN where the model knew nothing."""
    empty = blind.reshape(blind.shape + (1,) * (values.ndim - blind.ndim))
    return np.where(empty, np.float32(np.nan), values)


def labels_of(simulator: Simulator, store: Store, settings: Simulate, fitted: FittedEvidence | None) -> xr.Dataset:
    """Return the labels of a file that are not of its days."""
    about = labels.of_catchments(simulator.checkpoint, store, simulator.catchments)
    about = about.assign_coords(input=np.array(simulator.inputs, dtype=object))
    if fitted is not None:
        about = about.assign_coords(quantile=np.array(QUANTILES))
    return about.assign_attrs(_attributes(simulator, store, settings, fitted))


def _attributes(
    simulator: Simulator, store: Store, settings: Simulate, fitted: FittedEvidence | None
) -> dict[str, Any]:
    seen = {}
    if fitted is not None:
        seen = {
            "neighbours": settings.neighbours or "day",
            "own_flow": "all" if settings.fill else settings.own_flow,
            "measured": str(settings.measured or ""),
            "init_time": settings.init_time or "",
            "evidence_fingerprint": fitted.fingerprint,
        }
    return {
        "title": f"Simulated {simulator.target}",
        "featureType": "timeSeries",
        SCHEMA: SCHEMA_VERSION,
        **labels.of_origin(simulator.checkpoint, store),
        "window_days": simulator.windows.days,
        "excluded_inputs": [simulator.target],
        "causal": int(simulator.checkpoint.structure.causal),
        "simulate": settings.model_dump_json(),
        **seen,
    }
