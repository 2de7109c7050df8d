"""From a recipe to a finished store: read, align, statistics, write."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS

from watercli import __version__
from watercli.config import Config, Recipe, Source
from watercli.errors import ConfigError
from watercli.hydrology import flow_attributes
from watercli.log import log
from watercli.output import zarr_files
from watercli.output.resumable import Work
from watercli.preparation import align, geometry, write
from watercli.preparation.catchments import place
from watercli.preparation.grids import Grids
from watercli.preparation.joined_sources import joined
from watercli.preparation.quality import runoff
from watercli.preparation.quality.records import Quality
from watercli.preparation.readers import boundaries, demo, forecast, registry
from watercli.preparation.readers.derived import read_series
from watercli.preparation.readers.forecast_grid import Catchments
from watercli.preparation.readers.request import Request
from watercli.preparation.readers.sources import Snapshot, Sources
from watercli.store import SCHEMA_VERSION

Attributes = dict[str, Any]


def requests(config: Config, sources: Sources) -> dict[str, Request]:
    """Return what each modality reads, its files found.

    Raises
    ------
    ConfigError, DataError
        If a source is not stated, its reader is unknown, or its files are not there.
    """
    modality_requests: dict[str, Request] = {}
    for name, modality in config.modalities.items():
        setting = f"modalities.{name}.source"
        if not modality.source:
            raise ConfigError(f"{setting} is missing in configuration '{config.name}'; say how to read it")
        several = len(modality.source) > 1
        first, *further = (
            _request(config, name, sources, source, f"{setting}.{number}" if several else setting, several)
            for number, source in enumerate(modality.source)
        )
        modality_requests[name] = replace(first, further=tuple(further))
    return modality_requests


def _request(config: Config, name: str, sources: Sources, source: Source, setting: str, is_part: bool) -> Request:
    """Return the request for one source of a modality."""
    reader = registry.find(source.reader, config.modalities[name].kind, setting)
    paths = sources.find(source.files, f"{setting}.files") if reader.needs_files else []
    return Request(config, name, sources, paths, source, setting, is_part=is_part)


def snapshot(config: Config, recipe: Recipe, modality_requests: dict[str, Request], sources: Sources) -> Snapshot:
    """Return the state of every file that may be read.

    Raises
    ------
    ConfigError, DataError
        If an attribute table or a forecast product is not there.
    """
    paths = {path for request in modality_requests.values() for path in request.all_paths}
    for table in recipe.catchments.tables if recipe.catchments else ():
        paths.update(sources.find(table.files, "recipe.catchments.tables"))
    for product in forecast.find(config, sources):
        paths.update(product.paths)
    if recipe.catchments and recipe.catchments.boundaries:
        paths.update(sources.find(recipe.catchments.boundaries.files, "recipe.catchments.boundaries.files"))
    return Snapshot.of(paths)


def build(
    config: Config, recipe: Recipe, modality_requests: dict[str, Request], sources: Sources, work: Work
) -> Quality:
    """Build the store in the folder of ``work``; return what looks wrong in it."""
    crs = align.target_crs(recipe)
    quality = Quality(config)
    series = read_series(
        modality_requests, lambda request: quality.series(request.modality_name, _read(request, quality))
    )
    sources.forget()
    catchments = place(config, recipe, series, sources, crs)
    if catchments is not None:
        flows = [name for name in series if (known := quality.quantities.get(name)) and known.name == "river_flow"]
        train = recipe.splits.train
        flow_attributes.warn_of_correlation(catchments, flows, slice(str(train.start), str(train.end)))
        for name in series:
            present = catchments[name].count("catchment").to_numpy()
            quality.count_missing(name, align.days(recipe.period), present, catchments.sizes["catchment"])
        catchments = with_forecasts(catchments, config, recipe, sources, quality)
    grids = Grids(recipe, crs, work, quality)
    for name in config.of_kind("grid"):
        grids.add(modality_requests[name], _read(modality_requests[name], quality))
    parts = [part for part in (catchments, grids.dataset()) if part is not None]
    rest = xr.merge(parts, join="outer", compat="no_conflicts", combine_attrs="override")
    if "catchment" in rest and grids.patches is not None:
        rest["patch_weight"] = _patch_weight(rest, grids.patches, crs, boundaries.read(recipe, sources, crs))
    runoff.check(quality, rest, grids.patches, work.store)
    order = [name for name in config.modalities if name in rest["variable"].values]
    rest = rest.sel(variable=order)
    rest["crs"] = ((), np.int32(0), crs.to_cf())
    rest = rest.assign_coords(time=("time", align.days(recipe.period), {"axis": "T", "standard_name": "time"}))
    rest.attrs = _root_attributes(config, recipe, sources, grids, crs)
    rest.attrs |= {"quality": json.dumps(quality.counts()), "created": work.created}
    write.append(work.store, _plain_strings(rest))
    zarr_files.finish(work.store)
    return quality


def with_forecasts(
    catchments: xr.Dataset, config: Config, recipe: Recipe, sources: Sources, quality: Quality
) -> xr.Dataset:
    """Return the catchments' part of a store with the forecast products of the recipe beside it."""
    products = forecast.find(config, sources)
    if not products:
        return catchments
    return catchments.assign(forecast.read(products, Catchments.of(catchments, recipe, sources), quality))


def read(request: Request, quality: Quality) -> xr.DataArray:
    """Read a modality as its files have it, and say what was found."""
    name = request.modality_name
    data = registry.READERS[request.source.reader].read(request) if request.modality.kind == "grid" else joined(request)
    index = data.indexes["time"]
    shape = ", ".join(f"{size} {dim}" for dim, size in data.sizes.items())
    log.info("%s: %s to %s (%s)", name, f"{index.min():%Y-%m-%d}", f"{index.max():%Y-%m-%d}", shape)
    quality.dates(name, pd.DatetimeIndex(index))
    return data


def _read(request: Request, quality: Quality) -> xr.DataArray:
    return align.to_days(request.modality_name, read(request, quality), request.recipe.period)


def _plain_strings(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with all text as objects: Zarr v3 specifies those, and no fixed-length text."""
    texts = [name for name, data in dataset.variables.items() if data.dtype.kind in "UT"]
    return dataset.assign_coords({name: dataset[name].astype(object) for name in texts})


def _patch_weight(
    rest: xr.Dataset, patches: geometry.Patches, crs: CRS, outlines: geometry.Outlines | None
) -> xr.DataArray:
    gauges = rest[["gauge_y", "gauge_x", "area"]].to_dataframe()[["gauge_y", "gauge_x", "area"]]
    shape = "its boundary" if outlines else "a disc of its area at its gauge"
    return xr.DataArray(
        geometry.patch_weights(gauges, patches, crs, outlines).astype(np.float32),
        dims=("catchment", "patch"),
        attrs={"units": "1", "long_name": f"share of a catchment ({shape}) in each land patch"},
    )


def _root_attributes(config: Config, recipe: Recipe, sources: Sources, grids: Grids, crs: CRS) -> Attributes:
    records = sources.records()
    return {
        "Conventions": "CF-1.11",
        "title": f"watercli store: {config.name}",
        "schema_version": SCHEMA_VERSION,
        "config": config.to_yaml(),
        "sources": json.dumps(records),
        "splits": json.dumps(recipe.splits.model_dump(mode="json")),
        "patch_size": list(recipe.grid.patch_size),
        "padding": list(grids.padding),
        "crs_wkt": crs.to_wkt(),
        "fingerprint": fingerprint(config, records),
        "watercli_version": __version__,
    }


def fingerprint(config: Config, records: list[dict[str, str | int]], extended: str | None = None) -> str:
    """Return a hash of all that determines a store's data: schema, recipe, the modalities' sources, checksums.

    ``extended`` is the fingerprint of the store that was extended, if any.

    How a modality is transformed, masked or weighted is the trainer's affair and leaves the data as they are.
    """
    content = determining(config) | {"checksums": {str(record["name"]): record["sha256"] for record in records}}
    if extended is not None:
        content["extended"] = extended
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def determining(config: Config) -> Attributes:
    """Return all of a configuration that determines a store's data, the source files apart."""
    assert config.recipe is not None
    # What is not set leaves the fingerprints of stores that were made before it could be.
    modalities = {
        name: modality.model_dump(
            mode="json", include={"kind", "units", "source"} | ({"forecast"} if modality.forecast else set())
        )
        for name, modality in config.modalities.items()
    }
    recipe = config.recipe.model_dump(mode="json", exclude={"datasets"})
    if recipe["catchments"] and recipe["catchments"]["downstream_id"] is None:
        del recipe["catchments"]["downstream_id"]
    if not config.recipe.quality.to_missing:
        del recipe["quality"]
    return {
        "schema": SCHEMA_VERSION,
        "recipe": recipe,
        "modalities": modalities,
        "generated": [demo.VERSION, config.seed] if demo.is_used(config) else None,
    }
