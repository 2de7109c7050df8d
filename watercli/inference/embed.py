"""``watercli embed``: blocks of dates are embedded and written, by one process or several.

They are written into a folder beside the output, which takes its place when it is whole; what an interruption leaves
there, the same command goes on with.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from watercli import __version__
from watercli.config import Embed
from watercli.data.windows import Indices
from watercli.errors import ConfigError
from watercli.inference import provenance
from watercli.inference.embedder import Embedder
from watercli.inference.formats import FORMATS, description, format_of, is_export
from watercli.inference.layout import SCHEMA_VERSION, Layout, lay_out
from watercli.inference.processes import in_processes
from watercli.inference.window_dates import first_and_last
from watercli.log import log, track
from watercli.output.atomic import Target
from watercli.output.resumable import Work, working
from watercli.preparation.extend import link
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store


@dataclass(frozen=True)
class Export:
    """What is being written, and where."""

    embedder: Embedder
    layout: Layout
    settings: Embed
    work: Work

    def begin(self) -> None:
        """Write the labels; make what the blocks go into, and the marks of the blocks that are written."""
        form = FORMATS[self.settings.format]
        form.begin(self.work.store, self.layout)
        for part in form.parts(self.layout):
            self.work.marks(part).mkdir(parents=True, exist_ok=True)

    def mark(self, number: int) -> Path:
        """Return the file whose being there says that a block is written."""
        return self.work.marks(FORMATS[self.settings.format].parts(self.layout)[0]) / f"{number:06d}"

    def __call__(self, number: int) -> int:
        """Embed and write a block; return how many dates that was."""
        positions = self.layout.block(number)
        dates = self.layout.dates[positions]
        parts = [found for _, found in self.embedder.encode(dates, self.settings.batch_size)]
        arrays = {
            name: np.concatenate([part[name] for part in parts]).swapaxes(0, 1).astype(array.dtype)
            for name, array in self.layout.arrays.items()
        }
        FORMATS[self.settings.format].write(self.work.store, self.layout, number, arrays)
        self.mark(number).touch()
        return len(dates)

    def finish(self) -> None:
        """Do what is left once all blocks are written."""
        FORMATS[self.settings.format].finish(self.work.store)


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
    """Write the embeddings of catchments and dates; `watercli.inference.layout` says what of them.

    Parameters
    ----------
    checkpoint, store
        The model, and what it encodes.
    out
        Where they go; they appear there only when they are whole.
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
    device = check_devices(processes, gpus)
    target = Target(out, overwrite, "embeddings", is_export)
    target.check()
    embedder = Embedder.of(checkpoint, store, settings, device)
    layout = lay_out(embedder, chosen_dates(embedder, settings), settings)
    provenance.tell(checkpoint, store, embedder.catchments)
    state = {"key": key(embedder, settings), "out": str(out), "what": "embeddings", "blocks": layout.blocks}
    with working(target, state) as work:
        export = Export(embedder, layout, settings, work)
        export.begin()
        _write(export, range(layout.blocks), processes, gpus)
        export.finish()
    _conclude(export, len(layout.dates), out)
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
    """Add later dates to embeddings, as they were exported before; ``until`` is the last, None for all there are.

    Blocks whose dates and windows are whole already stay as they are, byte for byte.

    Raises
    ------
    ConfigError
        If there are no embeddings at ``out``, they are of other weights or of a store that this one does not extend,
        or there is no date to add.
    """
    device = check_devices(processes, gpus)
    old = about(out)
    _check_extends(old, checkpoint, store, out)
    settings = Embed.model_validate(json.loads(old["embed"])).model_copy(update={"until": until})
    embedder = Embedder.of(checkpoint, store, settings, device)
    layout = lay_out(embedder, chosen_dates(embedder, settings), settings, block_dates=int(old["block_dates"]))
    before = int(old["dates"])
    if len(layout.dates) <= before:
        last = f"{store.times[-1]:%Y-%m-%d}" if until is None else str(until)
        raise ConfigError(f"{out} holds every date to {last} already; extend the store, or give a later --until")
    provenance.tell(checkpoint, store, embedder.catchments)
    target = Target(out, True, "embeddings", is_export)
    state = {"key": None, "out": str(out), "what": "embeddings", "blocks": layout.blocks}
    with working(target, state) as work:
        shutil.copytree(out, work.store, copy_function=link)
        export = Export(embedder, layout, settings, work)
        export.begin()
        for number in range(_whole_blocks(layout, embedder, before, str(old["store_end"]))):
            export.mark(number).touch()
        _write(export, range(layout.blocks), processes, gpus)
        export.finish()
    _conclude(export, len(layout.dates) - before, out)
    return out


def check_devices(processes: int, gpus: int) -> str:
    """Return the device that this process works on itself.

    Raises
    ------
    ConfigError
        If both are given, or this machine has fewer GPUs.
    """
    if processes and gpus:
        raise ConfigError("--gpus and --processes exclude each other; --processes is for CPU")
    if gpus > torch.cuda.device_count():
        raise ConfigError(f"--gpus {gpus} asked for, but this machine has {torch.cuda.device_count()}; give no more")
    return "cuda:0" if gpus == 1 else "cpu"


def chosen_dates(embedder: Embedder, settings: Embed) -> Indices:
    """Return the day indices that the settings ask for.

    Raises
    ------
    ConfigError
        If there is none that can be embedded.
    """
    times, dates = embedder.store.times, embedder.dates
    found = dates.between(*first_and_last(times, settings), settings.stride)
    if len(found):
        return found
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
    """Return what embeddings say of themselves: their root attributes, and ``dates``, how many they hold.

    Raises
    ------
    ConfigError
        If there are none at ``out``.
    """
    form = format_of(out) if out.is_dir() else None
    if form is None:
        raise ConfigError(f"There are no embeddings at {out}; make them with 'watercli embed --out {out}'")
    found = description(out)
    if not found:
        labels = xr.open_zarr(out)
        found = dict(labels.attrs) | {"dates": labels.sizes["time"]}
    if found["embeddings_schema_version"] != SCHEMA_VERSION:
        raise ConfigError(
            f"{out} has schema version {found['embeddings_schema_version']}, this watercli extends {SCHEMA_VERSION}; "
            "export it again with --overwrite"
        )
    return found


def _check_extends(old: dict[str, Any], checkpoint: Checkpoint, store: Store, out: Path) -> None:
    if old["run_fingerprint"] != checkpoint.fingerprint_of_weights():
        raise ConfigError(
            f"{out} is of other weights (step {old['run_step']}, {old['run_fingerprint'][:12]}) than the run's best "
            f"checkpoint (step {checkpoint.step}); give the --run that it was made with, or export it again"
        )
    known = (store.fingerprint, *store.dataset.attrs.get("ancestry", ()))
    if old["store_fingerprint"] not in known:
        raise ConfigError(
            f"{store.path} is not the store of {out} with later days ({old['store_fingerprint'][:12]} is not among "
            "what it was extended from); export it again with --overwrite"
        )


def _whole_blocks(layout: Layout, embedder: Embedder, before: int, end: str) -> int:
    """Return how many blocks are full, and saw nothing that was cut off by the end of the store as it was."""
    days = int(embedder.store.times.searchsorted(np.datetime64(end), side="right"))
    inside = embedder.starts(layout.dates[:before]) + embedder.days <= days
    whole = before if inside.all() else int(inside.argmin())
    return whole // layout.block_dates


def _write(export: Export, numbers: Iterable[int], processes: int, gpus: int) -> None:
    """Write the blocks that are not written yet."""
    left = [number for number in numbers if not export.mark(number).exists()]
    total = sum(len(export.layout.dates[export.layout.block(number)]) for number in left)
    started = time.monotonic()
    for _ in track(_done(export, left, processes, gpus), "embed", total=total, size=int):
        pass
    if total:
        spent = max(time.monotonic() - started, 1e-9)
        log.info("%d dates in %.0f s: %.1f a second", total, spent, total / spent)


def _done(export: Export, numbers: list[int], processes: int, gpus: int) -> Iterator[int]:
    """Yield the dates of each block as it is done."""
    workers = min(max(processes, gpus), len(numbers))
    if workers < 2:
        for number in numbers:
            yield export(number)
        return
    e = export.embedder
    make = partial(_make, e.checkpoint, e.store.path, export.layout, export.settings, export.work)
    yield from in_processes(workers, make, numbers, gpus=bool(gpus))


def _make(checkpoint: Checkpoint, store: Path, layout: Layout, settings: Embed, work: Work, device: str) -> Export:
    return Export(Embedder.of(checkpoint, Store.open(store), settings, device), layout, settings, work)


def _conclude(export: Export, dates: int, out: Path) -> None:
    seen = ", ".join(export.embedder.modalities)
    log.info("%d dates x %d catchments of %s in %s", dates, len(export.embedder.catchments), seen, out)
