"""Runoff against rain: over a record, a catchment cannot yield more than falls on it, save by groundwater."""

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
    """Compare every flow with the catchments' own rain, or with that of the patches they overlap.

    ``rest`` holds the store's series and ``patch_weight``; grids are read from the unfinished ``store``.
    """
    flows = [rest[name] for name in quality.named("river_flow", "series")]
    if not flows:
        return
    own, gridded = (quality.named("precipitation", kind) for kind in ("series", "grid"))
    if own:
        rain = rest[own[0]]
    elif gridded and patches is not None:
        rain = catchment_rain(gridded[0], store, patches, rest["patch_weight"]).assign_coords(time=flows[0]["time"])
    else:
        return
    for flow in flows:
        quality.runoff(quality.in_mm(flow), quality.in_mm(rain))


def catchment_rain(name: str, store: Path, patches: Patches, weight: xr.DataArray) -> xr.DataArray:
    """Return the areal mean of a grid over the patches of each catchment ``(catchment, time)``."""
    array = zarr.open_array(store / name, mode="r")
    stored = xr.DataArray(da.from_zarr(array, chunks=array.shards), dims=("time", "y", "x"))
    height, width = patches.size
    with write.computing(f"Rain of the catchments from {name}"):
        by_patch = stored.coarsen(y=height, x=width).mean().to_numpy()
    rain = areal_mean(by_patch.reshape(len(by_patch), -1), weight.values)
    return xr.DataArray(rain.T, dims=("catchment", "time"), coords={"catchment": weight["catchment"]}, name=name)
