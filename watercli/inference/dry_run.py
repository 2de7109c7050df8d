"""``embed --dry-run``: what would be written, how large it is, and how long it takes by a short timing."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from watercli.config import Embed
from watercli.inference import provenance
from watercli.inference.embed import chosen_dates
from watercli.inference.embedder import Embedder
from watercli.inference.embedding_layout import lay_out
from watercli.inference.formats import is_export
from watercli.inference.layout import Layout
from watercli.inference.processes import choose_device
from watercli.log import log
from watercli.output.atomic import Target
from watercli.output.sizes import in_bytes
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

TIMED_SECONDS = 5.0
"""Time that the timing takes, at most one block beyond it."""


def dry_run(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    settings: Embed,
    console: Console,
    *,
    overwrite: bool = False,
    processes: int = 0,
    gpus: int = 0,
) -> None:
    """Print what `watercli.inference.embed.embed` would do; write nothing.

    Raises
    ------
    ConfigError, RunError
        What the export itself would raise before it writes.
    """
    device = choose_device(processes, gpus) if gpus < 2 else "cuda:0"
    Target(out, overwrite, "embeddings", is_export).check()
    embedder = Embedder.of(checkpoint, store, settings, device)
    layout = lay_out(embedder, chosen_dates(embedder, settings), settings)
    provenance.log_novelty(checkpoint, store, embedder.catchments)
    times = store.times[layout.dates]
    console.print(
        f"Would embed {len(times):,} dates from {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d} of "
        f"{len(embedder.catchments)} catchments into {out}"
    )
    console.print(f"  inputs: {', '.join(embedder.modalities)}; excluded: {', '.join(embedder.excluded) or 'nothing'}")
    table = Table("variable", "dims", "sizes", "numbers", "size", caption="before compression")
    for name, array in layout.arrays.items():
        sizes, dims = (" x ".join(str(item) for item in items) for items in (array.shape, array.dims))
        table.add_row(name, dims, sizes, array.dtype, in_bytes(array.bytes_of_date * len(times)))
    console.print(table)
    free = shutil.disk_usage(next(parent for parent in out.absolute().parents if parent.exists())).free
    per_block = layout.bytes / len(times) * layout.block_dates
    console.print(
        f"  {in_bytes(layout.bytes)} in {layout.blocks} blocks of {layout.block_dates} dates, {in_bytes(per_block)} "
        f"each, which a process holds in memory; {in_bytes(free)} are free there"
    )
    if layout.bytes > free:
        log.warning("That may not fit: choose fewer dates, modalities or pools, or embed.dtype=float16")
    rate = _rate(embedder, layout, settings)
    console.print(f"  about {_duration(len(times) / rate)} in one process ({rate:.1f} dates a second, timed just now)")
    workers = max(processes, gpus)
    if workers > 1:
        console.print(f"  about {_duration(len(times) / rate / workers)} at best in {workers}")


def _rate(embedder: Embedder, layout: Layout, settings: Embed) -> float:
    """Return the dates that are embedded in a second, by blocks spread over the period; the first warms up."""
    numbers = np.linspace(0, layout.blocks - 1, min(layout.blocks, 8)).astype(int)
    done, spent = 0, 0.0
    for turn, number in enumerate((numbers[0], *numbers)):
        dates = layout.dates[layout.block(int(number))]
        started = time.perf_counter()
        for _ in embedder.encode(dates, settings.batch_size):
            pass
        if turn:
            done, spent = done + len(dates), spent + time.perf_counter() - started
        if spent > TIMED_SECONDS:
            break
    return done / spent


def _duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
