"""What every Zarr store of watercli has in common, whatever it holds.

Chunks and the indices of shards carry checksums (CRC-32C), which Zarr compares whenever it reads one: anyone's Zarr.
Importing this module has errors in reading name the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline
from zarr.storage import StorePath

from watercli.errors import DataError
from watercli.output.manifest import NAME, check_manifest, write_manifest

COMPRESSORS = (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec())


class NamingPipeline(BatchedCodecPipeline):
    """Zarr's own way of reading chunks, whose errors name the array and the file."""

    async def read_batch(self, batch_info: Iterable[Any], *given: Any, **named: Any) -> None:
        """Read chunks.

        Raises
        ------
        DataError
            If a file does not hold what was written, or cannot be read.
        """
        chunks = list(batch_info)
        try:
            await super().read_batch(chunks, *given, **named)
        except (ValueError, RuntimeError, TypeError, OSError, EOFError) as error:
            if not isinstance(place := chunks[0][0], StorePath):
                raise  # a chunk within a shard: the reading of the shard names its file
            raise DataError(_damaged(place, error)) from error


register_pipeline(NamingPipeline)
zarr.config.set({"codec_pipeline.path": f"{NamingPipeline.__module__}.{NamingPipeline.__qualname__}"})


def _damaged(place: StorePath, error: Exception) -> str:
    array = place.path.partition("/c/")[0].removesuffix("/c").rpartition("/")[2]
    file = Path(str(getattr(place.store, "root", place.store))) / place.path
    reason = (isinstance(error, OSError) and error.strerror) or "it does not hold what was written"
    return f"{file} of array '{array}' cannot be read ({reason}); copy it again, or make it again"


def write(dataset: xr.Dataset, store: Path) -> None:
    """Write variables and attributes into a store that is being made; every chunk gets a checksum."""
    encoding = {str(name): {"compressors": COMPRESSORS} for name in dataset.variables}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strings have no place yet in the Zarr v3 specification; xarray reads them
        dataset.to_zarr(store, mode="a", zarr_format=3, consolidated=False, encoding=encoding)


def unfinish(store: Path) -> None:
    """Take away the manifest of a store that is to be altered; `finish` makes another."""
    (store / NAME).unlink(missing_ok=True)


def finish(store: Path) -> None:
    """Consolidate the metadata, so that ``xarray.open_zarr`` opens the store in one read, and write its manifest."""
    for torn in store.rglob("*.partial"):  # Zarr's, of workers that were killed while they wrote
        torn.unlink()
    unfinish(store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are an extension of Zarr v3, which xarray reads
        zarr.consolidate_metadata(store)
    write_manifest(store)


def open_checked(store: Path) -> xr.Dataset:
    """Open a Zarr store lazily, after comparing it with its manifest if it has one.

    Raises
    ------
    DataError
        If it is none, or not as it was written.
    """
    check_manifest(store)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset: xr.Dataset = xr.open_zarr(store, consolidated=None, mask_and_scale=True)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{store} is no Zarr store; make a store with 'watercli prepare'") from error
    return dataset


def zarr_with(*attributes: str) -> Callable[[Path], bool]:
    """Return a test whether a folder is a Zarr group whose root has these attributes."""

    def is_own(path: Path) -> bool:
        try:
            present = zarr.open_group(path, mode="r").attrs
        except Exception:
            return False
        return all(name in present for name in attributes)

    return is_own
