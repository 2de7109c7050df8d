"""``watercli embed``: blocks of dates are embedded and written, by one process or several.

They are written into a folder beside the output, which takes its place when it is whole; what an interruption leaves
there, the same command goes on with.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from watercli import __version__
from watercli.config import Embed
from watercli.data.windows import Indices
from watercli.errors import ConfigError
from watercli.inference import provenance, single_file
from watercli.inference.embedder import Embedder
from watercli.inference.embedding_layout import SCHEMA_VERSION, lay_out
from watercli.inference.export import Arrays, Export, InParallel, lazy_dataset
from watercli.inference.formats import FORMATS, description, format_of, is_export
from watercli.inference.layout import Layout
from watercli.inference.processes import choose_device, in_processes
from watercli.inference.window_dates import first_and_last
from watercli.log import log
from watercli.output.atomic import Target, existing_parent, link, recover
from watercli.output.manifest import check_manifest
from watercli.output.resumable import working
from watercli.output.sizes import in_bytes
from watercli.output.zarr_files import open_checked, unfinish
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store


@dataclass(frozen=True)
class EmbeddingBlocks:
    """Computes embeddings, block by block; see `watercli.inference.export.Blocks`."""

    embedder: Embedder
    layout: Layout
    batch_size: int
    """Windows encoded at once."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, store: Store, settings: Embed, device: str) -> EmbeddingBlocks:
        """Return what computes the embeddings that the settings choose."""
        embedder = Embedder.of(checkpoint, store, settings, device)
        layout = lay_out(embedder, chosen_dates(embedder, settings), settings)
        return cls(embedder, layout, settings.batch_size)

    def __call__(self, number: int) -> Arrays:
        """Embed the dates of a block."""
        dates = self.layout.dates[self.layout.block(number)]
        parts = [arrays for _, arrays in self.embedder.encode(dates, self.batch_size)]
        return {
            name: np.concatenate([part[name] for part in parts]).swapaxes(0, 1).astype(array.dtype)
            for name, array in self.layout.arrays.items()
        }

    def on(self, device: str) -> EmbeddingBlocks:
        """Return the same on another device, with a model of its own."""
        return replace(self, embedder=replace(self.embedder, device=device))


def embeddings_dataset(checkpoint: Checkpoint, store: Store, settings: Embed, device: str = "cpu") -> xr.Dataset:
    """Return the embeddings of catchments and dates as `embed` would write them, computed when they are read.

    Parameters
    ----------
    checkpoint, store
        The model, and what it encodes.
    settings
        What is embedded; ``format`` is of no account.
    device
        Where the model works.

    Returns
    -------
    xr.Dataset
        ``embedding (catchment, time, modality, feature_map, pooling, channel)`` and what else the settings choose, as
        dask arrays; ``to_zarr`` writes them.

    Raises
    ------
    ConfigError
        If run, store and settings do not fit each other.
    """
    blocks = EmbeddingBlocks.of(checkpoint, store, settings, device)
    provenance.log_novelty(checkpoint, store, blocks.embedder.catchments)
    return lazy_dataset(blocks)


def embed(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    settings: Embed,
    *,
    overwrite: bool = False,
    processes: int = 0,
    gpus: int = 0,
) -> Path:
    """Write the embeddings of catchments and dates; `watercli.inference.embedding_layout` says what they hold.

    Parameters
    ----------
    checkpoint, store
        The model, and what it encodes.
    out
        Where they go, one file if the name ends in ``.nc`` or ``.csv``; they appear only when they are whole.
    settings
        What is written.
    overwrite
        Replace embeddings of watercli at ``out``, once the new ones are whole.
    processes, gpus
        How many processes work on the CPU, or on GPUs of this machine; 0 stands for this process, on the CPU.

    Raises
    ------
    ConfigError
        If run, store and settings do not fit each other, or ``out`` may not be written.
    RunError
        If the weights cannot be read, the disk is full or a process is killed.
    """
    device = choose_device(processes, gpus)
    target = Target(out, overwrite, "embeddings", is_export)
    as_file = single_file.is_asked_for(out)
    if as_file:
        if max(processes, gpus) > 1:
            raise ConfigError(f"{out} is one file, which one process writes; write Zarr, or leave --processes out")
        single_file.check(out, overwrite, "embeddings")
    else:
        target.check()
    settings = with_dtype(settings, out)
    blocks = EmbeddingBlocks.of(checkpoint, store, settings, device)
    provenance.log_novelty(checkpoint, store, blocks.embedder.catchments)
    _say_size(blocks.layout, out)
    if as_file:
        return single_file.write(blocks, out, "embed")
    with working(target, _state(out, blocks.layout, key(blocks.embedder, settings))) as work:
        export = Export(blocks, FORMATS[settings.format], work)
        export.begin()
        export.write("embed", _in_parallel(export, processes, gpus))
        export.finish()
    _conclude(blocks.embedder, len(blocks.layout.dates), out)
    return out


def append(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    until: dt.date | None = None,
    *,
    processes: int = 0,
    gpus: int = 0,
) -> Path:
    """Add later dates to embeddings, as they were exported before; ``until`` is the last, None for that of the store.

    Blocks whose dates and windows are whole already stay as they are, byte for byte. Without a date to add, nothing is
    changed.

    Raises
    ------
    ConfigError
        If there are no embeddings at ``out``, or they are of other weights or of a store that this one does not extend.
    """
    device = choose_device(processes, gpus)
    recover(out)
    old = about(out)
    provenance.check_extends(old, checkpoint, store, out)
    settings = Embed.model_validate(json.loads(old["embed"])).model_copy(update={"until": until})
    embedder = Embedder.of(checkpoint, store, settings, device)
    layout = lay_out(embedder, chosen_dates(embedder, settings), settings, block_dates=int(old["block_dates"]))
    before = int(old["dates"])
    if len(layout.dates) <= before:
        log.info("%s holds every date to %s already: nothing to add", out, until or f"{store.times[-1]:%Y-%m-%d}")
        return out
    provenance.log_novelty(checkpoint, store, embedder.catchments)
    with working(Target(out, True, "embeddings", is_export), _state(out, layout, None)) as work:
        shutil.copytree(out, work.store, copy_function=link)
        unfinish(work.store)
        export = Export(EmbeddingBlocks(embedder, layout, settings.batch_size), FORMATS[settings.format], work)
        export.begin()
        for number in range(_unchanged_blocks(layout, embedder, before, str(old["store_end"]))):
            export.mark(number).touch()
        export.write("embed", _in_parallel(export, processes, gpus))
        export.finish()
    _conclude(embedder, len(layout.dates) - before, out)
    return out


def with_dtype(settings: Embed, out: Path) -> Embed:
    """Return the settings with the type of the numbers that are written to ``out``.

    Raises
    ------
    ConfigError
        If float16 is set for one file, which knows none.
    """
    as_file = single_file.is_asked_for(out)
    if as_file and settings.dtype == "float16":
        raise ConfigError(f"{out} is one file, which takes float32 only; leave embed.dtype out, or write Zarr")
    if settings.dtype is not None:
        return settings
    return settings.model_copy(update={"dtype": "float32" if as_file or settings.format == "parquet" else "float16"})


def _say_size(layout: Layout, out: Path) -> None:
    free = shutil.disk_usage(existing_parent(out)).free
    kind = layout.arrays["embedding"].dtype
    log.info(
        "Writing %s of %s before compression; %s are free on the disk", in_bytes(layout.bytes), kind, in_bytes(free)
    )


def _state(out: Path, layout: Layout, fingerprint: str | None) -> dict[str, Any]:
    return {"key": fingerprint, "out": str(out), "what": "embeddings", "blocks": layout.blocks}


def chosen_dates(embedder: Embedder, settings: Embed) -> Indices:
    """Return the day indices that the settings choose.

    Raises
    ------
    ConfigError
        If there is none that can be embedded.
    """
    times, dates = embedder.store.times, embedder.dates
    chosen = dates.between(*first_and_last(times, settings.since, settings.until), settings.stride)
    if len(chosen):
        return chosen
    if dates.last < dates.first:
        raise ConfigError(f"{embedder.store.path} is shorter than the run's window of {embedder.days} days")
    raise ConfigError(
        f"No date of {embedder.store.path} lies between embed.since and embed.until; it has dates to embed from "
        f"{times[dates.first]:%Y-%m-%d} to {times[dates.last]:%Y-%m-%d}"
    )


def key(embedder: Embedder, settings: Embed) -> str:
    """Return a hash of all that determines an export."""
    checkpoint = embedder.checkpoint
    content = [__version__, SCHEMA_VERSION, checkpoint.fingerprint_of_weights(), embedder.store.fingerprint,
               settings.model_dump(mode="json"), checkpoint.config.to_yaml()]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def about(out: Path) -> dict[str, Any]:
    """Return the root attributes of embeddings, and ``dates``, how many they hold.

    Raises
    ------
    ConfigError
        If there are none at ``out``.
    """
    form = format_of(out) if out.is_dir() else None
    if form is None:
        raise ConfigError(f"There are no embeddings at {out}; make them with 'watercli embed --out {out}'")
    attributes = description(out)
    if attributes:
        check_manifest(out)
    else:
        labels = open_checked(out)
        attributes = dict(labels.attrs) | {"dates": labels.sizes["time"]}
    if attributes["embeddings_schema_version"] != SCHEMA_VERSION:
        raise ConfigError(
            f"{out} has schema version {attributes['embeddings_schema_version']}, this watercli extends "
            f"{SCHEMA_VERSION}; export it again with --overwrite"
        )
    return attributes


def _unchanged_blocks(layout: Layout, embedder: Embedder, before: int, end: str) -> int:
    """Return how many blocks are full, and saw nothing that was cut off by the end of the store as it was."""
    days = int(embedder.store.times.searchsorted(np.datetime64(end), side="right"))
    inside = embedder.starts(layout.dates[:before]) + embedder.days <= days
    unchanged = before if inside.all() else int(inside.argmin())
    return unchanged // layout.block_dates


def _in_parallel(export: Export, processes: int, gpus: int) -> InParallel | None:
    """Return what writes blocks in several processes; None if this one does."""
    if max(processes, gpus) < 2:
        return None

    def write(numbers: list[int]) -> Iterator[int]:
        workers = min(max(processes, gpus), len(numbers))
        return in_processes(workers, partial(_export_on, export), numbers, gpus=bool(gpus)) if numbers else iter(())

    return write


def _export_on(export: Export, device: str) -> Export:
    assert isinstance(export.blocks, EmbeddingBlocks)
    return replace(export, blocks=export.blocks.on(device))


def _conclude(embedder: Embedder, dates: int, out: Path) -> None:
    modalities = ", ".join(embedder.modalities)
    log.info("%d dates x %d catchments of %s in %s", dates, len(embedder.catchments), modalities, out)
