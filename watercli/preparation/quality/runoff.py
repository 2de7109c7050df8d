"""Flow against rain: a catchment cannot yield more than falls on it, save by groundwater, nor before it falls."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import xarray as xr
import zarr

from watercli.hydrology.areal_mean import areal_mean
from watercli.preparation import write
from watercli.preparation.geometry import Patches
from watercli.preparation.quality.records import Quality


def check(quality: Quality, rest: xr.Dataset, patches: Patches | None, store: Path) -> None:
    """Compare every flow with those around it, and with the catchments' own rain, or that of the patches they overlap.

    ``rest`` holds the store's series and ``patch_weight``; grids are read from the unfinished ``store``.
    """
    flows = [rest[name] for name in quality.named("river_flow", "series")]
    if not flows:
        return
    rain = _rain(quality, rest, patches, store)
    if rain is not None:
        rain = quality.in_mm(rain.assign_coords(time=flows[0]["time"]))
    for flow in flows:
        quality.sequences(flow, rain)
        if rain is not None:
            quality.runoff(quality.in_mm(flow), rain)


def _rain(quality: Quality, rest: xr.Dataset, patches: Patches | None, store: Path) -> xr.DataArray | None:
    own, gridded = (quality.named("precipitation", kind) for kind in ("series", "grid"))
    if own:
        return rest[own[0]]
    if gridded and patches is not None:
        return catchment_rain(gridded[0], store, patches, rest["patch_weight"])
    return None


def catchment_rain(name: str, store: Path, patches: Patches, weight: xr.DataArray) -> xr.DataArray:
    """Return the areal mean of a grid over the patches of each catchment ``(catchment, time)``."""
    array = zarr.open_array(store / name, mode="r")
    stored = xr.DataArray(da.from_zarr(array, chunks=array.shards), dims=("time", "y", "x"))
    height, width = patches.size
    with write.computing(f"Rain of the catchments from {name}"):
        by_patch = stored.coarsen(y=height, x=width).mean().to_numpy()
    rain = areal_mean(by_patch.reshape(len(by_patch), -1), weight.values)
    return xr.DataArray(rain.T, dims=("catchment", "time"), coords={"catchment": weight["catchment"]}, name=name)
