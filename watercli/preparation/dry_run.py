"""``prepare --dry-run``: what would be read and made, and what it would take; nothing is written.

Grids are opened, so that a file that is missing or on another grid is found now; of each, one chunk is read, to see how
well it compresses. Series are not read. Times and memory are estimates from the constants below.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from dask.system import CPU_COUNT
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from watercli.config import Config, DemoDomain, Recipe
from watercli.output.resumable import Work
from watercli.output.sizes import in_bytes
from watercli.output.zarr_files import COMPRESSORS
from watercli.preparation import align, geometry
from watercli.preparation.build import requests
from watercli.preparation.readers import forecast, registry
from watercli.preparation.readers.request import Request
from watercli.preparation.readers.sources import Sources
from watercli.store import CHUNK_DAYS, SHARD_DAYS, grid_shard

VALUES_PER_SECOND = 3e6
"""Values of a grid read, summed up, compressed and written by one core: measured with `tests/bench.py --years`."""
CSV_BYTES_PER_SECOND = 8e6
"""Bytes of catchment series read by one core: measured on CAMELS-GB's files."""
START_SECONDS = 3.0
"""Imports, attributes, checksums of a few files."""
START_BYTES = 350e6
"""Memory of the process before it reads."""
BLOCK_COPIES = 12
"""Times a block is in memory while it is read, summed up in double precision and compressed, for each thread."""
SERIES_SHARE = 0.5
"""What compression leaves of series: of CAMELS-GB's, 0.06 to 0.7."""
GENERATED_SHARE = 0.35
"""What compression leaves of the demo domain's grids."""
SERIES_COPIES = 4
"""Times the series are in memory."""


@dataclass(frozen=True)
class Part:
    """What is known of a modality before it is read."""

    name: str
    kind: str
    reader: str
    files: int
    bytes_read: int
    shape: tuple[int, ...]
    """``T Y X`` with padding, or ``N T``."""
    bytes_written: float
    seconds: float

    @property
    def bytes_in_memory(self) -> float:
        """Least memory that it needs while it is prepared, without the process itself."""
        if self.kind == "grid":
            block = 4 * grid_shard(self.shape[0]) * self.shape[1] * self.shape[2]
            return float(BLOCK_COPIES * block * min(CPU_COUNT, -(-self.shape[0] // SHARD_DAYS)))
        return float(SERIES_COPIES * 4 * np.prod(self.shape))


def plan(config: Config, recipe: Recipe, data: Path | None) -> list[Part]:
    """Return what each modality would take.

    Raises
    ------
    ConfigError, DataError
        Whatever can be seen to be wrong without reading the data.
    """
    sources = Sources(data)
    modality_requests = requests(config, sources)
    for table in recipe.catchments.tables if recipe.catchments else ():
        sources.find(table.files, "recipe.catchments.tables")
    forecast.find(config, sources)
    parts: list[Part] = []
    first: tuple[str, xr.DataArray] | None = None
    for name, request in modality_requests.items():
        if request.modality.kind == "series":
            parts.append(_series(request))
        elif not request.paths:
            parts.append(_generated(request))
        else:
            field = registry.READERS[request.source.reader].read(request)
            align.check_grid(name, field, first, align.target_crs(recipe))
            first = first or (name, field)
            parts.append(_grid(request, field))
    return parts


def _grid(request: Request, field: xr.DataArray) -> Part:
    days = align.days(request.recipe.period)
    align.to_days(request.modality_name, field, request.recipe.period)  # refuses dates that do not meet the period
    given = field.sel(time=field.indexes["time"].isin(days))
    sample = given[len(given) // 2 :][:CHUNK_DAYS].to_numpy().astype(np.float32)
    shape = (len(days), *_padded(request, (field.sizes["y"], field.sizes["x"])))
    values = float(np.prod((len(given), *shape[1:])))
    # The padding takes no room to speak of, and the sample has none.
    return _part(request, shape, _packed(sample) / len(sample) * len(given), values / VALUES_PER_SECOND)


def _packed(sample: NDArray[np.float32]) -> int:
    """Return the bytes of a sample as the store would compress it."""
    array = zarr.create_array({}, data=sample, chunks=sample.shape, compressors=COMPRESSORS)
    return int(array.nbytes_stored())


def _generated(request: Request) -> Part:
    """The demo domain is not made for a plan: its size is in the recipe."""
    size = request.recipe.demo or DemoDomain()
    shape = (len(align.days(request.recipe.period)), *_padded(request, size.cells))
    values = float(np.prod(shape))
    return _part(request, shape, GENERATED_SHARE * 4 * values, values / VALUES_PER_SECOND)


def _series(request: Request) -> Part:
    """Gauges are those named, or one for each file."""
    size = request.recipe.demo or DemoDomain()
    gauges = len(request.gauges or request.all_paths) or size.catchments
    shape = (gauges, len(align.days(request.recipe.period)))
    return _part(request, shape, SERIES_SHARE * 4 * np.prod(shape), _bytes(request.all_paths) / CSV_BYTES_PER_SECOND)


def _part(request: Request, shape: tuple[int, ...], written: float, seconds: float) -> Part:
    return Part(
        name=request.modality_name,
        kind=request.modality.kind,
        reader=", ".join(sorted(request.readers)),
        files=len(request.all_paths),
        bytes_read=_bytes(request.all_paths),
        shape=shape,
        bytes_written=written,
        seconds=seconds,
    )


def _padded(request: Request, cells: tuple[int, int]) -> tuple[int, int]:
    more = geometry.padding(cells, request.grid.patch_size)
    return cells[0] + more[0], cells[1] + more[1]


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def show(parts: list[Part], out: Path, console: Console) -> None:
    """Print a plan."""
    table = Table("modality", "reader", "files", "to read", "kind", "size in the store", "on disk, about")
    for part in parts:
        size = " x ".join(f"{number:,}" for number in part.shape)
        table.add_row(
            part.name, part.reader, f"{part.files:,}", in_bytes(part.bytes_read), part.kind, size,
            in_bytes(part.bytes_written),
        )  # fmt: skip
    console.print(table)
    # Grids are worked on by all cores, series by one.
    cores = {"grid": CPU_COUNT, "series": 1}
    seconds = START_SECONDS + sum(part.seconds / cores[part.kind] for part in parts)
    series = sum(part.bytes_in_memory for part in parts if part.kind == "series")
    memory = START_BYTES + series + max((part.bytes_in_memory for part in parts if part.kind == "grid"), default=0)
    console.print(
        f"Estimates for {CPU_COUNT} cores, good to a factor of two or three: {_time(seconds)}, "
        f"up to {in_bytes(memory)} of memory, a store of {in_bytes(sum(part.bytes_written for part in parts))}."
    )
    if Work.beside(out).state:
        console.print(
            f"Something half-made lies beside {out}; prepare goes on with it if recipe and files are the same."
        )
    console.print("Nothing was written.")


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
