"""Embeddings: the weighted feature maps that the decoders read, pooled over the tokens that belong to a catchment.

The embedding of a date sees the window that ends on it (a causal model: as much of a window as lies up to it), what its
model remembers of earlier days, nothing later, and nothing of the hidden modalities.
Shapes: B windows, C catchments, T days, P patches, L visible tokens, M modalities, K maps,
S ways of pooling over time, D width.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import zarr
from numpy.typing import NDArray
from torch import Tensor

from model.encoder import Features
from model.feature_maps import WeightedFeatureMaps
from model.mae import MultiModalMAE
from model.masking import show_all
from watercli import __version__
from watercli.checkpoint import Checkpoint, check_fits
from watercli.config import Embed
from watercli.data.dataset import WindowReader
from watercli.data.windows import Indices
from watercli.errors import ConfigError, nearest
from watercli.files import Target, zarr_with
from watercli.log import log, progress
from watercli.store import Store

SCHEMA_VERSION = 1
CHUNK_BYTES = 64 * 2**20
"""Most that a chunk of embeddings takes before compression; a chunk holds whole dates, at most 64 of them."""
POOLS = ("last", "mean")
SPLITS = ("none", "train", "validation", "test")


@dataclass(frozen=True)
class Embedder:
    """Encodes windows of a store with a trained model."""

    checkpoint: Checkpoint
    store: Store
    hide: tuple[str, ...]
    """Modalities that the encoder never sees."""
    pools: tuple[str, ...] = POOLS
    """How a window's days become one embedding: the last day with a visible token, or the mean over all such days."""

    def __post_init__(self) -> None:
        check_fits(self.checkpoint, self.store)
        known = self.checkpoint.config.modalities
        for name in self.hide:
            if name not in known:
                raise ConfigError(
                    f"Setting 'embed.hide' names '{name}', which the run does not have{nearest(name, known)}"
                )
        if not self.modalities:
            raise ConfigError("Setting 'embed.hide' leaves no modality to embed; hide fewer")
        if not self.store.gauge_ids:
            raise ConfigError(f"{self.store.path} has no catchments to embed; add catchments to its recipe")

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities that are embedded: those not hidden."""
        return [name for name in self.checkpoint.config.modalities if name not in self.hide]

    @property
    def days(self) -> int:
        """Days in a window, T."""
        return self.checkpoint.config.window

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """M, K, S, D of an embedding."""
        structure = self.checkpoint.structure
        maps = structure.decoder_layers if structure.use_weighted_fm else 1
        return len(self.modalities), maps, len(self.pools), structure.width

    @cached_property
    def _model(self) -> MultiModalMAE:
        return self.checkpoint.model()

    @cached_property
    def _reader(self) -> WindowReader:
        return WindowReader(self.store, self.checkpoint.config, self.checkpoint.scaling)

    def ends(self, first: int, last: int, stride: int = 1) -> Indices:
        """Return the day indices from ``first`` to ``last`` on which a whole window ends."""
        return np.arange(max(first, self.days - 1), last + 1, stride, dtype=np.int64)

    def starts(self, ends: Indices) -> Indices:
        """Return the first day that the encoder sees of each date.

        The embedding of a date sees the whole window that ends on it. A causal model's features of a day are no
        different for what comes after, so that one window serves many dates: those of its second half. Such windows
        begin on fixed days of the store, whichever dates are asked for.
        """
        first = ends - (self.days - 1)
        if not self.checkpoint.structure.causal:
            return first
        step = self.days // 2
        aligned: Indices = (ends - (self.days - step)) // step * step
        return np.minimum(aligned, len(self.store.times) - self.days).clip(min=0)

    def windows(self, ends: Indices, batch: int) -> Iterator[tuple[Indices, NDArray[np.float32]]]:
        """Yield some ends, in order, and their embeddings ``[dates, C, M, K, S, D]``; NaN where nothing was visible.

        ``ends`` ascend; ``batch`` windows are encoded at a time.
        """
        everyone = np.arange(len(self.store.gauge_ids), dtype=np.int64)
        starts = self.starts(ends)
        unique, window = np.unique(starts, return_inverse=True)
        for first in range(0, len(unique), batch):
            some = unique[first : first + batch]
            dates = (window >= first) & (window < first + batch)
            offsets = (ends - starts)[dates]
            lasts = [offsets[window[dates] == first + number] for number in range(len(some))]
            yield ends[dates], self._encode(some, np.tile(everyone, (len(some), 1)), lasts)

    @torch.inference_mode()
    def _encode(self, starts: Indices, catchments: Indices, lasts: list[Indices]) -> NDArray[np.float32]:
        """Return embeddings of the days ``lasts`` of each window, all dates of all windows in order."""
        model = self._model
        batch = self._reader.read(starts, catchments)
        features = model.encode(batch, show_all(batch, model.config, self.hide), self.modalities)
        pooled = []
        for name in self.modalities:
            maps = model.maps(name, features[name])
            if self.checkpoint.config.modalities[name].kind == "series":
                maps = [one.unflatten(0, (len(starts), -1)) for one in maps]
            day, share = self._tokens(name, features[name], len(starts))
            dates = []
            for number, last in enumerate(lasts):
                weights = [_weights(pool, day[number], share[number], torch.from_numpy(last)) for pool in self.pools]
                here = [torch.stack([_pool(one[number], w) for w in weights], dim=2) for one in maps]
                dates.append(torch.stack(here, dim=2))  # [dates, C, K, S, D]
            pooled.append(torch.cat(dates))
        found: NDArray[np.float32] = torch.stack(pooled, dim=2).numpy()
        return found

    def _tokens(self, name: str, features: Features, windows: int) -> tuple[Tensor, Tensor]:
        """Return each token's day and its share in each catchment, ``[B, C, L]`` both; share 0: not of it."""
        here = features.valid & (features.index >= 0)
        if self.checkpoint.config.modalities[name].kind == "series":
            return features.day.unflatten(0, (windows, -1)), here.float().unflatten(0, (windows, -1))
        area = torch.from_numpy(self.store.patch_weight)
        share = area[:, features.index.clamp_min(0) % area.shape[1]].transpose(0, 1) * here[:, None]
        return features.day[:, None].expand_as(share), share


def _weights(pool: str, day: Tensor, share: Tensor, last: Tensor) -> Tensor:
    """Return how much each token ``[C, L]`` counts up to each last day, ``[dates, C, L]``.

    Rows sum to 1 or are all 0.
    """
    weights = share * (day <= last[:, None, None])
    if pool == "last":
        seen = torch.where(weights > 0, day, -1)
        weights = weights * (seen == seen.amax(-1, keepdim=True))
    normed: Tensor = weights / weights.sum(-1, keepdim=True).clamp_min(1e-12)
    return normed


def _pool(features: Tensor, weights: Tensor) -> Tensor:
    """Return ``[dates, C, D]`` of a grid's tokens ``[L, D]`` or a series' ``[C, L, D]``; NaN where weights are 0."""
    pooled = torch.einsum("ncl,cld->ncd" if features.ndim == 3 else "ncl,ld->ncd", weights, features)
    return torch.where(weights.sum(-1, keepdim=True) > 0, pooled, torch.nan)


def embed(checkpoint: Checkpoint, store: Store, out: Path, settings: Embed, *, overwrite: bool = False) -> Path:
    """Write the embeddings of every catchment and date to a Zarr store that xarray opens.

    Variables: ``embedding`` (catchment, time, modality, feature_map, pooling, channel), NaN where the encoder saw
    nothing of the modality that belongs to the catchment; ``window_start`` (time), the first day that it saw;
    ``split`` (time); ``layer_weight`` (modality, feature_map, layer), what mixes encoder layers into each map.

    Raises
    ------
    ConfigError
        If run and store do not fit each other, or ``out`` may not be written.
    """
    embedder = Embedder(checkpoint, store, settings.hide, settings.pools)
    target = Target(out, overwrite, "embeddings", zarr_with("embeddings_schema_version"))
    target.check()
    ends = embedder.ends(0, len(store.times) - 1, settings.stride)
    if not len(ends):
        raise ConfigError(f"{store.path} is shorter than the run's window of {embedder.days} days")
    with target.writing() as partial:
        template = _template(embedder, ends, settings)
        template.to_zarr(partial, zarr_format=3, consolidated=False, compute=False)
        array = zarr.open_group(partial, mode="r+")["embedding"]
        assert isinstance(array, zarr.Array)
        dates = array.chunks[1]
        with progress() as display:
            task = display.add_task("embed", total=len(ends))
            # A chunk is written once, when all its dates are there.
            for first in range(0, len(ends), dates):
                parts = []
                for some, values in embedder.windows(ends[first : first + dates], settings.batch):
                    parts.append(values)
                    display.advance(task, len(some))
                array[:, first : first + dates] = np.concatenate(parts).swapaxes(0, 1).astype(settings.dtype)
        with warnings.catch_warnings():
            # Zarr v3's specification does not yet have what every reader of it already understands.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(partial)
    seen = ", ".join(embedder.modalities)
    log.info("%d dates x %d catchments of %s in %s", len(ends), len(store.gauge_ids), seen, out)
    return out


def _template(embedder: Embedder, ends: Indices, settings: Embed) -> xr.Dataset:
    """Return the dataset with its coordinates, the embedding itself still a lazy NaN."""
    import dask.array

    store, checkpoint = embedder.store, embedder.checkpoint
    shape = (len(store.gauge_ids), len(ends), *embedder.shape)
    dates = store.times[ends]
    bytes_of_date = shape[0] * int(np.prod(embedder.shape)) * np.dtype(settings.dtype).itemsize
    chunks = (shape[0], int(np.clip(CHUNK_BYTES // bytes_of_date, 1, 64)), *embedder.shape)
    dataset = xr.Dataset(
        {
            "embedding": (
                ("catchment", "time", "modality", "feature_map", "pooling", "channel"),
                dask.array.full(shape, np.nan, dtype=settings.dtype, chunks=chunks),
                {
                    "long_name": "weighted feature map, pooled over the tokens that belong to the catchment",
                    "units": "1",
                },
            ),
            "window_start": (
                "time",
                store.times[embedder.starts(ends)],
                {"long_name": "first day that the encoder sees, beside its memory"},
            ),
            "split": (
                "time",
                _splits(store, ends),
                {"flag_values": list(range(len(SPLITS))), "flag_meanings": " ".join(SPLITS)},
            ),
            **_layer_weights(checkpoint, embedder.modalities),
        },
        coords={
            "catchment": store.dataset["catchment"].values,
            "time": ("time", dates, {"standard_name": "time", "long_name": "last day seen"}),
            "modality": np.array(embedder.modalities, dtype=object),
            "feature_map": np.arange(shape[3]),
            "pooling": np.array(embedder.pools, dtype=object),
            "channel": np.arange(shape[-1]),
            **{
                name: store.dataset[name].load()
                for name in ("gauge_name", "latitude", "longitude", "area")
                if name in store.dataset
            },
        },
        attrs={
            "Conventions": "CF-1.11",
            "title": "Catchment embeddings",
            "embeddings_schema_version": SCHEMA_VERSION,
            "watercli_version": __version__,
            "run_step": checkpoint.step,
            "run_fingerprint": checkpoint.fingerprint_of_weights(),
            "run_store_fingerprint": checkpoint.fingerprint,
            "store_fingerprint": store.fingerprint,
            "hidden_modalities": list(settings.hide),
            "window_days": embedder.days,
            "memory_days": checkpoint.structure.memory.past_days if checkpoint.structure.memory else 0,
            "causal": int(checkpoint.structure.causal),
            "splits": store.dataset.attrs["splits"],
            "config": checkpoint.config.to_yaml(),
        },
    )
    dataset["embedding"].encoding["chunks"] = chunks
    return dataset


def _splits(store: Store, ends: Indices) -> NDArray[np.int8]:
    """Return the position in ``SPLITS`` of each date's split."""
    found = np.zeros(len(ends), dtype=np.int8)
    for number, split in enumerate(SPLITS[1:], start=1):
        period = store.period(split)
        found[(ends >= period.start) & (ends < period.stop)] = number
    return found


def _layer_weights(checkpoint: Checkpoint, names: list[str]) -> dict[str, Any]:
    """Return ``layer_weight``, NaN beyond a shallower encoder's layers; nothing if the run has no weighted maps."""
    weights = layer_weights(checkpoint)
    if not weights:
        return {}
    deepest = max(one.shape[1] for one in weights.values())
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
