"""Writing a grid block by block: what is written is not written again, and is summed up as it passes.

A block is one shard of the store: ``T`` days (the last one fewer) of ``Y X`` cells. Its summary, kept beside the
unfinished store, is also the mark that it is written. So a grid is read once, whatever is computed from it, and a run
that was interrupted goes on at the first block without a summary. Blocks depend on nothing but their own values:
threads or the workers of a cluster write them in any order, and twice if need be.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from watercli.output.atomic import written_file
from watercli.preparation import statistics

MOST_REPEATED = 10
"""Values beyond the limits that are remembered."""


@dataclass(frozen=True)
class Summary:
    """What the store needs to know of a block, or of a whole grid."""

    cells: NDArray[np.int32]
    """``[Y, X]`` training days on which a cell has a value."""
    ever: NDArray[np.bool_]
    """``[Y, X]`` whether a cell has a value on any day."""
    moments: NDArray[np.float64]
    """`statistics.moments` of the training days."""
    count: NDArray[np.int64]
    """``[T]`` cells with a value."""
    mean: NDArray[np.float64]
    """``[T]`` mean over them; NaN without any."""
    outside: NDArray[np.int64]
    """``[T]`` cells beyond the limits."""
    checksum: NDArray[np.uint32]
    """``[T]`` CRC-32 of the day's field: equal for equal fields."""
    repeated: NDArray[np.float64]
    """``[K, 2]`` the commonest values beyond the limits, and in how many cells and days each was found."""

    def save(self, path: Path) -> None:
        """Write it to a file that appears whole or not at all."""
        with written_file(path) as partial, partial.open("wb") as stream:
            np.savez_compressed(stream, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Summary:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    @classmethod
    def join(cls, parts: Sequence[Summary]) -> Summary:
        """Return the summary of blocks that follow each other."""
        moments = parts[0].moments
        for part in parts[1:]:
            moments = statistics.merge(moments, part.moments)
        daily = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("count", "mean", "outside", "checksum")
        }
        cells = np.stack([part.cells for part in parts]).sum(axis=0, dtype=np.int32)
        ever = np.stack([part.ever for part in parts]).any(axis=0)
        repeated = commonest(*np.concatenate([part.repeated for part in parts]).T)
        return cls(np.asarray(cells), np.asarray(ever), moments, **daily, repeated=repeated)


@dataclass(frozen=True)
class Rules:
    """How a grid's values are looked at on their way into the store."""

    training: NDArray[np.bool_]
    """``[days]`` of the whole record: which belong to the training period."""
    limits: tuple[float, float]
    """Least and greatest value that is physically possible."""
    drop_outside: bool = False
    """Set values beyond the limits to missing."""


def commonest(values: NDArray[np.floating], counts: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the `MOST_REPEATED` commonest values ``[K, 2]``, each with the sum of its counts, most first."""
    distinct, place = np.unique(values, return_inverse=True)
    sums = np.bincount(place, weights=counts, minlength=len(distinct))
    first = np.argsort(-sums, kind="stable")[:MOST_REPEATED]
    return np.stack([distinct[first], sums[first]], axis=1).astype(np.float64)


def sum_up(values: NDArray[np.float32], training: NDArray[np.bool_], limits: tuple[float, float]) -> Summary:
    """Return the summary of a block's values ``[T, Y, X]``; ``training`` ``[T]`` marks the training days."""
    seen = ~np.isnan(values)
    count = seen.sum(axis=(1, 2))
    sums = np.where(seen, values, 0).sum(axis=(1, 2), dtype=np.float64)
    outside = (values < limits[0]) | (values > limits[1])
    beyond = values[outside]
    return Summary(
        cells=np.asarray(seen[training].sum(axis=0, dtype=np.int32)),
        ever=np.asarray(seen.any(axis=0)),
        moments=statistics.moments(values[training]),
        count=count,
        mean=np.where(count > 0, sums / np.maximum(count, 1), np.nan),
        outside=outside.sum(axis=(1, 2)),
        checksum=np.array([zlib.crc32(day.tobytes()) for day in values], dtype=np.uint32),
        repeated=commonest(beyond, np.ones(len(beyond))),
    )


def write_block(
    values: NDArray[np.float32], array: Path, start: int, training: NDArray[np.bool_], rules: Rules, mark: Path
) -> None:
    """Write a block ``[T, Y, X]`` from day ``start`` on into the Zarr array at ``array``, then its summary."""
    summary = sum_up(values, training, rules.limits)
    if rules.drop_outside and summary.outside.any():
        outside, repeated, (least, most) = summary.outside, summary.repeated, rules.limits
        values = np.where((values < least) | (values > most), np.float32(np.nan), values)
        summary = sum_up(values, training, rules.limits)
        summary = replace(summary, outside=outside, repeated=repeated)  # what was found, not what is left
    zarr.open_array(array, mode="r+")[start : start + len(values)] = values
    summary.save(mark)


def write_grid(data: xr.DataArray, array: Path, marks: Path, rules: Rules, first: int = 0) -> Summary:
    """Write a chunked grid ``(time, y, x)`` block by block, leaving out those in ``marks``; return its summary.

    Parameters
    ----------
    data
        The grid; one chunk in time is one block.
    array
        The Zarr array, already made.
    marks
        Folder of the summaries.
    rules
        What counts as training, and as possible.
    first
        Day of the array at which ``data`` begins.
    """
    assert data.chunks is not None
    array, marks = array.absolute(), marks.absolute()  # a worker has its own current folder
    tasks, paths, start = [], [], 0
    for block, days in zip(data.data.to_delayed().ravel(), data.chunks[0], strict=True):
        path = marks / f"{first + start:06d}.npz"
        paths.append(path)
        if not path.exists():
            training = rules.training[start : start + days]
            tasks.append(delayed(write_block)(block, array, first + start, training, rules, path))
        start += days
    compute(*tasks)
    return Summary.join([Summary.load(path) for path in paths])
