"""Writing a store: under a temporary name beside its own, renamed when whole.

The temporary name holds machine and process, so that what a killed process left can be told from what a living
one still writes.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
import zarr
from dask.callbacks import Callback
from dask.system import CPU_COUNT
from zarr.codecs import BloscCodec

from watercli.errors import ConfigError
from watercli.log import log, progress

CHUNK_DAYS = 10
"""Days of a grid's chunk: 8 to 10 suited random windows best when measured (188 windows/s; 30 days: 125)."""
SHARD_DAYS = 360
"""Days of a grid's shard, so that decades are tens of files, not thousands."""
OWN_ATTRIBUTES = ("schema_version", "fingerprint", "watercli_version")
"""Root attributes by which a folder is known to be a store of watercli."""


def check_target(out: Path, overwrite: bool) -> None:
    """Refuse to write where something is that may not be replaced.

    Raises
    ------
    ConfigError
        If ``out`` exists and ``overwrite`` is off, or it is no store of watercli.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise ConfigError(f"{out} exists; give another --out, or --overwrite to replace it")
    if not is_own(out):
        raise ConfigError(f"{out} is no store of watercli, and --overwrite replaces nothing else; give another --out")


def is_own(path: Path) -> bool:
    """Whether ``path`` is a folder that watercli wrote as a store."""
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        attributes = zarr.open_group(path, mode="r").attrs
    except Exception:
        return False
    return all(name in attributes for name in OWN_ATTRIBUTES)


@contextmanager
def replacing(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder's path; on a clean exit it becomes ``out``, on any other it is removed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(out)
    mark = f"{socket.gethostname()}-{os.getpid()}"
    partial, replaced = (out.with_name(f".{out.name}.{kind}-{mark}") for kind in ("partial", "replaced"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        check_target(out, overwrite)  # something may have come into being since
        if out.exists():
            out.rename(replaced)
        try:
            partial.rename(out)
        except BaseException:
            if replaced.exists():
                replaced.rename(out)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if out.exists():
            shutil.rmtree(replaced, ignore_errors=True)


def _remove_stale(out: Path) -> None:
    """Remove what processes of this machine that no longer live left beside ``out``."""
    name, host = re.escape(out.name), re.escape(socket.gethostname())
    pattern = re.compile(rf"\.{name}\.(partial|replaced)-{host}-(\d+)")
    for path in out.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match is None or _alive(int(match[2])):
            continue
        # A replaced store is the only copy if the process died between its two renames.
        if match[1] == "partial" or out.exists():
            log.info("Removing %s, left by a process that ended", path)
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
    encoding = {str(name): _encoding(data) for name, data in dataset.variables.items()}
    dataset.to_zarr(partial, mode="a", zarr_format=3, consolidated=False, encoding=encoding)


def _encoding(data: xr.Variable) -> dict[str, Any]:
    """Return chunks and compression: grids in shards, all else in one piece."""
    if data.dtype.kind == "O" or not data.ndim:
        return {}
    compressors = [BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")]
    if data.dtype.kind == "M":
        days = {
            "units": f"days since {np.datetime_as_string(data.values[0], unit='D')}",
            "calendar": "standard",
            "dtype": "int64",
        }
        return days | {"chunks": data.shape, "compressors": compressors}
    fill: dict[str, Any] = {"_FillValue": np.float32(np.nan)} if data.dtype == np.float32 else {}
    if data.dims == ("time", "y", "x"):
        shard = grid_shard(data.shape[0])
        chunks, shards = ((days, *data.shape[1:]) for days in (CHUNK_DAYS, shard))
        return fill | {"chunks": chunks, "shards": shards, "compressors": compressors}
    return fill | {"chunks": data.shape, "compressors": compressors}


def grid_shard(days: int) -> int:
    """Return the days of a shard: whole chunks, no more than the record needs."""
    return min(SHARD_DAYS, -(-days // CHUNK_DAYS) * CHUNK_DAYS)


def finish(partial: Path) -> None:
    """Consolidate the metadata, so that ``xarray.open_zarr`` opens the store in one read, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are an extension of Zarr v3, which xarray reads
        zarr.consolidate_metadata(partial)
