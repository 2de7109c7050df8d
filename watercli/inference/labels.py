"""The labels of every export, in the terms of CF: its catchments, its dates and where it comes from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import xarray as xr

from watercli import __version__
from watercli.data.windows import Indices
from watercli.inference import provenance
from watercli.inference.provenance import ROLES, SPLITS
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

PLACES = ("gauge_name", "latitude", "longitude", "area")


def of_catchments(checkpoint: Checkpoint, store: Store, which: Indices) -> xr.Dataset:
    """Return what is known of catchments: ids, places, the part of each in training, attributes outside its range."""
    held = store.dataset.isel(catchment=which)
    places = {name: held[name].load().drop_vars(held[name].coords) for name in PLACES if name in held}
    gauges = [store.gauge_ids[number] for number in which]
    role = {"long_name": "part that the gauge had in training", **enumerated(ROLES)}
    coords: dict[str, Any] = {
        "catchment": ("catchment", held["catchment"].values, {"cf_role": "timeseries_id", "long_name": "gauge id"}),
        **places,
    }
    variables: dict[str, Any] = {"gauge_role": ("catchment", provenance.roles(checkpoint, store, gauges), role)}
    beyond = provenance.outside(checkpoint, store, which)
    if beyond is not None:
        coords["attribute"] = np.array(store.attribute_names, dtype=object)
        about = {"long_name": "attribute lies outside the range of the training", **enumerated(("no", "yes"))}
        variables["attribute_outside"] = (("catchment", "attribute"), beyond.astype(np.int8), about)
    return xr.Dataset(variables, coords)


def of_dates(checkpoint: Checkpoint, store: Store, dates: Indices, long_name: str) -> xr.Dataset:
    """Return the dates, and the split of the run that each belongs to."""
    time = ("time", store.times[dates], {"standard_name": "time", "long_name": long_name})
    return xr.Dataset({"split": ("time", provenance.splits(checkpoint, store, dates), enumerated(SPLITS))},
                      {"time": time})  # fmt: skip


def of_origin(checkpoint: Checkpoint, store: Store) -> dict[str, Any]:
    """Return the attributes that say which weights and which data an export comes from."""
    recipe = store.config.recipe.model_dump(mode="json") if store.config.recipe else None
    return {
        "Conventions": "CF-1.11",
        "watercli_version": __version__,
        "run_step": checkpoint.step,
        "run_fingerprint": checkpoint.fingerprint_of_weights(),
        "run_store_fingerprint": checkpoint.fingerprint,
        "store_fingerprint": store.fingerprint,
        "store_changed": provenance.changes(checkpoint, store),
        "store_end": f"{store.times[-1]:%Y-%m-%d}",
        "window_days": checkpoint.config.window_days,
        "antecedent_days": antecedent_days(checkpoint),
        "splits": store.dataset.attrs["splits"],
        "config": checkpoint.config.to_yaml(),
        "recipe_fingerprint": hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
    }


def antecedent_days(checkpoint: Checkpoint) -> int:
    """Return how many days before a window the antecedent state covers."""
    return checkpoint.structure.past_days


def enumerated(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the attributes of a variable whose values are positions in ``names``."""
    return {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)}
