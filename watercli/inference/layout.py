"""What an export holds: labels, what each embedding saw, and the arrays that are written block by block.

A block is a number of dates of every catchment: one shard of each array, written once, by one process.
Shapes: C catchments, N dates, M modalities, K maps, S ways of pooling over time, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from multimodal_mae.feature_maps import WeightedFeatureMaps
from numpy.typing import NDArray

from watercli.config import Embed
from watercli.data.windows import Indices
from watercli.inference import labels, provenance
from watercli.inference.embedder import Embedder
from watercli.inference.provenance import ROLES, SPLITS
from watercli.run.checkpoint import Checkpoint

SCHEMA_VERSION = 3
BLOCK_BYTES = 256 * 2**20
"""Most that a block takes before compression, unless the dates of a single window take more."""
BLOCK_DATES = 64
CHUNK_BYTES = 4 * 2**20
"""What is read at least, before compression: some catchments of a block."""


@dataclass(frozen=True)
class Array:
    """An array that is written block by block along its second dimension, ``time``."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: dict[str, Any]

    @property
    def bytes_of_date(self) -> int:
        """Bytes of one date, before compression."""
        return int(np.prod(self.shape[:1] + self.shape[2:])) * np.dtype(self.dtype).itemsize

    def chunks(self, dates: int) -> tuple[int, ...]:
        """Return the shape of a chunk, which holds some catchments (or patches) and all the dates of a block."""
        each = self.bytes_of_date * dates // self.shape[0]
        return (int(np.clip(CHUNK_BYTES // each, 1, self.shape[0])), dates, *self.shape[2:])

    def shards(self, dates: int) -> tuple[int, ...]:
        """Return the shape of a shard: whole chunks that hold all catchments."""
        chunk = self.chunks(dates)
        return (-(-self.shape[0] // chunk[0]) * chunk[0], *chunk[1:])


@dataclass(frozen=True)
class Layout:
    """An export: its dates, its labels, and its arrays."""

    dates: Indices
    """``[N]`` day indices in the store."""
    block_dates: int
    labels: xr.Dataset
    """Everything but the arrays: coordinates, small variables, root attributes."""
    arrays: dict[str, Array]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-len(self.dates) // self.block_dates)

    def block(self, number: int) -> slice:
        """Return the positions of a block along the dates."""
        return slice(number * self.block_dates, min((number + 1) * self.block_dates, len(self.dates)))

    @property
    def bytes(self) -> int:
        """Size of the arrays before compression."""
        return sum(array.bytes_of_date for array in self.arrays.values()) * len(self.dates)


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
    structure = embedder.checkpoint.structure
    found = {
        "embedding": Array(
            ("catchment", "time", "modality", "feature_map", "pooling", "channel"),
            (catchments, dates, modalities, maps, pools, width),
            settings.dtype,
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
        found["layer_embedding"] = Array(
            ("catchment", "time", "modality", "layer", "pooling", "channel"),
            (catchments, dates, modalities, embedder.deepest, pools, width),
            settings.dtype,
            {"long_name": "normed output of an encoder layer, pooled as the embedding is", "units": "1"},
        )
    if embedder.decoder_state:
        found["decoder_state"] = Array(
            ("catchment", "time", "target", "decoder_channel"),
            (catchments, dates, len(embedder.targets), structure.decoder_width),
            settings.dtype,
            {"long_name": "decoder's last state at the date, from which the hidden series is predicted", "units": "1"},
        )
    if embedder.patches:
        found["patch_embedding"] = Array(
            ("patch", "time", "grid", "feature_map", "pooling", "channel"),
            (len(embedder.store.land_patches), dates, len(embedder.grids), maps, pools, width),
            settings.dtype,
            {"long_name": "weighted feature map of a land patch, pooled over time", "units": "1"},
        )
    return found


def _labels(embedder: Embedder, dates: Indices, settings: Embed, block_dates: int) -> xr.Dataset:
    store, checkpoint = embedder.store, embedder.checkpoint
    starts, ends = embedder.dates.starts(dates), embedder.dates.ends(dates)
    remembered = (starts - labels.antecedent_days(checkpoint)).clip(min=0)
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
        "antecedent_start": ("time", store.times[remembered], {"long_name": "first day that the model remembers"}),
        **_flags(embedder, dates, remembered, ends),
        **_layer_weights(checkpoint, embedder.modalities),
    }
    both = labels.of_catchments(checkpoint, store, embedder.catchments)
    both = both.merge(labels.of_dates(checkpoint, store, dates, "date that is embedded"))
    return both.assign(variables).assign_coords(coords).assign_attrs(_attributes(embedder, settings, block_dates))


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
    """Return the flags of every catchment and date, as bits; ``first`` to ``last`` are the days seen and remembered."""
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
        "hidden_gauge": np.equal(role, ROLES.index("hidden")),
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
        bits[f"{target}_visible"] = seen & (target not in embedder.excluded) & np.not_equal(role, ROLES.index("hidden"))
    masks = [2**number for number in range(len(bits))]
    found = sum(
        (bit.astype(np.uint8) * np.uint8(mask) for bit, mask in zip(bits.values(), masks, strict=True)),
        np.zeros((len(which), len(dates)), dtype=np.uint8),
    )
    attributes = {"long_name": "what is known of catchment and date", "flag_masks": masks,
                  "flag_meanings": " ".join(bits)}  # fmt: skip
    return {"flags": (("catchment", "time"), found, attributes)}


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
