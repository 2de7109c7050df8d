"""Areal means of gridded forecasts: fields of latitude and longitude become values of catchments.

Shapes: N catchments, Y X cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import shapely
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from shapely import affinity

from watercli.config import Recipe
from watercli.hydrology.areal_mean import MIN_OBSERVED, areal_mean
from watercli.preparation import geometry
from watercli.preparation.readers import boundaries, cf
from watercli.preparation.readers.sources import Sources

Floats = NDArray[np.floating[Any]]
WGS84 = CRS("EPSG:4326")
ISSUES_AT_ONCE = 32
"""Forecasts whose fields are held in memory at a time."""


@dataclass(frozen=True)
class Catchments:
    """The catchments of a store, over which fields are averaged."""

    gauges: pd.DataFrame
    """``gauge_y`` and ``gauge_x`` in degrees, and ``area`` in km2, by gauge id."""
    recipe: Recipe
    sources: Sources

    @classmethod
    def of(cls, dataset: xr.Dataset, recipe: Recipe, sources: Sources) -> Catchments:
        """Take the places of gauges from a store, or from its part that holds them."""
        columns = {"gauge_y": "latitude", "gauge_x": "longitude", "area": "area"}
        ids = pd.Index([str(gauge) for gauge in dataset["catchment"].values])
        gauges = pd.DataFrame({column: dataset[name].values for column, name in columns.items()}, index=ids)
        return cls(gauges, recipe, sources)

    @cached_property
    def outlines(self) -> geometry.Outlines | None:
        """Boundaries in degrees; None where the recipe names none."""
        return boundaries.read(self.recipe, self.sources, WGS84)

    def around(self, centre: float) -> Catchments:
        """Return the catchments with longitudes within 180 degrees of ``centre``, as a grid across 180 degrees has."""
        turned = replace(self, gauges=self.gauges.assign(gauge_x=_turned(self.gauges["gauge_x"].to_numpy(), centre)))
        if self.outlines is not None:
            outlines = {gauge: _outline_around(self.outlines[gauge], centre) for gauge in self.gauges.index}
            vars(turned)["outlines"] = outlines
        return turned

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of all catchments."""
        if self.outlines is not None:
            west, south, east, north = shapely.total_bounds([self.outlines[gauge] for gauge in self.gauges.index])
            return west, south, east, north
        y, x = self.gauges["gauge_y"], self.gauges["gauge_x"]
        radii = [geometry.disc_radius(area, north, WGS84) for area, north in zip(self.gauges["area"], y, strict=True)]
        high, wide = np.array(radii).T
        return (x - wide).min(), (y - high).min(), (x + wide).max(), (y + high).max()


def axes_of(data: xr.DataArray) -> tuple[str, str] | None:
    """Return the dims of latitude and longitude, by CF metadata or else by their names; None without such."""
    for marked in (data, data.cf.guess_coord_axis()):
        names = [
            next((str(name) for name in marked.cf.coordinates.get(kind, ()) if name in data.dims), None)
            for kind in ("latitude", "longitude")
        ]
        if names[0] and names[1]:
            return names[0], names[1]
    return None


def areal_means(data: xr.DataArray, axes: tuple[str, str], catchments: Catchments, gauge_id: str) -> xr.DataArray:
    """Return means over catchments, along a dim ``gauge_id`` in place of latitude and longitude.

    Catchments of which less than half lies on the grid are left out.
    """
    grid = _ascending(data.rename(dict(zip(axes, ("y", "x"), strict=True))))
    if float(grid["x"].max()) > 180:
        catchments = catchments.around(float(grid["x"].mean()))
    grid = _around(grid, catchments.bounds)
    y, x = (grid[axis].values for axis in ("y", "x"))
    weights = geometry.cell_shares(catchments.gauges, y, x, WGS84, catchments.outlines)
    inside = np.asarray(weights.sum(axis=1)).ravel()
    geometry.warn_of_parts(catchments.gauges.index, inside, f"the grid of '{data.name}'")
    covered = inside >= MIN_OBSERVED
    first, *further = [dim for dim in data.dims if dim not in axes]
    fields = grid.transpose(first, *further, "y", "x")
    means = [
        areal_mean(block.values.reshape(*block.shape[:-2], -1), weights[covered])
        for start in range(0, fields.sizes[first], ISSUES_AT_ONCE)
        for block in [fields.isel({first: slice(start, start + ISSUES_AT_ONCE)})]
    ]
    coords = {name: values for name, values in fields.coords.items() if not {"y", "x"} & set(values.dims)}
    return xr.DataArray(
        np.concatenate(means),
        coords | {gauge_id: catchments.gauges.index[covered].to_numpy(dtype=object)},
        (first, *further, gauge_id),
        name=data.name,
        attrs=data.attrs,
    )


def _ascending(grid: xr.DataArray) -> xr.DataArray:
    """Return a grid from south to north and from west to east, its longitudes as `cf.without_gap` has them."""
    grid = grid.assign_coords({axis: grid[axis].astype(np.float64) for axis in ("y", "x")})
    return grid.assign_coords(x=cf.without_gap(grid["x"])).sortby(["y", "x"])


def _turned(longitude: Floats, centre: float) -> Floats:
    """Return longitudes within 180 degrees of ``centre``."""
    return np.asarray((longitude - centre + 180) % 360 - 180 + centre)


def _outline_around(outline: shapely.Geometry, centre: float) -> shapely.Geometry:
    """Return an outline around ``centre``: its polygons, which may lie on both sides of 180 degrees, as wholes."""
    parts = shapely.get_parts(outline)
    places = shapely.get_x(shapely.centroid(parts))
    shifts = _turned(places, centre) - places
    return shapely.union_all([affinity.translate(part, shift) for part, shift in zip(parts, shifts, strict=True)])


def _around(grid: xr.DataArray, bounds: tuple[float, float, float, float]) -> xr.DataArray:
    """Return the part of a grid that holds all catchments, two cells more on each side."""
    west, south, east, north = bounds
    dy, dx = (2 * float(np.diff(grid[axis]).max()) for axis in ("y", "x"))
    part = grid.sel(y=slice(south - dy, north + dy), x=slice(west - dx, east + dx))
    return part if min(part.sizes["y"], part.sizes["x"]) > 1 else grid
