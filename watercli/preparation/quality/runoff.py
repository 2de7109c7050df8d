"""Runoff against rain: over a record, a catchment cannot yield more than falls on it, save by groundwater."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from watercli.preparation import write
from watercli.preparation.geometry import Patches
from watercli.preparation.quality.records import Quality


def check(quality: Quality, rest: xr.Dataset, patches: Patches | None, store: Path) -> None:
    """Compare every flow with the catchments' own rain, or with the areal mean of their patches.

    ``rest`` holds the store's series and ``patch_weight``; grids are read from the unfinished ``store``.
    """
    flows = [rest[name] for name in quality.named("river_flow", "series")]
    if not flows:
        return
    own, gridded = (quality.named("precipitation", kind) for kind in ("series", "grid"))
    if own:
        rain = rest[own[0]]
    elif gridded and patches is not None:
        rain = areal_mean(gridded[0], store, patches, rest["patch_weight"]).assign_coords(time=flows[0]["time"])
    else:
        return
    for flow in flows:
        quality.runoff(quality.in_mm(flow), quality.in_mm(rain))


def areal_mean(name: str, store: Path, patches: Patches, weight: xr.DataArray) -> xr.DataArray:
    """Return the mean of a grid over the patches of each catchment ``(catchment, time)``; NaN if one has no value."""
    array = zarr.open_array(store / name, mode="r")
    stored = xr.DataArray(da.from_zarr(array, chunks=array.shards), dims=("time", "y", "x"))
    height, width = patches.size
    with write.computing(f"Rain of the catchments from {name}"):
        means = stored.coarsen(y=height, x=width).mean().to_numpy()
    by_patch = means.reshape(len(means), -1)
    shares = weight.values.T
    absent = np.isnan(by_patch)
    rain = np.where(absent, 0, by_patch) @ shares
    rain[(absent.astype(np.float32) @ (shares > 0).astype(np.float32)) > 0] = np.nan
    return xr.DataArray(rain.T, dims=("catchment", "time"), coords={"catchment": weight["catchment"]}, name=name)
