"""How every export is written: labels first, then blocks of dates in any order, each marked once it is written.

An export is described by a `Layout` and by `Blocks`, which compute its arrays. `Export` writes them into the folder
beside an output; `lazy_dataset` and `dataset` hand the same out as an `xarray.Dataset` without a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.utils import SerializableLock
from numpy.typing import NDArray

from watercli.inference.formats import Format
from watercli.inference.layout import Layout
from watercli.log import log, track
from watercli.output.resumable import Work
from watercli.output.zarr_files import COMPRESSORS

Arrays = Mapping[str, NDArray[Any]]
InParallel = Callable[[list[int]], Iterator[int]]
"""Writes blocks, and yields the dates of each as it is done."""


class Blocks(Protocol):
    """Computes the arrays of an export, block by block."""

    @property
    def layout(self) -> Layout:
        """Labels and arrays."""
        ...

    def __call__(self, number: int) -> Arrays:
        """Return the arrays of a block, ``[C, dates of the block, ...]`` each, by name."""
        ...


@dataclass(frozen=True)
class Export:
    """An export on its way into the folder beside its output."""

    blocks: Blocks
    format: Format
    work: Work

    def begin(self) -> None:
        """Write the labels; make what the blocks go into, and the folders of their marks."""
        self.format.begin(self.work.store, self.blocks.layout)
        for part in self.format.parts(self.blocks.layout):
            self.work.marks(part).mkdir(parents=True, exist_ok=True)

    def mark(self, number: int) -> Path:
        """Return the file that stands for a block that is written."""
        return self.work.marks(self.format.parts(self.blocks.layout)[0]) / f"{number:06d}"

    def __call__(self, number: int) -> int:
        """Compute, write and mark a block; return its number of dates."""
        self.format.write(self.work.store, self.blocks.layout, number, self.blocks(number))
        self.mark(number).touch()
        return self.blocks.layout.dates_of(number)

    def write(self, description: str, in_parallel: InParallel | None = None) -> None:
        """Write the blocks that are not marked; a progress bar shows the ``description``."""
        layout = self.blocks.layout
        left = [number for number in range(layout.blocks) if not self.mark(number).exists()]
        total, started = sum(map(layout.dates_of, left)), time.monotonic()
        for _ in track(in_parallel(left) if in_parallel else map(self, left), description, total=total, size=int):
            pass
        if total:
            seconds = max(time.monotonic() - started, 1e-9)
            log.info("%d dates in %.0f s: %.1f a second", total, seconds, total / seconds)

    def finish(self) -> None:
        """Do what is left once all blocks are written."""
        self.format.finish(self.work.store)


def dataset(blocks: Blocks, description: str) -> xr.Dataset:
    """Compute all blocks and return what an export of them holds; a progress bar shows the ``description``."""
    numbers = range(blocks.layout.blocks)
    computed = [blocks(number) for number in track(numbers, description)]
    return _labelled(
        blocks.layout, {name: np.concatenate([arrays[name] for arrays in computed], axis=1) for name in computed[0]}
    )


def lazy_dataset(blocks: Blocks) -> xr.Dataset:
    """Return what an export of the blocks holds, as dask arrays of one chunk a block.

    Threads take turns at the model, which works on all cores itself. ``to_zarr`` writes the chunks, shards and
    compressors of an export.
    """
    layout = blocks.layout
    compute = dask.delayed(partial(_in_turn, SerializableLock(), blocks), traverse=False)  # type: ignore[attr-defined]
    computed = [compute(number) for number in range(layout.blocks)]
    lazy = _labelled(layout, {name: _joined(name, layout, computed) for name in layout.arrays})
    for name, array in layout.arrays.items():
        lazy[name].encoding = {
            "chunks": array.chunks(layout.block_dates),
            "shards": array.shards(layout.block_dates),
            "compressors": COMPRESSORS,
        }
    return lazy


def _in_turn(lock: SerializableLock, blocks: Blocks, number: int) -> Arrays:
    with lock:
        return blocks(number)


def _joined(name: str, layout: Layout, computed: Sequence[Any]) -> da.Array:
    """Return an array ``[C, N, ...]`` of what is computed of each block."""
    array = layout.arrays[name]
    shapes = [(array.shape[0], layout.dates_of(number), *array.shape[2:]) for number in range(layout.blocks)]
    parts = [da.from_delayed(arrays[name], shape, array.dtype) for arrays, shape in zip(computed, shapes, strict=True)]
    joined: da.Array = da.concatenate(parts, axis=1)
    return joined


def _labelled(layout: Layout, values: Mapping[str, Any]) -> xr.Dataset:
    """Return the labels with the arrays ``values`` beside them."""
    arrays = {name: (array.dims, values[name], _attributes(array.attrs)) for name, array in layout.arrays.items()}
    return layout.labels.assign(arrays)


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as an opened export has them: xarray turns ``coordinates`` into coordinates."""
    return {name: value for name, value in attributes.items() if name != "coordinates"}
