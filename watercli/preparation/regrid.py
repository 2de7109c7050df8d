"""Bring a grid onto the target grid by the areas in which their cells overlap (first-order conservative).

A target cell is the mean of the source cells that lie in it, by area in the target's CRS; source cells are carried
into that CRS as polygons. Jones (1999), First- and second-order conservative remapping schemes for grids in spherical
coordinates, Monthly Weather Review 127, 2204-2210. Shapes: ``S`` source cells, ``P`` target cells, both row-major.
"""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
import shapely
import xarray as xr
from dask.base import compute
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from scipy import sparse

from watercli.config import GridSpec
from watercli.errors import DataError
from watercli.preparation import align, geometry
from watercli.preparation.readers.request import Request, naming_unreadable

Array = NDArray[np.floating]

TOLERANCE = 1e-2
"""Share of a cell by which grids may be apart and still be one."""
EDGE_POINTS = 4
"""Points on each edge of a source cell, as a straight edge is none in another CRS."""
LOWER, UPPER = slice(None, -1), slice(1, None)
RING = ((LOWER, LOWER), (LOWER, UPPER), (UPPER, UPPER), (UPPER, LOWER))
"""Which of the corners are those of a cell, in turn."""
MASS_DAYS = 360
"""Days over which the mass before and after is compared."""


@dataclass(frozen=True)
class Target:
    """Cell centres along y and x, ascending, in a CRS."""

    y: Array
    x: Array
    crs: CRS

    @property
    def cell_area(self) -> float:
        """Area of a cell in squared units of the CRS."""
        return float((self.y[1] - self.y[0]) * (self.x[1] - self.x[0]))


def target(grid: GridSpec, crs: CRS) -> Target | None:
    """Return the grid of ``recipe.grid.bounds`` and ``cell``; None where the recipe takes that of its sources."""
    if grid.bounds is None or grid.cell is None:
        return None
    west, south, east, north = grid.bounds
    columns, rows = round((east - west) / grid.cell), round((north - south) / grid.cell)
    return Target(south + grid.cell * (np.arange(rows) + 0.5), west + grid.cell * (np.arange(columns) + 0.5), crs)


def onto(request: Request, data: xr.DataArray) -> xr.DataArray:
    """Return ``(time, y, x)`` on the recipe's target grid, lazily, or as it is where the recipe states none.

    A grid of the same cells is only cut or extended. The attribute ``regridding`` says what was done, and the mass
    before and after.

    Raises
    ------
    DataError
        If the grids do not overlap, or the source's needs a target and the recipe states none.
    """
    name = request.modality_name
    aim = target(request.grid, align.target_crs(request.recipe))
    is_curved = "latitude" in data.coords
    if aim is None and is_curved:
        raise DataError(
            f"The cells of '{name}' have latitude and longitude of two dims, no even rows and columns; state an even "
            "grid in recipe.grid.bounds and recipe.grid.cell, onto which they are brought by area"
        )
    if aim is None:
        return data
    source = CRS.from_wkt(data.attrs["crs_wkt"])
    if is_curved:
        data = _curved_around(data, aim)
        weights = geometry.shares(geometry.boxes(aim.y, aim.x), _quadrangles(data, aim))
    else:
        data = _turned(data, source, aim)
        align.check_axes(name, data)
        if align.same_crs(source, aim.crs):
            if (aligned := _aligned(data, aim)) is not None:
                return aligned
            source = aim.crs  # files often name no datum, and none must be shifted
        data = _around(data, source, aim)
        weights = overlaps(data["y"].to_numpy(), data["x"].to_numpy(), source, aim)
    if not weights.sum():
        raise DataError(f"The grid of '{name}' does not overlap recipe.grid.bounds; mend the bounds or recipe.grid.crs")
    steps = " x ".join(f"{float(data[axis][1] - data[axis][0]):g}" for axis in ("y", "x"))
    cells = "cells of two-dimensional latitude and longitude" if is_curved else f"cells of {steps} ({source.name})"
    said = f"area-weighted from {cells} to {request.grid.cell:g} ({aim.crs.name})"
    regridded = _weighted(data, weights, aim, request.grid.min_covered)
    period = slice(str(request.recipe.period.start), str(request.recipe.period.end))
    with naming_unreadable(request):
        said += _mass(data.sel(time=period)[:MASS_DAYS], regridded.sel(time=period)[:MASS_DAYS], weights, aim)
    request.say("regridding", said)
    return regridded.assign_attrs(data.attrs, crs_wkt=aim.crs.to_wkt(), regridding=said)


def _turned(data: xr.DataArray, source: CRS, aim: Target) -> xr.DataArray:
    """Return data with longitudes around the target's, where one of the two reaches beyond 180 degrees."""
    beyond = max(float(np.abs(axis).max()) for axis in (data["x"].to_numpy(), aim.x)) > 180
    if not (beyond and source.is_geographic and aim.crs.is_geographic):
        return data
    centre = float(aim.x.mean())
    return data.assign_coords(x=(data["x"] - centre + 180) % 360 - 180 + centre).sortby("x")


def _aligned(data: xr.DataArray, aim: Target) -> xr.DataArray | None:
    """Return data on the target's cells if these are cells of its own grid, continued where need be; None otherwise."""
    for axis, centres in (("y", aim.y), ("x", aim.x)):
        own = data[axis].to_numpy()
        step = own[1] - own[0]
        if not np.allclose(np.diff(own), step, rtol=1e-3):
            return None
        offset = (centres[0] - own[0]) / step
        if abs(centres[1] - centres[0] - step) > TOLERANCE * step / len(own) or abs(offset - round(offset)) > TOLERANCE:
            return None
    step = float(data["y"][1] - data["y"][0]), float(data["x"][1] - data["x"][0])
    near = data.reindex(y=aim.y, method="nearest", tolerance=step[0] / 4)
    return near.reindex(x=aim.x, method="nearest", tolerance=step[1] / 4).chunk({"y": -1, "x": -1})


def overlaps(y: Array, x: Array, source: CRS, aim: Target) -> sparse.csr_matrix:
    """Return the area in which each target cell and source cell overlap, ``[P, S]``, as a share of the target cell."""
    if source == aim.crs:  # rectangles, which overlap as their sides do
        sides = (sparse.csr_matrix(_side(*axes)) for axes in ((y, aim.y), (x, aim.x)))
        return sparse.kron(*sides, format="csr")
    return geometry.shares(geometry.boxes(aim.y, aim.x), _cells(y, x, source, aim.crs))


def _side(source: Array, aim: Array) -> Array:
    """Return the share of each target interval that lies in each source interval, by their centres."""
    half_aim, edges = (aim[1] - aim[0]) / 2, geometry.edges_of(source)
    upper = np.minimum(aim[:, None] + half_aim, edges[1:])
    lower = np.maximum(aim[:, None] - half_aim, edges[:-1])
    share: Array = np.clip(upper - lower, 0, None) / (2 * half_aim)
    return share


def _cells(y: Array, x: Array, source: CRS, aim: CRS) -> NDArray[np.object_]:
    """Return the cells of a grid as polygons in another CRS ``[S]``."""
    along = np.linspace(-1, 1, EDGE_POINTS + 1)[:-1]
    still = np.ones(EDGE_POINTS)
    ring_x, ring_y = np.r_[along, still, -along, -still], np.r_[-still, along, still, -along]
    edges = geometry.edges_of(y), geometry.edges_of(x)
    middles, halves = zip(*(((edge[1:] + edge[:-1]) / 2, np.diff(edge) / 2) for edge in edges), strict=True)
    north, east = (axis.ravel() for axis in np.meshgrid(*middles, indexing="ij"))
    half_y, half_x = (axis.ravel() for axis in np.meshgrid(*halves, indexing="ij"))
    points_x, points_y = Transformer.from_crs(source, aim, always_xy=True).transform(
        east[:, None] + half_x[:, None] * ring_x, north[:, None] + half_y[:, None] * ring_y
    )
    points = np.stack([points_x, points_y], axis=-1)
    points[~np.isfinite(points).all(axis=(1, 2))] = 0.0  # beyond the projection: a cell without area
    polygons: NDArray[np.object_] = shapely.polygons(points)
    return polygons


def _around(data: xr.DataArray, source: CRS, aim: Target) -> xr.DataArray:
    """Return the part of the source grid around the target: one cell more on each side."""
    edges = [axis[[0, -1]] + (axis[1] - axis[0]) * np.array([-0.5, 0.5]) for axis in (aim.x, aim.y)]
    west, south, east, north = Transformer.from_crs(aim.crs, source, always_xy=True).transform_bounds(
        edges[0][0], edges[1][0], edges[0][1], edges[1][1]
    )
    dy, dx = (float(np.diff(data[axis]).max()) for axis in ("y", "x"))
    part = data.sel(y=slice(south - 1.5 * dy, north + 1.5 * dy), x=slice(west - 1.5 * dx, east + 1.5 * dx))
    return part if min(part.sizes["y"], part.sizes["x"]) > 1 else data


def _curved_around(data: xr.DataArray, aim: Target) -> xr.DataArray:
    """Return the rows and columns of a curved grid that reach the target, and two more on each side."""
    y, x = _places(data, aim)
    edges = geometry.edges_of(aim.y), geometry.edges_of(aim.x)
    inside = (y >= edges[0][0]) & (y <= edges[0][-1]) & (x >= edges[1][0]) & (x <= edges[1][-1])
    if not inside.any():
        return data
    kept = {}
    for dim, axis in (("y", 1), ("x", 0)):
        reached = np.flatnonzero(inside.any(axis=axis))
        kept[dim] = slice(max(0, int(reached[0]) - 2), int(reached[-1]) + 3)
    return data.isel(kept)


def _places(data: xr.DataArray, aim: Target) -> tuple[Array, Array]:
    """Return y and x ``[Y, X]`` of a curved grid's centres in the target's CRS."""
    latitude, longitude = data["latitude"].to_numpy(), data["longitude"].to_numpy()
    x, y = Transformer.from_crs("EPSG:4326", aim.crs, always_xy=True).transform(longitude, latitude)
    if aim.crs.is_geographic:  # longitudes may count to 360, and must not leap within the target
        centre = float(aim.x.mean())
        x = (x - centre + 180) % 360 - 180 + centre
    return y, x


def _quadrangles(data: xr.DataArray, aim: Target) -> NDArray[np.object_]:
    """Return the cells of a curved grid ``[S]``: a corner lies in the middle of the four centres around it."""
    corners = [_corners(centres) for centres in _places(data, aim)]
    parts = [[axis[rows, columns].ravel() for axis in corners] for rows, columns in RING]
    points = np.stack([np.stack([x, y], axis=-1) for y, x in parts], axis=1)
    leaps = np.ptp(points[..., 0], axis=1) > 180 if aim.crs.is_geographic else np.zeros(len(points), dtype=bool)
    points[~np.isfinite(points).all(axis=(1, 2)) | leaps] = 0.0  # beyond the projection: a cell without area
    polygons: NDArray[np.object_] = shapely.make_valid(shapely.polygons(points))
    return polygons


def _corners(centres: Array) -> Array:
    """Return corners ``[Y + 1, X + 1]`` of centres ``[Y, X]``, continued evenly beyond the outer ones."""
    for axis in (0, 1):
        first, last = (np.take(centres, [place], axis) for place in (0, -1))
        second, before = (np.take(centres, [place], axis) for place in (1, -2))
        centres = np.concatenate([2 * first - second, centres, 2 * last - before], axis=axis)
    corners: Array = (centres[1:, 1:] + centres[1:, :-1] + centres[:-1, 1:] + centres[:-1, :-1]) / 4
    return corners


def _weighted(data: xr.DataArray, weights: sparse.csr_matrix, aim: Target, least: float) -> xr.DataArray:
    """Return the weighted mean of the cells that have a value, where these cover enough of the target cell."""
    shape = len(aim.y), len(aim.x)

    def block(values: Array) -> Array:
        return weighted_mean(values, weights, least).reshape(-1, *shape)

    lazy = data.chunk({"y": -1, "x": -1}).data
    values = da.map_blocks(block, lazy, dtype=np.float32, chunks=(lazy.chunks[0], (shape[0],), (shape[1],)))
    return xr.DataArray(values, dims=("time", "y", "x"), coords={"time": data["time"], "y": aim.y, "x": aim.x})


def weighted_mean(values: Array, weights: sparse.csr_matrix, least: float) -> Array:
    """Return the mean ``[T, P]`` of fields ``[T, Y, X]``; missing where cells with a value make less than ``least``."""
    flat = values.reshape(len(values), -1).T
    known = np.isfinite(flat)
    covered = weights @ known.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights @ np.where(known, flat, 0.0)) / covered
    mean[covered < least - 1e-6] = np.nan
    return np.asarray(mean.T, dtype=np.float32)


def _mass(data: xr.DataArray, regridded: xr.DataArray, weights: sparse.csr_matrix, aim: Target) -> str:
    """Compare value times area before and after, over the part of the source that the target covers.

    After, a cell counts with the area that the source covers of it; the two differ by what lies in cells left out,
    of which the source covers too little.
    """
    if not len(data):
        return ""
    source, result = compute(data.data, regridded.data)
    flat = source.reshape(len(source), -1).T
    known = np.isfinite(flat)
    before = float(np.where(known, flat, 0.0).sum(axis=1, dtype=np.float64) @ np.asarray(weights.sum(axis=0)).ravel())
    covered = (weights @ known.astype(np.float64)).T.reshape(result.shape)
    after = float(np.nansum(result * covered, dtype=np.float64))
    change = f" ({100 * (after / before - 1):+.3f} %)" if before else ""
    sums = f"{before * aim.cell_area:.6g} before, {after * aim.cell_area:.6g} after{change}"
    return f"; value times area over {len(data)} days: {sums}"
