"""What every Zarr store of watercli has in common, whatever it holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import zarr
from zarr.codecs import BloscCodec

COMPRESSORS = (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),)


def consolidate(store: Path) -> None:
    """Consolidate the metadata, so that ``xarray.open_zarr`` opens the store in one read, without a warning."""
    for torn in store.rglob("*.partial"):  # Zarr's, of workers that were killed while they wrote
        torn.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are an extension of Zarr v3, which xarray reads
        zarr.consolidate_metadata(store)


def zarr_with(*attributes: str) -> Callable[[Path], bool]:
    """Return a test whether a folder is a Zarr group whose root has these attributes."""

    def is_own(path: Path) -> bool:
        try:
            present = zarr.open_group(path, mode="r").attrs
        except Exception:
            return False
        return all(name in present for name in attributes)

    return is_own
