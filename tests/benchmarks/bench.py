"""``make bench``: speed as ratios, measured interleaved in one run; a foreign load on the machine is called out.

``python -m tests.benchmarks.bench --days 5`` takes the shortest windows alone; all three take minutes.
``python -m tests.benchmarks.bench --store`` leaves the model out.
``python -m tests.benchmarks.bench --json FILE`` also writes its tables to a file.
``python -m tests.benchmarks.bench --years 40`` prepares a store of so many years and says what memory that takes.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import netCDF4
import numpy as np
import torch
import xarray as xr
import zarr
from multimodal_mae.config import AntecedentStateConfig
from multimodal_mae.moving_averages import carry
from pyproj import CRS
from rich.console import Console
from rich.table import Table

from tests import factory
from tests.benchmarks import bench_files
from tests.benchmarks.bench_learning import show_learning
from tests.benchmarks.bench_model import show_growth, show_variants
from tests.benchmarks.peak import interleaved
from watercli.config import Config, parse
from watercli.data.grid_cache import GridCache
from watercli.data.scaling import Scaling
from watercli.data.state_cache import History
from watercli.output.atomic import write_text
from watercli.output.zarr_files import COMPRESSORS
from watercli.preparation import align
from watercli.preparation.prepare import prepare
from watercli.preparation.readers import registry
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request
from watercli.store import CHUNK_DAYS, SHARD_DAYS


class KeepingConsole(Console):
    """A console that keeps the tables that it prints."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tables: list[Table] = []

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, and keep tables."""
        self.tables += [printed for printed in objects if isinstance(printed, Table)]
        super().print(*objects, **options)

    def write_json(self, file: Path, about: dict[str, Any]) -> None:
        """Write the tables that were printed to a file: for each its title, its columns and its rows."""
        tables = [
            {
                "title": table.title,
                "columns": [column.header for column in table.columns],
                "rows": [
                    [_number(str(cell)) for cell in row]
                    for row in zip(*(column.cells for column in table.columns), strict=True)
                ],
            }
            for table in self.tables
        ]
        write_text(file, json.dumps({**about, "tables": tables}, indent=1))


def _number(cell: str) -> float | str:
    """Return what a table's cell says: a number if it is one."""
    try:
        return float(cell)
    except ValueError:
        return cell


console = KeepingConsole(width=110)


def show(title: str, unit: str, found: dict[str, float], reference: str) -> None:
    table = Table("", unit, f"ratio to {reference}", title=title, title_justify="left")
    for name, value in found.items():
        table.add_row(name, f"{value:.4g}", f"{value / found[reference]:.2f}")
    console.print(table)


def rain(days: int) -> np.ndarray:
    """Return rain-like 5 km fields: dry days, hundredths of a millimetre, and a quarter of the cells land."""
    rng = np.random.default_rng(0)
    fields = np.maximum(rng.gamma(0.4, 6, (days, 290, 180)) - 2, 0).round(2).astype(np.float32)
    y, x = np.ogrid[-1:1:290j, -1:1:180j]
    fields[:, y**2 + x**2 > 0.32] = np.nan
    return fields


def store_in_chunks(path: Path, fields: np.ndarray, days: int) -> zarr.Array:
    """Write fields as the store does, in chunks of so many days."""
    chunks, shards = ((length, *fields.shape[1:]) for length in (days, SHARD_DAYS))
    return zarr.create_array(path, data=fields, chunks=chunks, shards=shards, compressors=COMPRESSORS)


def bench_read(rounds: int) -> None:
    """Random 30-day windows of two years of a 5 km grid: the store against a memory map, the limit, and against HDF5.

    HDF5 is netCDF4's, in chunks of 30 days with gzip 4, the layout that such grids are often distributed in.
    """
    fields = rain(730)
    with tempfile.TemporaryDirectory() as folder:
        plain = np.memmap(Path(folder) / "fields.npy", np.float32, "w+", shape=fields.shape)
        plain[:] = fields
        stored = {days: store_in_chunks(Path(folder) / f"{days}.zarr", fields, days) for days in (5, CHUNK_DAYS, 30)}
        path = Path(folder) / "fields.nc"
        encoding = {"zlib": True, "complevel": 4, "chunksizes": (30, *fields.shape[1:])}
        xr.Dataset({"rain": (("time", "y", "x"), fields)}).to_netcdf(path, encoding={"rain": encoding})
        with netCDF4.Dataset(path) as hdf5:
            hdf5.set_auto_mask(False)
            variable = hdf5["rain"]
            starts = np.random.default_rng(0).integers(0, 700, 20)
            tasks: dict[str, Callable[[], object]] = {
                "memory map": lambda: [np.array(plain[s : s + 30]) for s in starts],
                f"store, chunks of {CHUNK_DAYS} days": lambda: [stored[CHUNK_DAYS][s : s + 30] for s in starts],
                "the same in chunks of 5 days": lambda: [stored[5][s : s + 30] for s in starts],
                "the same in chunks of 30 days": lambda: [stored[30][s : s + 30] for s in starts],
                "store, decoded into memory once": lambda: [fields[s : s + 30].copy() for s in starts],
                "HDF5, chunks of 30 days, gzip 4": lambda: [variable[s : s + 30] for s in starts],
            }
            found = {name: len(starts) / seconds for name, seconds in interleaved(tasks, rounds).items()}
        sizes = {
            "memory map": fields.nbytes,
            "store": stored[CHUNK_DAYS].nbytes_stored(),
            "HDF5": path.stat().st_size,
        }
    show("Random 30-day windows of 290 x 180 cells", "windows/s", found, "memory map")
    console.print(", ".join(f"{name}: {size / 2**20:.0f} MiB" for name, size in sizes.items()))


def two_years_of_files(folder: Path) -> tuple[Config, list[Path]]:
    """Write two years of monthly files, packed as HadUK-Grid's; return their recipe, and their paths."""
    times = factory.days("2001-01-01", "2002-12-31")
    y, x = 2500 + 5000.0 * np.arange(290), 2500 + 5000.0 * np.arange(180)
    source = {"reader": "hadukgrid", "variable": "rainfall", "files": "*.nc"}
    config = factory.config(
        recipe__period={"start": "2001-01-01", "end": "2002-12-31"},
        recipe__catchments=None,
        recipe__grid__patch_size=[10, 10],
        modalities={"precip": {"kind": "grid", "units": "mm/day", "source": source}},
    )
    return config, factory.write_months(folder, times, rain(len(times)), packed=True, y=y, x=x)


def bench_windows(rounds: int) -> None:
    """Random 30-day windows as a model reads them, standardised land patches: against a memory map of these.

    One store is forced beyond ``train.grid_cache_gib``, with and without room for a decoded file.
    """
    with tempfile.TemporaryDirectory() as folder:
        config, _ = two_years_of_files(Path(folder))
        store = prepare(config, Path(folder) / "store.zarr", data=Path(folder))
        scale = Scaling.of(store, config).modalities["precip"]
        from_store = GridCache(store, "precip", scale, 0.0)
        in_memory, from_file = (GridCache(store, "precip", scale, gib, make_file=True) for gib in (1.0, 0.0))
        decoded = in_memory.windows([0], len(store.times))[0].numpy()
        plain = np.memmap(Path(folder) / "land.bin", np.float32, "w+", shape=decoded.shape)
        plain[:] = decoded
        batches = np.random.default_rng(0).integers(0, 700, (10, 4))

        def read(grid: GridCache) -> Callable[[], object]:
            return lambda: [grid.windows(starts, 30) for starts in batches]

        tasks: dict[str, Callable[[], object]] = {
            "memory map": lambda: [np.stack([plain[start : start + 30] for start in starts]) for starts in batches],
            "decoded into memory": read(in_memory),
            "decoded into a file": read(from_file),
            "from the store, window by window": read(from_store),
        }
        found = {name: batches.size / seconds for name, seconds in interleaved(tasks, rounds).items()}
    show(f"Random 30-day windows of {decoded.shape[1]} land patches", "windows/s", found, "memory map")


def bench_prepare_files(rounds: int) -> None:
    """Two years of monthly files: preparing a store against reading them once with xarray."""
    with tempfile.TemporaryDirectory() as folder:
        config, paths = two_years_of_files(Path(folder))
        out = Path(folder) / "store.zarr"

        def read() -> None:
            same = {"combine": "nested", "concat_dim": "time", "join": "exact", "compat": "override"}
            with xr.open_mfdataset(paths, data_vars="minimal", coords="minimal", **same) as dataset:
                dataset["rainfall"].load()

        tasks: dict[str, Callable[[], object]] = {
            "xarray reads the files": read,
            "prepare": lambda: prepare(config, out, data=Path(folder), overwrite=True),
        }
        found = interleaved(tasks, rounds)
    show("Two years of monthly 5 km files", "seconds", found, "xarray reads the files")


def bench_many_files(rounds: int) -> None:
    """Many small files: their reader against reading each of them once."""
    for title, tasks_of in (
        (f"{bench_files.YEARS} years of {bench_files.GAUGES} gauges, a CSV each", bench_files.table_tasks),
        (f"A year of {bench_files.CELLS} x {bench_files.CELLS} cells, a file each day", bench_files.day_tasks),
    ):
        with tempfile.TemporaryDirectory() as folder:
            tasks = tasks_of(Path(folder))
            show(title, "seconds", interleaved(tasks, rounds), next(iter(tasks)))


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
    registry.READERS.add("generated", Reader(generated, ("grid",), needs_files=False))
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


def bench_memory(rounds: int) -> None:
    """What the days before a step's windows leave to a memory: from sums that are kept, and by reading all of them."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(64, 40 * 365, generator=generator)
    tasks: dict[str, Callable[[], object]] = {}
    for longest in (32, 256, 2048):
        config = AntecedentStateConfig(time_constants=tuple(float(2**k) for k in range(longest.bit_length())))
        history, reach = History(values, config), config.past_days
        days = torch.randint(reach, values.shape[1], (4,), generator=generator)
        places = torch.randint(len(values), (4, 16), generator=generator)

        def read(
            days: torch.Tensor = days, places: torch.Tensor = places, config: AntecedentStateConfig = config
        ) -> object:
            some = values[places[..., None], (days[:, None] + torch.arange(-config.past_days, 0))[:, None]]
            return carry(some, torch.isfinite(some).float(), config)

        tasks[f"{reach:,} days, kept sums"] = functools.partial(history.before, days, places)
        tasks[f"{reach:,} days, read"] = read
    found = {name: 1000 * seconds for name, seconds in interleaved(tasks, 10 * rounds).items()}
    show("Past of 4 windows of 16 catchments, one series", "ms", found, next(iter(tasks)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, nargs="+", default=[5, 30, 90])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--years", type=int)
    parser.add_argument("--json", type=Path, help="a file for the tables")
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
    if not arguments.store:
        show_learning(console, arguments.rounds)
        for days in arguments.days:
            show_variants(console, days, arguments.rounds if days < 10 else 2)
        show_growth(console, min(arguments.rounds, 3))
    bench_memory(arguments.rounds)
    bench_read(arguments.rounds)
    bench_windows(arguments.rounds)
    bench_prepare_files(min(arguments.rounds, 3))
    bench_many_files(min(arguments.rounds, 3))
    console.print(f"Peak memory of this run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
    if arguments.json is not None:
        machine = {"cores": os.cpu_count(), "torch": torch.__version__, "load_average": load_before}
        console.write_json(arguments.json, machine)


if __name__ == "__main__":
    main()
