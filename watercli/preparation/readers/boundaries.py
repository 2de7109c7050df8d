"""Catchment boundaries: polygons by gauge id, from a shapefile, GeoPackage or GeoJSON, in the grid's CRS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from watercli.config import Boundaries, Recipe
from watercli.errors import ConfigError, DataError, nearest
from watercli.log import log
from watercli.preparation.geometry import METRES_PER_DEGREE, Outlines, listed
from watercli.preparation.readers.sources import Sources, unreadable

MOST_UNLIKE = 1.5
"""Factor between the area of a polygon and that of the table from which on one of them is doubted."""
LEAST_FAR = 5.0
"""km from its boundary at which a gauge is doubted, or the side of a square of its area if that is more."""


def read(recipe: Recipe, sources: Sources, crs: CRS) -> Outlines | None:
    """Return the boundaries of the recipe; None where it names none.

    Several polygons of one gauge are one boundary; invalid ones (with edges that cross) are made valid.

    Raises
    ------
    ConfigError
        If geopandas is not installed.
    DataError
        If a file cannot be read, has no CRS or no field of gauge ids, or holds something else than polygons.
    """
    spec = recipe.catchments.boundaries if recipe.catchments else None
    if spec is None:
        return None
    outlines: dict[str, list[shapely.Geometry]] = {}
    for path in sources.find(spec.files, "recipe.catchments.boundaries.files"):
        # A shapefile is several files of one name.
        sources.use(path.parent.glob(f"{path.stem}.*") if path.suffix.lower() == ".shp" else [path])
        table = _table(path, spec, sources.name(path)).to_crs(crs)
        for gauge, polygon in zip(_ids(table[spec.gauge_id], spec), table.geometry, strict=True):
            outlines.setdefault(gauge, []).append(polygon)
    several = sum(len(parts) > 1 for parts in outlines.values())
    if several:
        log.info("Boundaries: %d gauges have several polygons each, which are taken together", several)
    return {gauge: shapely.union_all(shapely.make_valid(parts)) for gauge, parts in outlines.items()}


def warn_of_contradictions(gauges: pd.DataFrame, outlines: Outlines | None, crs: CRS) -> None:
    """Warn of boundaries that contradict the gauges' places or areas.

    ``gauges`` holds ``gauge_y``, ``gauge_x`` and ``area`` in km2, indexed by gauge id; boundaries are in ``crs``.
    """
    if outlines is None:
        return
    polygons = np.array([outlines[str(gauge)] for gauge in gauges.index], dtype=object)
    ratio = pd.Series(_areas(polygons, crs) / gauges["area"].to_numpy(dtype=np.float64), index=gauges.index)
    unlike = ratio[(ratio > MOST_UNLIKE) | (ratio < 1 / MOST_UNLIKE)]
    if len(unlike):
        log.warning(
            "Boundaries and areas contradict each other for %s: the boundary of %s encloses %.3g times the area of "
            "the attribute tables; are polygons, areas and their units right?",
            listed(unlike.index, "gauge", "", ""), unlike.index[0], unlike.iloc[0],
        )  # fmt: skip
    far = _distances(gauges, polygons, crs)
    far = far[far > np.maximum(LEAST_FAR, np.sqrt(gauges["area"]))]
    if len(far):
        log.warning(
            "Boundaries and places contradict each other for %s: %s lies %.0f km from its boundary; are ids, latitude "
            "and longitude right?",
            listed(far.index, "gauge", "", ""), far.index[0], far.iloc[0],
        )  # fmt: skip


def _areas(polygons: NDArray[np.object_], crs: CRS) -> NDArray[np.float64]:
    """Return areas in km2; where ``crs`` is in degrees, with the length of a degree at each one's latitude."""
    areas = shapely.area(polygons)
    if not crs.is_geographic:
        return np.asarray(areas * (crs.axis_info[0].unit_conversion_factor / 1000) ** 2)
    latitude = shapely.get_y(shapely.centroid(polygons))
    return np.asarray(areas * (METRES_PER_DEGREE / 1000) ** 2 * np.cos(np.deg2rad(latitude)))


def _distances(gauges: pd.DataFrame, polygons: NDArray[np.object_], crs: CRS) -> pd.Series:
    """Return how far each gauge lies from its polygon, in km; 0 inside."""
    points = shapely.points(gauges["gauge_x"].to_numpy(float), gauges["gauge_y"].to_numpy(float))
    lines = shapely.get_coordinates(shapely.shortest_line(points, polygons)).reshape(-1, 2, 2)
    apart = lines[:, 1] - lines[:, 0]
    if crs.is_geographic:
        apart[:, 0] *= np.cos(np.deg2rad(gauges["gauge_y"].to_numpy(float)))
    length = METRES_PER_DEGREE if crs.is_geographic else crs.axis_info[0].unit_conversion_factor
    inside = shapely.intersects(points, polygons)
    return pd.Series(np.where(inside, 0.0, np.hypot(*apart.T) * length / 1000), index=gauges.index)


def matched(gauges: pd.DataFrame, outlines: Outlines | None, recipe: Recipe) -> pd.DataFrame:
    """Return the gauges, a table indexed by id, that have a boundary with an area; all if the recipe names none.

    Raises
    ------
    DataError
        If a gauge has none, unless the recipe says to leave such gauges out.
    """
    if outlines is None:
        return gauges
    assert recipe.catchments is not None
    absent = gauges.index[[gauge not in outlines or outlines[gauge].area == 0 for gauge in map(str, gauges.index)]]
    if absent.empty:
        return gauges
    without = listed(absent, "gauge", "has", "have")
    if recipe.catchments.on_missing == "drop" and len(absent) < len(gauges):
        log.warning("%s no boundary: left out, %d kept", without, len(gauges) - len(absent))
        return gauges.drop(absent)
    if absent.isin(list(outlines)).all():
        raise DataError(
            f"{without} an empty polygon, without area, in recipe.catchments.boundaries; mend it, or leave such gauges "
            "out with recipe.catchments.on_missing=drop"
        )
    raise DataError(
        f"{without} no polygon in recipe.catchments.boundaries{nearest(str(absent[0]), outlines)}; mend the ids "
        "(gauge_id_prefix, gauge_id_digits), name the gauges to use in recipe.catchments.gauges, or leave such gauges "
        "out with recipe.catchments.on_missing=drop"
    )


def _table(path: Path, spec: Boundaries, name: str) -> Any:
    """Return a file as a GeoDataFrame."""
    try:
        import geopandas
    except ImportError as error:
        raise ConfigError(f"Reading {name} needs geopandas; pip install 'watercli[boundaries]'") from error
    try:
        table = geopandas.read_file(path)
    except Exception as error:  # GDAL's errors are of many kinds
        raise unreadable(name, "boundaries") from error
    if spec.gauge_id not in table:
        raise DataError(f"{name} has no field '{spec.gauge_id}'{nearest(spec.gauge_id, map(str, table.columns))}")
    if table.crs is None:
        raise DataError(f"{name} does not say in which CRS it is; add its .prj file or crs member")
    table.geometry = table.geometry.where(~(table.geometry.isna() | table.geometry.is_empty), shapely.Polygon())
    kinds = set(table.geometry.geom_type) - {"Polygon", "MultiPolygon"}
    if kinds:
        raise DataError(f"{name} holds {', '.join(sorted(kinds))}, not polygons; give the catchments' boundaries")
    return table


def _ids(column: Any, spec: Boundaries) -> list[str]:
    """Return ids as text; numbers without a fraction as whole numbers."""
    text = [
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip() for value in column
    ]
    return [
        spec.gauge_id_new_prefix + gauge.removeprefix(spec.gauge_id_prefix).zfill(spec.gauge_id_digits)
        for gauge in text
    ]
