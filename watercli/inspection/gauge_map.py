"""Land and gauges as a few lines of text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from watercli.store import Store

COLUMNS, ROWS = 60, 30
"""Characters of the map at most."""


def gauge_map(store: Store) -> list[str]:
    """Return a map of land patches (``.``) and gauges (their number, ``+`` for more than nine), north at the top."""
    data = store.dataset
    land, shape = np.empty((0, 2)), (ROWS // 2, COLUMNS // 2)
    if store.grid_shape is not None:
        rows, columns = (cells // size for cells, size in zip(store.grid_shape, store.patch_size, strict=True))
        land = np.stack([data["patch_y"], data["patch_x"]], axis=1)[data["patch_land"].values.astype(bool)]
        shape = min(rows, ROWS), min(columns, COLUMNS)
    gauges = np.empty((0, 2))
    if store.gauge_ids:
        # Without a grid there is no projection to speak of: degrees will do.
        names = ("gauge_y", "gauge_x") if len(land) else ("latitude", "longitude")
        gauges = np.stack([data[name].values for name in names], axis=1)
    if not len(land) and not len(gauges):
        return []
    frame = _frame(data["patch_y"].values, data["patch_x"].values) if len(land) else _frame(*gauges.T)
    number, patches = (_count(places, shape, frame) for places in (gauges, land))
    lines = ["".join(map(_sign, *rows)).rstrip() for rows in zip(number[::-1], patches[::-1], strict=True)]
    filled = [row for row, line in enumerate(lines) if line]
    return [f"  {line}" for line in lines[filled[0] : filled[-1] + 1]]


def _frame(y: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return least and greatest y and x, apart even where there is one place only: ``[2, 2]``."""
    return np.array([[axis.min() - 1e-9, axis.max() + 1e-9] for axis in (y, x)])


def _count(places: NDArray[np.floating], shape: tuple[int, int], frame: NDArray[np.floating]) -> NDArray[np.int64]:
    """Count places ``[N, 2]`` in each character; those outside the frame in the nearest."""
    share = (places - frame[:, 0]) / (frame[:, 1] - frame[:, 0])
    index = np.clip(np.rint(share * (np.array(shape) - 1)).astype(int), 0, np.array(shape) - 1)
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, tuple(index.T), 1)
    return counts


def _sign(gauges: int, patches: int) -> str:
    if gauges:
        return str(gauges) if gauges < 10 else "+"
    return "." if patches else " "
