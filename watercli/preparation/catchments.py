"""The catchments' part of a store: series, static attributes, where the gauges are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS

from watercli.config import Catchments, Config, Recipe
from watercli.errors import ConfigError
from watercli.log import log
from watercli.preparation import align, climate, geometry, statistics
from watercli.preparation.readers import attributes, boundaries, demo, places, river_network
from watercli.preparation.readers.request import described, ordered
from watercli.preparation.readers.sources import Sources
from watercli.store import GROUP


def place(
    config: Config, recipe: Recipe, series: dict[str, xr.DataArray], sources: Sources, crs: CRS
) -> xr.Dataset | None:
    """Join series and static attributes by gauge id; return the store's part, or None without catchments.

    Raises
    ------
    ConfigError
        If there are series and no ``recipe.catchments``.
    DataError
        If a gauge lacks attributes, or a series has nothing to learn from.
    """
    catchments = recipe.catchments
    if catchments is None:
        if series:
            raise ConfigError(f"'{next(iter(series))}' is a series, which needs recipe.catchments; add that section")
        return None
    tables = _tables(config, catchments, sources)
    with_series = {str(gauge) for data in series.values() for gauge in data["catchment"].values}
    gauges = ordered(catchments.gauges or with_series or attributes.gauges_of(tables))
    computed = climate.attributes(config, recipe, series, gauges)
    values = attributes.select(tables, catchments, [str(gauge) for gauge in computed.index]).join(computed)
    outlines = boundaries.read(recipe, sources, crs)
    values = boundaries.matched(values, outlines, recipe)
    gauges = [str(gauge) for gauge in values.index]
    unused = len({str(gauge) for table in tables for gauge in table.rows.index} - set(gauges))
    if unused:
        log.info("%s gauges of the attribute tables are not used: no series, or not named in the recipe", f"{unused:,}")
    places.warn_if_swapped(values["@latitude"], values["@longitude"], crs)
    part = _static(values, catchments, crs)
    boundaries.warn_of_contradictions(part[["gauge_y", "gauge_x", "area"]].to_dataframe(), outlines, crs)
    part = part.assign_coords(
        {
            f"{GROUP}{name}": (
                "catchment",
                attributes.classes(tables, column, gauges),
                {"long_name": f"class of the catchment, by column {column}"},
            )
            for name, column in catchments.groups.items()
        }
    )
    if catchments.downstream_id is not None:
        downstream = river_network.read(tables, catchments.downstream_id, gauges)
        part = part.assign_coords(
            downstream_id=("catchment", downstream, {"long_name": "id of the next gauge downstream, empty if none"})
        )
    training = align.days(recipe.splits.train)
    statistics_tables: list[xr.DataArray] = []
    for name, data in series.items():
        data = data.reindex(catchment=gauges).transpose("catchment", "time").astype(np.float32)
        part[name] = data.copy()
        part[name].attrs = described(name, config.modalities[name], data)
        statistics_tables.append(statistics.of_training(name, config.modalities[name], data.sel(time=training)))
        present = pd.Series(data.count("catchment").to_numpy(), index=data.indexes["time"])
        statistics.report_bare_periods(name, present, recipe.splits)
    if statistics_tables:
        part["statistics"] = xr.concat(statistics_tables, dim=pd.Index(list(series), name="variable", dtype=object))
    return part


def _tables(config: Config, catchments: Catchments, sources: Sources) -> list[attributes.Table]:
    tables = attributes.read_tables(catchments, sources)
    if tables:
        return tables
    if demo.is_used(config):
        return [attributes.in_memory(demo.domain(config).attributes, "the demo domain")]
    raise ConfigError("recipe.catchments.tables is empty; name the CSV tables that hold the static attributes")


def _static(values: pd.DataFrame, catchments: Catchments, crs: CRS) -> xr.Dataset:
    """Return attributes, their statistics and the coordinates along ``catchment``."""
    gauge_y, gauge_x = geometry.project(values["@latitude"].to_numpy(), values["@longitude"].to_numpy(), crs)
    settings = catchments.attributes
    length = geometry.axis_units(crs)
    columns = {
        "gauge_name": (values["@gauge_name"].to_numpy(dtype=object), {"long_name": "name of the gauge"}),
        "latitude": (values["@latitude"].to_numpy(), {"standard_name": "latitude", "units": "degrees_north"}),
        "longitude": (values["@longitude"].to_numpy(), {"standard_name": "longitude", "units": "degrees_east"}),
        "area": (values["@area"].to_numpy(), {"long_name": "catchment area", "units": "km2"}),
        "gauge_y": (gauge_y, {"long_name": "gauge, along y of the grid", "units": length}),
        "gauge_x": (gauge_x, {"long_name": "gauge, along x of the grid", "units": length}),
    }
    part = xr.Dataset(
        coords={
            "catchment": ("catchment", values.index.to_numpy(dtype=object), {"long_name": "gauge id"}),
            "attribute": np.array(list(settings), dtype=object),
            "attribute_units": ("attribute", np.array([item.units for item in settings.values()], dtype=object)),
            "attribute_transform": (
                "attribute",
                np.array([item.transform for item in settings.values()], dtype=object),
            ),
            **{name: ("catchment", *column) for name, column in columns.items()},
        }
    )
    part["static"] = (
        ("catchment", "attribute"),
        values[list(settings)].to_numpy(dtype=np.float64),
        {"long_name": "static attributes, untransformed; their units are in attribute_units"},
    )
    part["static_statistics"] = statistics.of_attributes(values, settings)
    return part
