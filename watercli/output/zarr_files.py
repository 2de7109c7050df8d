"""What every Zarr store of watercli has in common, whatever it holds."""

from __future__ import annotations

import json
import os
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


def count_files(store: Path) -> dict[str, int]:
    """Return how many files of values each array of a store on disk has; only names are listed."""
    arrays = sorted(path.parent for path in store.glob("*/zarr.json"))
    return {
        array.name: sum(_is_of_values(name) for _, _, files in os.walk(array) for name in files) for array in arrays
    }


def _is_of_values(name: str) -> bool:
    return name != "zarr.json" and not name.endswith(".partial")


def record_files(store: Path) -> None:
    """Keep in a store's attribute ``files`` how many files each array has, so that `lost` can tell of a torn copy."""
    zarr.open_group(store, mode="r+", use_consolidated=False).attrs["files"] = count_files(store)


def lost(store: Path) -> tuple[str, int, int] | None:
    """Return an array of which files were lost, how many are there and how many were written; None if none was."""
    try:
        written = json.loads((store / "zarr.json").read_text(encoding="utf-8"))["attributes"].get("files", {})
    except (OSError, ValueError, KeyError):
        return None  # no store, which whoever opens it says
    present = count_files(store)
    missing = ((name, present.get(name, 0), count) for name, count in written.items() if present.get(name, 0) < count)
    return next(missing, None)


def zarr_with(*attributes: str) -> Callable[[Path], bool]:
    """Return a test whether a folder is a Zarr group whose root has these attributes."""

    def is_own(path: Path) -> bool:
        try:
            present = zarr.open_group(path, mode="r").attrs
        except Exception:
            return False
        return all(name in present for name in attributes)

    return is_own
