"""Series that are derived from other modalities: catchment means of a grid, potential evaporation by temperature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version

import dask.array as da
import numpy as np
import pandas as pd
import pyet
import xarray as xr
from dask.base import compute
from numpy.typing import NDArray
from pyproj import CRS
from scipy import sparse

from watercli.errors import ConfigError, DataError, nearest
from watercli.hydrology.areal_mean import areal_sums, mean_of_sums
from watercli.preparation import align, geometry, units
from watercli.preparation.readers import boundaries, grid, hadukgrid
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Context, Request, naming_unreadable, ordered

GRIDS = {"grid": grid.read, "hadukgrid": hadukgrid.read}
"""Readers of the grids of which a mean can be taken."""
ORDER = ("grid_mean", "pet")
"""Readers of derived series, in the order in which one may need the other."""
MIN_COVERED = 0.1
"""Share of a catchment that the grid must cover: a gauge's disc may lie half in the sea."""
METHODS = {
    "oudin": (pyet.oudin, ("tmean",)),
    "hamon": (pyet.hamon, ("tmean",)),
    "mcguinness_bordne": (pyet.mcguinness_bordne, ("tmean",)),
    "hargreaves": (pyet.hargreaves, ("tmean", "tmax", "tmin")),
}
"""Methods of pyet that need temperature and latitude alone, and the temperatures that each needs."""


def read_series(requests: Mapping[str, Request], read: Callable[[Request], xr.DataArray]) -> dict[str, xr.DataArray]:
    """Return every series modality in the recipe's order, those derived from others being read last."""
    series = {name: request for name, request in requests.items() if request.modality.kind == "series"}
    records = {name: read(request) for name, request in series.items() if not request.readers & set(ORDER)}
    gauges = ordered({str(gauge) for data in records.values() for gauge in data["catchment"].values})
    for reader in ORDER:
        for name, request in series.items():
            if max((last for last in ORDER if last in request.readers), key=ORDER.index, default=None) == reader:
                records[name] = read(_in_context(request, Context(requests, dict(records), gauges)))
    return {name: records[name] for name in series}


def _in_context(request: Request, context: Context) -> Request:
    further = tuple(replace(part, context=context) for part in request.further)
    return replace(request, context=context, further=further)


def grid_mean(request: Request) -> xr.DataArray:
    """Return the mean of a grid modality over each catchment, ``(catchment, time)``.

    The mean is over the catchment's boundary, or its disc, by area; see `watercli.hydrology.areal_mean`. Cells that
    never have a value are sea, and no part of it.

    Raises
    ------
    ConfigError
        If ``source.variable`` is no grid of the recipe that is read from files.
    DataError
        If a catchment lies outside the grid.
    """
    assert request.context is not None
    requests, name = request.context.requests, request.source.variable
    grids = [key for key, grid in requests.items() if grid.source.reader in GRIDS]
    if name not in grids:
        raise ConfigError(
            f"{request.setting}.variable is '{name}', which is no grid read from files{nearest(name, grids)}"
        )
    source = requests[name]
    data = GRIDS[source.source.reader](source)
    period = request.recipe.period
    data = data.sel(time=slice(str(period.start), str(period.end)))
    crs = align.target_crs(request.recipe)
    align.check_grid(name, data, None, crs)
    places = request.places(request.gauges or request.context.gauges or None)
    gauge_y, gauge_x = geometry.project(places["@latitude"].to_numpy(), places["@longitude"].to_numpy(), crs)
    gauges = places.assign(gauge_y=gauge_y, gauge_x=gauge_x, area=places["@area"])
    outlines = boundaries.read(request.recipe, request.sources, crs)
    gauges = boundaries.matched(gauges, outlines, request.recipe)
    weights = geometry.cell_shares(gauges, data["y"].to_numpy(), data["x"].to_numpy(), crs, outlines)
    _check_covered(name, gauges, np.asarray(weights.sum(axis=1)).ravel(), data, crs)
    request.sources.use(source.paths)

    with naming_unreadable(source):
        means = _means(data.chunk({"y": -1, "x": -1}).data, weights)
    found = xr.DataArray(
        means.T,
        dims=("catchment", "time"),
        coords={"catchment": gauges.index.to_numpy(dtype=object), "time": data["time"]},
        attrs=data.attrs | {"derived": f"mean of '{name}' over {'boundaries' if outlines else 'discs at the gauges'}"},
    )
    return units.convert(found, source.modality.units, request.modality.units, f"'{name}'", request.say)


def _check_covered(name: str, gauges: pd.DataFrame, inside: NDArray[np.floating], data: xr.DataArray, crs: CRS) -> None:
    """Refuse catchments of which the grid covers next to nothing, and warn of those of which it covers a part."""
    outside = gauges[inside < MIN_COVERED]
    if len(outside):
        latitude, longitude = outside["@latitude"].to_numpy(), outside["@longitude"].to_numpy()
        cure = "give a grid that covers them, or name the gauges to use in recipe.catchments.gauges"
        if _all_on(data, *geometry.project(longitude, latitude, crs)):
            cure = "with latitude and longitude swapped they lie on it: mend the attribute table"
        elif _all_on(data, *geometry.project(latitude, -longitude, crs)):
            cure = "with longitudes of the other sign they lie on it: west is negative, mend the attribute table"
        raise DataError(f"{geometry.listed(outside.index, 'catchment')} outside the grid of '{name}'; {cure}")
    geometry.warn_of_parts(gauges.index, inside, f"the grid of '{name}'")


def _all_on(data: xr.DataArray, y: NDArray[np.floating], x: NDArray[np.floating]) -> bool:
    """Return whether all places lie between the outermost cells of a grid."""
    (south, north), (west, east) = (data[axis].to_numpy()[[0, -1]] for axis in ("y", "x"))
    return bool(((y >= south) & (y <= north) & (x >= west) & (x <= east)).all())


def _means(fields: da.Array, weights: sparse.csr_matrix) -> NDArray[np.float32]:
    """Return the areal means ``[T, C]`` of fields ``[T, Y, X]``, which are read once."""

    def sums(values: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.stack(areal_sums(values.reshape(len(values), -1), weights), axis=1)

    by_block = da.map_blocks(
        sums, fields, dtype=np.float64, drop_axis=2, chunks=(fields.chunks[0], (2,), (weights.shape[0],)), new_axis=2
    )
    total_and_observed, land = compute(by_block, da.isfinite(fields).any(axis=0))
    whole = weights @ land.ravel().astype(np.float64)
    total, observed = total_and_observed.swapaxes(0, 1)
    means: NDArray[np.float32] = mean_of_sums(total, observed, whole).astype(np.float32)
    return means


def pet(request: Request) -> xr.DataArray:
    """Return potential evaporation ``(catchment, time)`` by temperature and latitude, as pyet computes it.

    Raises
    ------
    ConfigError
        If the method is unknown, or ``source.inputs`` lacks a temperature.
    """
    assert request.context is not None
    setting, method = request.setting, request.source.variable
    if method not in METHODS:
        raise ConfigError(
            f"{setting}.variable is '{method}', no method of potential evaporation{nearest(method, METHODS)}"
        )
    function, needs = METHODS[method]
    inputs: list[xr.DataArray] = []
    for temperature in needs:
        name = request.source.inputs.get(temperature, "")
        if name not in request.context.series:
            raise ConfigError(
                f"{setting}.inputs must name a series modality for '{temperature}', as {method} needs "
                f"{', '.join(needs)}"
                f"{nearest(name, request.context.series)}"
            )
        given = request.context.requests[name].modality.units
        data = request.context.series[name]
        inputs.append(units.convert(data.astype(np.float64), given, "degC", f"'{name}'", request.say))
    inputs = list(xr.align(*inputs, join="inner"))
    gauges = [str(gauge) for gauge in inputs[0]["catchment"].values]
    places = request.places(gauges)
    inputs = [data.sel(catchment=list(places.index)).transpose("time", "catchment") for data in inputs]
    latitude = xr.DataArray(
        np.deg2rad(places["@latitude"].to_numpy()), dims="catchment", coords={"catchment": inputs[0]["catchment"]}
    )
    evaporation = function(*inputs, lat=latitude).where(np.isfinite(sum(inputs)))
    said = f"potential evaporation by {method} (pyet {version('pyet')}) of {', '.join(request.source.inputs.values())}"
    request.say("pet", said)
    evaporation = evaporation.transpose("catchment", "time").assign_attrs(day=inputs[0].attrs["day"], derived=said)
    return units.convert(evaporation, "mm/day", request.modality.units, "potential evaporation", request.say)


GRID_MEAN = Reader(grid_mean, ("series",), needs_files=False)
PET = Reader(pet, ("series",), needs_files=False)
