"""Catchment boundaries: polygons by gauge id, from a shapefile, GeoPackage or GeoJSON, in the grid's CRS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import shapely
from pyproj import CRS

from watercli.config import Boundaries, Recipe
from watercli.errors import ConfigError, DataError, nearest
from watercli.log import log
from watercli.preparation.geometry import Outlines, listed
from watercli.preparation.readers.sources import Sources, unreadable


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


def matched(gauges: pd.DataFrame, outlines: Outlines | None, recipe: Recipe) -> pd.DataFrame:
    """Return the gauges, a table indexed by id, that have a boundary; all if the recipe names none.

    Raises
    ------
    DataError
        If a gauge has none, unless the recipe says to leave such gauges out.
    """
    absent = gauges.index if outlines is None else gauges.index.difference(list(outlines), sort=False)
    if outlines is None or absent.empty:
        return gauges
    assert recipe.catchments is not None
    without = listed(absent, "gauge", "has", "have")
    if recipe.catchments.on_missing == "drop" and len(absent) < len(gauges):
        log.warning("%s no boundary: left out, %d kept", without, len(gauges) - len(absent))
        return gauges.drop(absent)
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
    if not table.geometry.geom_type.isin(("Polygon", "MultiPolygon")).all():
        raise DataError(f"{name} holds something else than polygons; give the catchments' boundaries")
    return table


def _ids(column: Any, spec: Boundaries) -> list[str]:
    """Return ids as text; numbers without a fraction as whole numbers."""
    text = [
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip() for value in column
    ]
    return [gauge.removeprefix(spec.gauge_id_prefix).zfill(spec.gauge_id_digits) for gauge in text]
