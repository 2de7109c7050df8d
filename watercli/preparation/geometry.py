"""Where catchments lie on a grid: land, whole patches, and the patches a catchment draws its weather from.

Shapes: ``Y X`` cells, ``P`` patches in row-major order, ``N`` catchments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from scipy import sparse

from watercli.errors import DataError
from watercli.log import log

Array = NDArray[np.floating]
Outlines = Mapping[str, shapely.Geometry]
"""Polygons by gauge id."""

DISC_POINTS = 101
"""Sample points across a catchment's disc: about 8,000 in it, so a weight is good to a percent or so."""
FARTHEST_PATCHES = 3.0
"""A gauge farther than this many patch lengths from all land is taken to lie outside the grid."""
MUCH_OUTSIDE = 0.5
"""A catchment of whose boundary less than this share lies in land patches is reported."""
NEARLY_ALL = 0.9
"""A catchment of whose area less than this share lies in the grid is reported."""
METRES_PER_DEGREE = 111_195.0
"""Length of a degree of latitude on a sphere of 6,371 km."""


@dataclass(frozen=True)
class Patches:
    """A grid cut into patches: cell centres along each axis, cells per patch, and which patches are land ``[P]``."""

    y: Array
    x: Array
    size: tuple[int, int]
    land: NDArray[np.bool_]

    @property
    def centres(self) -> tuple[Array, Array]:
        """Centres ``[P]`` of the patches along y and x."""
        rows = self.y.reshape(-1, self.size[0]).mean(axis=1)
        columns = self.x.reshape(-1, self.size[1]).mean(axis=1)
        mesh = np.meshgrid(rows, columns, indexing="ij")
        return mesh[0].ravel(), mesh[1].ravel()


def padding(cells: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the cells to append to each axis so that whole patches cover it."""
    return -cells[0] % size[0], -cells[1] % size[1]


def extend(centres: Array, extra: int) -> Array:
    """Continue evenly spaced cell centres by ``extra`` cells."""
    step = centres[1] - centres[0]
    return np.concatenate([centres, centres[-1] + step * np.arange(1, extra + 1)])


def patch_sums(cells: Array, size: tuple[int, int]) -> Array:
    """Sum cells ``[Y, X]`` over each patch: ``[P]``."""
    height, width = size
    rows, columns = cells.shape[0] // height, cells.shape[1] // width
    sums: Array = cells.reshape(rows, height, columns, width).sum(axis=(1, 3)).ravel()
    return sums


def cut(y: Array, x: Array, land_fraction: Array, size: tuple[int, int], threshold: float) -> Patches:
    """Cut a padded grid into patches and mark those of which at least ``threshold`` is land.

    Raises
    ------
    DataError
        If no patch is land.
    """
    share = patch_sums(land_fraction, size) / (size[0] * size[1])
    land = share >= threshold
    if not land.any():
        raise DataError(
            f"No patch of {size[0]} x {size[1]} cells is land by recipe.grid.land_threshold = {threshold} "
            f"(the most any has is {share.max():.2f}); lower it or recipe.grid.patch_size"
        )
    return Patches(y, x, size, land)


def disc(y: Array, x: Array, centre: tuple[float, float], radius: tuple[float, float]) -> Array:
    """Return the share of a disc that lies in each cell ``[Y, X]``; what lies outside the grid is left out."""
    line = np.linspace(-1, 1, DISC_POINTS)
    down, right = np.meshgrid(line, line, indexing="ij")
    inside = down**2 + right**2 <= 1
    rows = np.searchsorted(edges_of(y), centre[0] + radius[0] * down[inside], side="right") - 1
    columns = np.searchsorted(edges_of(x), centre[1] + radius[1] * right[inside], side="right") - 1
    within = (rows >= 0) & (rows < len(y)) & (columns >= 0) & (columns < len(x))
    flat = np.bincount(rows[within] * len(x) + columns[within], minlength=len(y) * len(x))
    return np.asarray(flat.reshape(len(y), len(x)) / inside.sum())


def edges_of(centres: Array) -> Array:
    """Return the edges of cells along an axis, one more than centres: half-way, as far beyond the outer ones."""
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def boxes(y: Array, x: Array) -> NDArray[np.object_]:
    """Return evenly spaced cells as rectangles ``[Y * X]``, row-major."""
    half_y, half_x = (y[1] - y[0]) / 2, (x[1] - x[0]) / 2
    north, east = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    rectangles: NDArray[np.object_] = shapely.box(east - half_x, north - half_y, east + half_x, north + half_y)
    return rectangles


def shares(outlines: NDArray[np.object_], cells: NDArray[np.object_]) -> sparse.csr_matrix:
    """Return the share of each outline's area that lies in each cell, ``[outlines, cells]``."""
    rows, columns = shapely.STRtree(cells).query(outlines, predicate="intersects")
    area = shapely.area(shapely.intersection(outlines[rows], cells[columns])) / shapely.area(outlines)[rows]
    return sparse.csr_matrix((area, (rows, columns)), shape=(len(outlines), len(cells)))


def cell_shares(gauges: pd.DataFrame, y: Array, x: Array, crs: CRS, outlines: Outlines | None) -> sparse.csr_matrix:
    """Return the share of each catchment's area in each cell, ``[N, Y * X]``; rows sum to less outside the grid.

    A catchment is its outline in ``crs``, or where there are none a disc of its area around its gauge; ``gauges``
    holds ``gauge_y``, ``gauge_x`` and ``area``, indexed by gauge id.
    """
    if outlines is not None:
        return shares(np.array([outlines[str(gauge)] for gauge in gauges.index], dtype=object), boxes(y, x))
    rows = []
    for gauge in gauges.itertuples():
        centre = float(gauge.gauge_y), float(gauge.gauge_x)  # type: ignore[arg-type]
        radius = disc_radius(float(gauge.area), centre[0], crs)  # type: ignore[arg-type]
        rows.append(sparse.csr_matrix(disc(y, x, centre, radius).reshape(1, -1)))
    return sparse.vstack(rows, format="csr")


def project(latitude: Array, longitude: Array, crs: CRS) -> tuple[Array, Array]:
    """Return y and x in ``crs`` of points given in WGS 84 degrees."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    return np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)


def disc_radius(area_km2: float, y: float, crs: CRS) -> tuple[float, float]:
    """Return a disc's radius along y and x in the units of ``crs``, at latitude ``y`` if that is geographic."""
    metres = 1000 * float(np.sqrt(area_km2 / np.pi))
    if crs.is_geographic:
        degrees = metres / METRES_PER_DEGREE
        return degrees, degrees / float(np.cos(np.deg2rad(y)))
    per_unit = crs.axis_info[0].unit_conversion_factor
    return metres / per_unit, metres / per_unit


def patch_weights(gauges: pd.DataFrame, patches: Patches, crs: CRS, outlines: Outlines | None = None) -> Array:
    """Return the share of each catchment's area in each land patch, ``[N, P]``; rows sum to 1.

    Outlines and ``gauges`` are as for `cell_shares`. A catchment that meets no land patch takes the nearest one.

    Raises
    ------
    DataError
        If a gauge lies outside the grid.
    """
    cells = cell_shares(gauges, patches.y, patches.x, crs, outlines)
    shape = len(patches.y), len(patches.x)
    weights = np.stack([patch_sums(row.toarray().reshape(shape), patches.size) for row in cells]) * patches.land
    covered = weights.sum(axis=1)
    if outlines is not None and (covered < MUCH_OUTSIDE).any():
        partly = listed(gauges.index[covered < MUCH_OUTSIDE], "catchment", "lies", "lie")
        log.warning("%s mostly outside the grid's land patches; the part inside stands for the whole", partly)
    elif outlines is None:
        warn_of_parts(gauges.index, np.asarray(cells.sum(axis=1)).ravel(), "the grid")
    off_land = np.flatnonzero(covered == 0)
    if len(off_land):
        _take_nearest(weights, off_land, gauges, patches)
    normalised: Array = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def warn_of_parts(gauges: pd.Index, inside: Array, where: str) -> None:
    """Warn of catchments of whose area less than `NEARLY_ALL` lies in the grid."""
    partly = (inside < NEARLY_ALL) & (inside > 0)
    if partly.any():
        log.warning(
            "%s partly outside %s (%s: %.0f %% inside); the part inside stands for the whole",
            listed(gauges[partly], "catchment"), where, gauges[partly][0], 100 * inside[partly][0],
        )  # fmt: skip


def _take_nearest(weights: Array, rows: NDArray[np.intp], gauges: pd.DataFrame, patches: Patches) -> None:
    """Give each of ``rows`` the whole weight of its nearest land patch."""
    centres = np.stack(patches.centres, axis=1)[patches.land]
    places = gauges[["gauge_y", "gauge_x"]].to_numpy(dtype=np.float64)[rows]
    distance = np.linalg.norm(places[:, None] - centres[None], axis=-1)
    length = max(count * (axis[1] - axis[0]) for count, axis in zip(patches.size, (patches.y, patches.x), strict=True))
    outside = gauges.index[rows[distance.min(axis=1) > FARTHEST_PATCHES * length]]
    if len(outside):
        raise DataError(
            f"{listed(outside, 'gauge')} outside the grid's land; give a grid that covers them, mend their latitude "
            "and longitude (west and south are negative), or name the gauges to use in recipe.catchments.gauges"
        )
    without = listed(gauges.index[rows], "catchment", "meets", "meet")
    log.warning("%s no land patch; the nearest one is taken", without)
    weights[rows, np.flatnonzero(patches.land)[distance.argmin(axis=1)]] = 1


def axis_units(crs: CRS) -> str:
    """Return the units of the CRS's axes as CF writes them."""
    name = crs.axis_info[0].unit_name
    return {"metre": "m", "degree": "degrees"}.get(name, name)


def axis_attributes(crs: CRS, axis: str) -> dict[str, str]:
    """Return the CF attributes of the coordinate ``y`` or ``x``."""
    if crs.is_geographic:
        name, units = {"y": ("latitude", "degrees_north"), "x": ("longitude", "degrees_east")}[axis]
        return {"axis": axis.upper(), "standard_name": name, "units": units}
    return {"axis": axis.upper(), "standard_name": f"projection_{axis}_coordinate", "units": axis_units(crs)}


def listed(
    names: Sequence[str] | pd.Index, noun: str, singular: str = "lies", plural: str = "lie", most: int = 5
) -> str:
    """Return ``"7 gauges (1001, 1002, ... ) lie"``: a count and the first few names."""
    shown = ", ".join(str(name) for name in names[:most]) + (", ..." if len(names) > most else "")
    many = len(names) != 1
    return f"{len(names)} {noun}{'s' if many else ''} ({shown}) {plural if many else singular}".rstrip()
