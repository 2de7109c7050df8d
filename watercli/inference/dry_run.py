"""``embed --dry-run``, ``simulate --dry-run``: what would be written, how large it is, and how long it takes.

The time is estimated by a short timing. Nothing is written.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from watercli.config import Embed, Simulate
from watercli.data.windows import Indices
from watercli.inference import provenance
from watercli.inference.archive import ForecastArchive
from watercli.inference.embed import chosen_dates, with_dtype
from watercli.inference.embedder import Embedder
from watercli.inference.embedding_layout import lay_out
from watercli.inference.evidence import InformedSimulator
from watercli.inference.formats import is_export
from watercli.inference.layout import Layout
from watercli.inference.processes import choose_device
from watercli.inference.simulate import SimulationBlocks, blocks_of, checked_target
from watercli.log import log
from watercli.output.atomic import Target, existing_parent
from watercli.output.sizes import duration, in_bytes
from watercli.run.checkpoint import Checkpoint
from watercli.run.simulator import Simulated, Simulator
from watercli.store import Store

TIMED_SECONDS = 5.0
"""Time that a timing takes, at most one block beyond it."""
TIMED_PARTS = 8
"""Parts of the work that are timed at most, spread over the period."""
TIMED_GAUGES = 4
"""Gauges whose correction by evidence is timed at most."""


def dry_run_embeddings(
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
    settings = with_dtype(settings, out)
    embedder = Embedder.of(checkpoint, store, settings, device)
    layout = lay_out(embedder, chosen_dates(embedder, settings), settings)
    provenance.log_novelty(checkpoint, store, embedder.catchments)
    _show_selection("embed", store, layout, len(embedder.catchments), out, console)
    console.print(f"  inputs: {', '.join(embedder.modalities)}; excluded: {', '.join(embedder.excluded) or 'nothing'}")
    _show_arrays(layout, out, console, "choose fewer dates, modalities or ways of pooling")
    seconds = timed(_blocks(layout), lambda dates: _exhaust(embedder.encode(dates, settings.batch_size)))
    rate = len(layout.dates) / seconds
    console.print(f"  about {duration(seconds)} in one process ({rate:.1f} dates a second, timed just now)")
    workers = max(processes, gpus)
    if workers > 1:
        console.print(f"  about {duration(seconds / workers)} at best in {workers}")


def dry_run_simulation(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    settings: Simulate,
    console: Console,
    *,
    overwrite: bool = False,
    device: str = "cpu",
) -> None:
    """Print what `watercli.inference.simulate.export_simulation` would do; write nothing.

    Raises
    ------
    ConfigError, RunError
        What the export itself would raise before it writes.
    """
    checked_target(out, overwrite)
    blocks = blocks_of(checkpoint, store, settings, device)
    simulator, layout = blocks.simulator, blocks.layout
    provenance.log_novelty(checkpoint, store, simulator.catchments)
    _show_selection(f"simulate {simulator.target} on", simulator.store, layout, len(simulator.catchments), out, console)
    console.print(f"  inputs: {', '.join(simulator.inputs)}; excluded: {simulator.target}")
    console.print(f"  evidence: {_evidence(blocks)}")
    _show_arrays(layout, out, console, "choose fewer dates or catchments")
    if isinstance(blocks, ForecastArchive):
        console.print("  of an archive of forecasts the time is not estimated")
        return
    seconds = simulation_seconds(simulator, layout.dates) if blocks.informed is None else _informed_seconds(blocks)
    console.print(f"  about {duration(seconds)} (timed just now)")


def simulation_seconds(simulator: Simulator, dates: Indices) -> float:
    """Return how long the simulation of some dates takes, by a short timing."""
    return timed(simulator.parts(dates), simulator)


def _informed_seconds(blocks: SimulationBlocks) -> float:
    """Return how long an informed simulation takes: that of all gauges that are read, then what evidence adds."""
    informed, simulator, store = blocks.informed, blocks.simulator, blocks.simulator.store
    assert informed is not None
    simulating = simulation_seconds(informed.of_gauges, np.arange(len(store.times)))
    few = tuple(store.gauge_ids[number] for number in simulator.catchments[:TIMED_GAUGES])
    timed_few = _OfConstantFlow(replace(simulator, gauges=few), informed.fitted, informed.gauges, informed.known)
    return simulating + timed(_blocks(blocks.layout), timed_few) * len(simulator.catchments) / len(few)


class _OfConstantFlow(InformedSimulator):
    """Reads a simulation of the same flow everywhere, with which evidence costs what it costs with any other."""

    @property
    def simulated(self) -> Simulated:
        """Flow of 1 at every catchment on every day."""
        shape = self.known.observed.shape
        available = np.ones((*shape, len(self.simulator.inputs)), dtype=bool)
        return Simulated(np.ones(shape, np.float32), available, np.zeros(shape, np.float32))


def _blocks(layout: Layout) -> list[Indices]:
    return [layout.dates[layout.block(number)] for number in range(layout.blocks)]


def _evidence(blocks: SimulationBlocks | ForecastArchive) -> str:
    """Return in words which flow is evidence."""
    attributes = blocks.layout.labels.attrs
    if blocks.informed is None:
        return "none, as the run has no evidence head"
    options = {name: attributes[name] for name in ("neighbours", "own_flow", "measured", "init_time")}
    return ", ".join(f"{name} {value}" for name, value in options.items() if value)


def _show_selection(work: str, store: Store, layout: Layout, catchments: int, out: Path, console: Console) -> None:
    times = store.times[layout.dates]
    console.print(
        f"Would {work} {len(times):,} dates from {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d} of {catchments} "
        f"catchments into {out}"
    )


def _show_arrays(layout: Layout, out: Path, console: Console, remedy: str) -> None:
    """Print what is written and how large it is; warn with a ``remedy`` if the disk has less room."""
    dates = len(layout.dates)
    table = Table("variable", "dims", "sizes", "numbers", "size", caption="before compression")
    for name, array in layout.arrays.items():
        sizes, dims = (" x ".join(str(item) for item in items) for items in (array.shape, array.dims))
        table.add_row(name, dims, sizes, array.dtype, in_bytes(array.bytes_of_date * dates))
    console.print(table)
    free = shutil.disk_usage(existing_parent(out)).free
    per_block = layout.bytes / dates * min(layout.block_dates, dates)
    console.print(
        f"  {in_bytes(layout.bytes)} in {layout.blocks} blocks of {layout.block_dates} dates, {in_bytes(per_block)} "
        f"each, which a process holds in memory; {in_bytes(free)} are free there"
    )
    if layout.bytes > free:
        log.warning("That may not fit: %s", remedy)


def timed(parts: list[Indices], work: Callable[[Indices], object]) -> float:
    """Return the seconds that work on all parts takes, by some of them, spread over all; the first warms up."""
    numbers = np.linspace(0, len(parts) - 1, min(len(parts), TIMED_PARTS)).astype(int)
    done, spent = 0, 0.0
    for turn, number in enumerate((numbers[0], *numbers)):
        started = time.perf_counter()
        work(parts[number])
        if turn:
            done, spent = done + len(parts[number]), spent + time.perf_counter() - started
        if spent > TIMED_SECONDS:
            break
    return spent / done * sum(map(len, parts))


def _exhaust(items: Iterator[object]) -> None:
    for _ in items:
        pass
