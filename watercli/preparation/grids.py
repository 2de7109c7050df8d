"""The grids' part of a store: fields, land, patches, coverage.

A grid is read once: land, coverage and statistics are summed up block by block, while it is written.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS

from watercli.config import Recipe
from watercli.output.atomic import DISK_FULL
from watercli.output.resumable import Work
from watercli.preparation import align, geometry, statistics, write
from watercli.preparation.blocks import Rules, Summary, write_grid
from watercli.preparation.quality.records import Quality
from watercli.preparation.readers.request import Request, described, name_unreadable
from watercli.store import grid_shard


class Grids:
    """Writes grids into a temporary store and gathers what the store says about them."""

    def __init__(self, recipe: Recipe, crs: CRS, work: Work, quality: Quality) -> None:
        self.recipe = recipe
        self.crs = crs
        self.work = work
        self.quality = quality
        self.padding = (0, 0)
        self.patches: geometry.Patches | None = None
        self._first: tuple[str, xr.DataArray] | None = None
        self._land = np.zeros((0, 0), dtype=np.bool_)
        self._coverage: dict[str, xr.DataArray] = {}
        self._statistics: dict[str, xr.DataArray] = {}

    def add(self, request: Request, data: xr.DataArray) -> None:
        """Write a grid modality ``(time, y, x)``; the first one decides where land is.

        Raises
        ------
        DataError
            If it is not on the target grid, has no land or nothing to learn from, or a file is damaged.
        """
        name = request.modality_name
        align.check_grid(name, data, self._first, self.crs)
        padded, self.padding = pad(data, self.recipe.grid.patch_size)
        if self._first is not None:
            padded = padded.where(xr.DataArray(self._land, dims=("y", "x")))
        training = padded.indexes["time"].isin(align.days(self.recipe.splits.train))
        summary = self._write(request, padded, self.quality.rules(name, training))
        if self._first is None:
            self._first = (name, data.isel(time=0))
            self._cut(padded, summary.ever)
        index = pd.DatetimeIndex(padded.indexes["time"])
        self.quality.grid(name, summary, index, data.attrs)
        self.quality.count_missing(name, index, summary.count, int(self._land.sum()))
        days = int(training.sum())
        self._coverage[name] = xr.DataArray((summary.cells / days).astype(np.float32), dims=("y", "x"))
        # Sea and padding are no missing values: only land counts.
        self._statistics[name] = statistics.table([summary.moments], days * int(self._land.sum()))
        statistics.check(name, request.modality, self._statistics[name])
        statistics.report_bare_days(name, summary.count[training])
        statistics.report_bare_periods(name, pd.Series(summary.count, index=index), self.recipe.splits)

    def _write(self, request: Request, data: xr.DataArray, rules: Rules) -> Summary:
        """Write a field and return what passed by."""
        name = request.modality_name
        chunked = data.chunk({"time": grid_shard(len(data)), "y": -1, "x": -1})
        bare = chunked.drop_vars(list(chunked.coords))
        bare.attrs = described(name, request.modality, data)
        request.sources.use(request.paths)
        marks = self.work.marks(name)
        if not marks.is_dir():
            write.create(self.work.store, bare.to_dataset(name=name))
            marks.mkdir(parents=True)
        return write_field(request, bare, self.work, rules)

    def _cut(self, data: xr.DataArray, ever: NDArray[np.bool_]) -> None:
        """Take land from the cells that ever have a value, and cut the grid into patches."""
        self._land = ever
        grid = self.recipe.grid
        y, x = (data[axis].to_numpy() for axis in ("y", "x"))
        self.patches = geometry.cut(y, x, self._land.astype(np.float64), grid.patch_size, grid.land_threshold)

    def dataset(self) -> xr.Dataset | None:
        """Return all but the fields themselves; None without grids."""
        if self.patches is None:
            return None
        patch_y, patch_x = self.patches.centres
        length = geometry.axis_units(self.crs)
        part = xr.Dataset(
            coords={
                "y": ("y", self.patches.y, geometry.axis_attributes(self.crs, "y")),
                "x": ("x", self.patches.x, geometry.axis_attributes(self.crs, "x")),
                "patch": np.arange(len(patch_y)),
                "patch_y": ("patch", patch_y, {"long_name": "centre of the patch along y", "units": length}),
                "patch_x": ("patch", patch_x, {"long_name": "centre of the patch along x", "units": length}),
                "patch_land": ("patch", self.patches.land),
            }
        )
        names = pd.Index(list(self._coverage), name="grid", dtype=object)
        part["coverage"] = xr.concat(list(self._coverage.values()), dim=names)
        part["coverage"].attrs = {
            "units": "1",
            "long_name": "share of the training days with a value",
            "grid_mapping": "crs",
        }
        part["land_fraction"] = (("y", "x"), self._land.astype(np.float32))
        part["land_fraction"].attrs = {"units": "1", "long_name": "land fraction", "grid_mapping": "crs"}
        index = pd.Index(list(self._statistics), name="variable", dtype=object)
        part["statistics"] = xr.concat(list(self._statistics.values()), dim=index)
        return part


def write_field(request: Request, data: xr.DataArray, work: Work, rules: Rules, first: int = 0) -> Summary:
    """Write a chunked field from day ``first`` of its array on, and return what passed by.

    Raises
    ------
    DataError
        If a source file is damaged.
    """
    name = request.modality_name
    try:
        with write.computing(f"Writing {name}"):
            return write_grid(data, work.store / name, work.marks(name), rules, first)
    except (OSError, RuntimeError) as error:  # what HDF5 raises on damaged data, met only now
        if getattr(error, "errno", None) not in DISK_FULL:
            name_unreadable(request, error)
        raise


def pad(data: xr.DataArray, patch_size: tuple[int, int]) -> tuple[xr.DataArray, tuple[int, int]]:
    """Append empty cells at the far ends of y and x, so that whole patches cover the grid; return how many, too."""
    more = geometry.padding((data.sizes["y"], data.sizes["x"]), patch_size)
    axes = {
        axis: geometry.extend(data[axis].values.astype(np.float64), extra)
        for axis, extra in zip(("y", "x"), more, strict=True)
    }
    padded = data.pad({"y": (0, more[0]), "x": (0, more[1])}, constant_values=np.nan)
    return padded.assign_coords(axes).astype(np.float32), more
