"""What an export of embeddings holds: labels, what each embedding saw, and the arrays.

Shapes: C catchments, N dates, M modalities, K maps, S ways of pooling over time, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from multimodal_mae.feature_maps import WeightedFeatureMaps
from numpy.typing import NDArray

from watercli.config import Embed
from watercli.data.windows import Indices
from watercli.inference import labels, provenance
from watercli.inference.embedder import Embedder
from watercli.inference.layout import Array, Layout
from watercli.inference.provenance import ROLES, SPLITS
from watercli.run.checkpoint import Checkpoint

SCHEMA_VERSION = 4
BLOCK_BYTES = 256 * 2**20
"""Most that a block takes before compression, unless the dates of a single window take more."""
BLOCK_DATES = 64


def lay_out(embedder: Embedder, dates: Indices, settings: Embed, block_dates: int | None = None) -> Layout:
    """Return the layout of an export; ``block_dates`` is that of an export that is extended."""
    arrays = _arrays(embedder, len(dates), settings)
    size = block_dates or _block_dates(embedder, arrays, settings.stride)
    return Layout(dates, size, _labels(embedder, dates, settings, size), arrays)


def _block_dates(embedder: Embedder, arrays: dict[str, Array], stride: int) -> int:
    """Return the dates of a block: whole windows' worth, so that no window has to be encoded for two blocks."""
    of_windows = embedder.dates.repeats(stride)
    fit = BLOCK_BYTES // sum(array.bytes_of_date for array in arrays.values())
    return max(min(fit, BLOCK_DATES) // of_windows, 1) * of_windows


def _arrays(embedder: Embedder, dates: int, settings: Embed) -> dict[str, Array]:
    catchments = len(embedder.catchments)
    modalities, maps, pools, width = embedder.shape
    structure, dtype = embedder.checkpoint.structure, settings.dtype or "float32"
    arrays = {
        "embedding": Array(
            ("catchment", "time", "modality", "feature_map", "pooling", "channel"),
            (catchments, dates, modalities, maps, pools, width),
            dtype,
            {"long_name": "weighted feature map, pooled over the tokens that belong to the catchment", "units": "1"},
        ),
        "visible_days": Array(
            ("catchment", "time", "modality"),
            (catchments, dates, modalities),
            "int16",
            {"long_name": "days of the window on which the encoder saw a value of the catchment", "units": "day"},
        ),
    }
    if embedder.layers:
        arrays["layer_embedding"] = Array(
            ("catchment", "time", "modality", "layer", "pooling", "channel"),
            (catchments, dates, modalities, embedder.deepest, pools, width),
            dtype,
            {"long_name": "normed output of an encoder layer, pooled as the embedding is", "units": "1"},
        )
    if embedder.decoder_state:
        arrays["decoder_state"] = Array(
            ("catchment", "time", "target", "decoder_channel"),
            (catchments, dates, len(embedder.targets), structure.decoder_width),
            dtype,
            {
                "long_name": "decoder's last state at the date, from which the excluded series is predicted",
                "units": "1",
            },
        )
    if embedder.patches:
        arrays["patch_embedding"] = Array(
            ("patch", "time", "grid", "feature_map", "pooling", "channel"),
            (len(embedder.store.land_patches), dates, len(embedder.grids), maps, pools, width),
            dtype,
            {"long_name": "weighted feature map of a land patch, pooled over time", "units": "1"},
        )
    return arrays


def _labels(embedder: Embedder, dates: Indices, settings: Embed, block_dates: int) -> xr.Dataset:
    store, checkpoint = embedder.store, embedder.checkpoint
    starts, ends = embedder.dates.starts(dates), embedder.dates.ends(dates)
    antecedent = (starts - labels.antecedent_days(checkpoint)).clip(min=0)
    coords: dict[str, Any] = {
        "modality": np.array(embedder.modalities, dtype=object),
        "feature_map": np.arange(embedder.shape[1]),
        "pooling": np.array(embedder.labels, dtype=object),
        "channel": np.arange(embedder.shape[3]),
    }
    if embedder.decoder_state:
        coords["target"] = np.array(embedder.targets, dtype=object)
        coords["decoder_channel"] = np.arange(checkpoint.structure.decoder_width)
    if embedder.patches:
        land = store.land_patches
        coords["grid"] = np.array(embedder.grids, dtype=object)
        coords["patch"] = land
        coords |= {name: ("patch", store.dataset[name].values[land], dict(store.dataset[name].attrs))
                   for name in ("patch_y", "patch_x")}  # fmt: skip
    variables: dict[str, Any] = {
        "window_start": ("time", store.times[starts], {"long_name": "first day that the encoder sees"}),
        "window_end": ("time", store.times[ends], {"long_name": "last day that the encoder sees"}),
        "antecedent_start": ("time", store.times[antecedent], {"long_name": "first day of the antecedent state"}),
        **_flags(embedder, dates, antecedent, ends),
        **_layer_weights(checkpoint, embedder.modalities),
    }
    dataset = labels.of_catchments(checkpoint, store, embedder.catchments)
    dataset = dataset.merge(labels.of_dates(checkpoint, store, dates, "date that is embedded"))
    return dataset.assign(variables).assign_coords(coords).assign_attrs(_attributes(embedder, settings, block_dates))


def _attributes(embedder: Embedder, settings: Embed, block_dates: int) -> dict[str, Any]:
    return {
        "title": "Catchment embeddings",
        "embeddings_schema_version": SCHEMA_VERSION,
        **labels.of_origin(embedder.checkpoint, embedder.store),
        "visible_modalities": [name for name in embedder.checkpoint.config.modalities if name not in embedder.excluded],
        "excluded_inputs": list(embedder.excluded),
        "causal": int(embedder.causal),
        "embed": settings.model_dump_json(),
        "block_dates": block_dates,
    }


def _flags(embedder: Embedder, dates: Indices, first: Indices, last: Indices) -> dict[str, Any]:
    """Return the flags of every catchment and date, as bits; the model knows of the days ``first`` to ``last``."""
    checkpoint, store, which = embedder.checkpoint, embedder.store, embedder.catchments
    gauges = [store.gauge_ids[number] for number in which]
    role = provenance.roles(checkpoint, store, gauges)[:, None]
    split = provenance.splits(checkpoint, store, dates)
    beyond = provenance.outside(checkpoint, store, which)
    bits: dict[str, NDArray[Any]] = {
        "train": np.equal(split, SPLITS.index("train")) & np.greater(role, 0),
        "validation": np.equal(split, SPLITS.index("validation")),
        "test": np.equal(split, SPLITS.index("test")),
        "new_gauge": np.equal(role, ROLES.index("new")),
        "held_out_gauge": np.equal(role, ROLES.index("held_out")),
        "attributes_outside": np.zeros_like(role, dtype=bool)
        if beyond is None
        else np.any(beyond, axis=1, keepdims=True),
    }
    target = checkpoint.config.evaluate.target
    if target in checkpoint.config.of_kind("series"):
        observed = np.zeros((len(which), len(store.times)), dtype=bool)
        if target in store.dataset:
            observed = np.isfinite(store.dataset[target].values[which])
        until = np.pad(observed.cumsum(1), ((0, 0), (1, 0)))
        seen = until[:, np.minimum(last + 1, len(store.times))] > until[:, first]
        bits[f"{target}_observed"] = observed[:, dates]
        bits[f"{target}_visible"] = (
            seen & (target not in embedder.excluded) & np.not_equal(role, ROLES.index("held_out"))
        )
    masks = [2**number for number in range(len(bits))]
    flags = sum(
        (bit.astype(np.uint8) * np.uint8(mask) for bit, mask in zip(bits.values(), masks, strict=True)),
        np.zeros((len(which), len(dates)), dtype=np.uint8),
    )
    attributes = {"long_name": "what is known of catchment and date", "flag_masks": masks,
                  "flag_meanings": " ".join(bits)}  # fmt: skip
    return {"flags": (("catchment", "time"), flags, attributes)}


def _layer_weights(checkpoint: Checkpoint, names: list[str]) -> dict[str, Any]:
    """Return ``layer_weight``, NaN beyond a shallower encoder's layers; nothing if the run has no weighted maps."""
    weights = layer_weights(checkpoint)
    if not weights:
        return {}
    deepest = max(weights[name].shape[1] for name in names)
    padded = [np.pad(weights[name], ((0, 0), (0, deepest - weights[name].shape[1])), constant_values=np.nan)
              for name in names]  # fmt: skip
    attributes = {"long_name": "weight of an encoder layer in a feature map, before the map's norm", "units": "1"}
    return {"layer_weight": (("modality", "feature_map", "layer"), np.stack(padded), attributes)}


def layer_weights(checkpoint: Checkpoint) -> dict[str, NDArray[np.float32]]:
    """Return the learned layer weights ``[K maps, layers]`` of each modality; empty without weighted maps."""
    model = checkpoint.model()
    return {
        name: maps.weight.detach().numpy()
        for name, maps in model.feature_maps.items()
        if isinstance(maps, WeightedFeatureMaps)
    }
