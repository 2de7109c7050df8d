"""``make bench``: speed as ratios, measured interleaved in one run; a foreign load on the machine is called out.

``python -m tests.bench --days 30`` takes longer windows (minutes instead of seconds a round).
``python -m tests.bench --years 40`` prepares a store of so many years instead, and says what memory that takes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import torch
import xarray as xr
import zarr
from pyproj import CRS
from rich.console import Console
from rich.table import Table

from model.batch import Batch
from model.config import GridConfig, MAEConfig
from model.mae import MultiModalMAE, total_loss
from model.masking import TokenMask, draw_noise, mask_batch
from watercli.config import load, parse
from watercli.data.dataset import model_config
from watercli.prepare import align, prepare, readers
from watercli.prepare.reader import Request
from watercli.prepare.write import CHUNK_DAYS, COMPRESSORS, SHARD_DAYS

console = Console(width=110)


def report_structure() -> MAEConfig:
    """Return CrossMAE at the report's size, without dropout."""
    config = load("report-crossmae", ["model.dropout=0"])
    assert config.shape is not None
    land = tuple(range(200, 200 + config.shape.land_patches))
    return model_config(config, GridConfig(config.shape.grid, config.shape.patch_size, land), config.shape.attributes)


def variants(base: MAEConfig) -> dict[str, MAEConfig]:
    return {
        "standard MAE": replace(base, use_cross_attn=False),
        "CrossMAE": base,
        "CrossMAE + WFM": replace(base, use_weighted_fm=True),
        "CrossMAE + WFM, layers 0 2 4 5": replace(base, use_weighted_fm=True, fm_layers={"grid": (0, 2, 4, 5)}),
        "CrossMAE + WFM, kept_mask_ratio 0.25": replace(base, use_weighted_fm=True, kept_mask_ratio=0.25),
    }


def batch_of(config: MAEConfig, days: int) -> Batch:
    assert config.grid is not None
    grids = {name: torch.randn(2, days, *config.grid.shape) for name in config.of_kind("grid")}
    return Batch(
        grids=grids,
        cells={name: torch.ones(config.grid.shape, dtype=torch.bool) for name in grids},
        series={name: torch.randn(2, 1, days) for name in config.of_kind("series")},
        static=torch.randn(2, 1, config.attributes),
    )


def masks_of(batch: Batch, config: MAEConfig) -> dict[str, TokenMask]:
    generator = torch.Generator().manual_seed(0)
    noise = draw_noise(config, windows=2, catchments=1, days=batch.days, generator=generator)
    return mask_batch(batch, config, noise)


def stepper(config: MAEConfig, days: int) -> Callable[[], None]:
    torch.manual_seed(0)
    model, batch = MultiModalMAE(config), batch_of(config, days)
    masks = masks_of(batch, config)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        total_loss(model(batch, masks), config).backward()

    return step


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each task; one warm-up round, then all in turn."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def show(title: str, unit: str, found: dict[str, float], reference: str) -> None:
    table = Table("", unit, f"ratio to {reference}", title=title, title_justify="left")
    for name, value in found.items():
        table.add_row(name, f"{value:.4g}", f"{value / found[reference]:.2f}")
    console.print(table)


def bench_model(days: int, rounds: int) -> None:
    steps = {name: stepper(config, days) for name, config in variants(report_structure()).items()}
    found = interleaved(steps, rounds)
    show(f"Model step, report's shapes, T = {days}, B = 2, forward + backward", "seconds", found, "CrossMAE")


def bench_read(rounds: int) -> None:
    """Random 30-day windows of two years of one 5 km grid: the store's layout against a memory map, the limit."""
    rng = np.random.default_rng(0)
    # Rain-like: dry days, and values of a hundredth of a millimetre, as observed grids have them.
    fields = np.maximum(rng.gamma(0.4, 6, (730, 290, 180)) - 2, 0).round(2).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        plain = np.memmap(Path(folder) / "fields.npy", np.float32, "w+", shape=fields.shape)
        plain[:] = fields
        chunks, shards = ((days, *fields.shape[1:]) for days in (CHUNK_DAYS, SHARD_DAYS))
        stored = zarr.create_array(
            Path(folder) / "fields.zarr", data=fields, chunks=chunks, shards=shards, compressors=COMPRESSORS
        )
        starts = rng.integers(0, 700, 20)
        tasks: dict[str, Callable[[], object]] = {
            "memory map": lambda: [np.array(plain[s : s + 30]) for s in starts],
            "store, read window by window": lambda: [stored[s : s + 30] for s in starts],
            "store, decoded into memory once": lambda: [fields[s : s + 30].copy() for s in starts],
        }
        found = {name: len(starts) / seconds for name, seconds in interleaved(tasks, rounds).items()}
    show("Random 30-day windows of 290 x 180 cells", "windows/s", found, "memory map")


GENERATED = """
name: generated
recipe:
  period: {{start: 1981-01-01, end: {end}-12-31}}
  splits:
    train: {{start: 1981-01-01, end: {end}-06-30}}
    validation: {{start: {end}-07-01, end: {end}-09-30}}
    test: {{start: {end}-10-01, end: {end}-12-31}}
modalities:
  rainfall: {{kind: grid, units: mm/day, source: {{reader: generated, variable: rainfall}}}}
  tasmax: {{kind: grid, units: degC, source: {{reader: generated, variable: tasmax}}}}
  tasmin: {{kind: grid, units: degC, source: {{reader: generated, variable: tasmin}}}}
"""


def generated(request: Request) -> xr.DataArray:
    """Return a lazy field of 290 x 180 cells, with a value everywhere: more than any land mask asks of memory."""
    days = align.days(request.recipe.period)

    def block(block_info: Any) -> np.ndarray:
        (first, last), *_ = block_info[None]["array-location"]
        rng = np.random.default_rng(first)
        values = rng.standard_normal((last - first, 290, 180), np.float32) * 8
        return (np.maximum(values, 0) if request.modality_name == "rainfall" else values + 9).round(2)

    chunks = (da.core.normalize_chunks(SHARD_DAYS, (len(days),))[0], (290,), (180,))
    lazy = da.map_blocks(block, dtype=np.float32, chunks=chunks)
    coords = {"time": days, "y": 2500 + 5000.0 * np.arange(290), "x": 2500 + 5000.0 * np.arange(180)}
    attributes = {"crs_wkt": CRS("EPSG:27700").to_wkt(), "day": "00:00 to 24:00 (generated)"}
    return xr.DataArray(lazy, dims=("time", "y", "x"), coords=coords, attrs=attributes)


def bench_prepare(years: int) -> None:
    """Prepare three lazily generated 5 km grids of many years: seconds, and the most memory that it takes."""
    readers.READERS["generated"] = readers.Reader(generated, ("grid",), needs_files=False)
    config = parse(GENERATED.format(end=1980 + years), origin="the generated record")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        out = Path(folder) / "generated.zarr"
        store = prepare(config, out, data=None)
        seconds = time.perf_counter() - start
        values = 3 * len(store.times) * 290 * 180
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(
        f"{years} years, 3 x {len(store.times):,} days of 290 x 180 cells ({values * 4 / 2**30:.1f} GiB): "
        f"{seconds:.0f} s, {values / seconds / 1e6:.1f} million values/s, store of {size / 2**30:.2f} GiB, "
        f"peak memory {peak:.2f} GiB"
    )


def matmul_peak() -> float:
    """Return the machine's single-precision matrix-product rate in GFLOP/s."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    seconds = interleaved({"product": lambda: a @ b}, 7)["product"]
    return 2 * 2048**3 / seconds / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--years", type=int)
    arguments = parser.parse_args()
    if arguments.years:
        bench_prepare(arguments.years)
        return
    load_before = os.getloadavg()[0]
    console.print(f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    if load_before > 0.5:
        console.print(
            f"[bold]The load average is {load_before:.1f}: something else runs here; ratios may be off.[/bold]"
        )
    console.print(f"Matrix product, fp32: {matmul_peak():.0f} GFLOP/s")
    bench_model(arguments.days, arguments.rounds)
    bench_read(arguments.rounds)
    console.print(f"Peak memory of this run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
