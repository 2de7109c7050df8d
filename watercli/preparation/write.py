"""Writing a store: chunks, compression, and the progress of the computation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from dask.callbacks import Callback
from dask.system import CPU_COUNT

from watercli.log import progress
from watercli.output.atomic import Target
from watercli.output.zarr_files import COMPRESSORS, zarr_with
from watercli.store import CHUNK_DAYS, FORECAST_DIMS, SHARD_DAYS, grid_shard

OWN_ATTRIBUTES = ("schema_version", "fingerprint", "watercli_version")
"""Root attributes by which a folder is known to be a store of watercli."""


def target(out: Path, overwrite: bool) -> Target:
    """Return where the store goes; only a store may be replaced there."""
    return Target(out, overwrite, "store", zarr_with(*OWN_ATTRIBUTES))


class _Counted(Callback):
    """Counts dask's finished tasks on a progress bar."""

    def __init__(self, description: str) -> None:
        super().__init__(posttask=self._after)  # type: ignore[no-untyped-call]
        self._description = description

    def __enter__(self) -> _Counted:
        self._display = progress()
        self._bar = self._display.__enter__()
        self._task = self._bar.add_task(self._description, total=None)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._display.__exit__(*error)

    def _after(self, key: object, result: object, dsk: object, state: Mapping[str, Any], worker: object) -> None:
        done = len(state["finished"])
        left = sum(len(state[kind]) for kind in ("waiting", "ready", "running"))
        self._bar.update(self._task, completed=done, total=done + left)


@contextmanager
def computing(description: str) -> Iterator[None]:
    """Run dask on threads of our own that all end before this does, so that none writes after a clean-up."""
    pool = ThreadPoolExecutor(max_workers=CPU_COUNT)
    try:
        with dask.config.set(pool=pool), _Counted(description):
            yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def append(partial: Path, dataset: xr.Dataset) -> None:
    """Write variables and attributes of ``dataset`` into the temporary store."""
    dataset.to_zarr(partial, mode="a", zarr_format=3, consolidated=False, encoding=_encodings(dataset))


def create(partial: Path, dataset: xr.Dataset) -> None:
    """Make the arrays of ``dataset`` in the temporary store, without the values of those that are dask's."""
    dataset.to_zarr(partial, mode="a", zarr_format=3, consolidated=False, encoding=_encodings(dataset), compute=False)


def _encodings(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    return {str(name): _encoding(data) for name, data in dataset.variables.items()}


def _encoding(data: xr.Variable) -> dict[str, Any]:
    """Return chunks and compression: grids in shards, forecasts by days of issue, all else in one piece."""
    if data.dtype.kind == "O" or not data.ndim:
        return {"compressors": COMPRESSORS}
    if data.dtype.kind == "M":
        days = {
            "units": f"days since {np.datetime_as_string(data.values[0], unit='D')}",
            "calendar": "standard",
            "dtype": "int64",
        }
        return days | {"chunks": data.shape, "compressors": COMPRESSORS}
    fill: dict[str, Any] = {"_FillValue": np.float32(np.nan)} if data.dtype == np.float32 else {}
    if data.dims == ("time", "y", "x"):
        shard = grid_shard(data.shape[0])
        chunks, shards = ((days, *data.shape[1:]) for days in (CHUNK_DAYS, shard))
        return fill | {"chunks": chunks, "shards": shards, "compressors": COMPRESSORS}
    if data.dims == FORECAST_DIMS:
        catchments, issues, leads = data.shape
        return fill | {"chunks": (catchments, min(issues, SHARD_DAYS), leads), "compressors": COMPRESSORS}
    return fill | {"chunks": data.shape, "compressors": COMPRESSORS}
