"""The formats of an export: how its labels are written, and the arrays of a block.

A block is written whole, by whichever process; what it is written into exists before, and nothing else is touched.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from watercli.errors import ConfigError
from watercli.inference.layout import Layout
from watercli.output import zarr_files
from watercli.output.atomic import write_text, written_file
from watercli.output.manifest import write_manifest

DESCRIPTION = "description.json"
TABLES = {"catchment": "rows", "patch": "patches"}
"""Folder of the Parquet tables whose rows are of catchments, or of patches."""
Arrays = Mapping[str, NDArray[Any]]


class Format(ABC):
    """A way of writing embeddings into a folder."""

    @abstractmethod
    def parts(self, layout: Layout) -> list[str]:
        """Return the names in the folder of what is written block by block."""

    @abstractmethod
    def begin(self, folder: Path, layout: Layout) -> None:
        """Write the labels, and make what the blocks go into; blocks that are there stay."""

    @abstractmethod
    def write(self, folder: Path, layout: Layout, number: int, arrays: Arrays) -> None:
        """Write a block: arrays ``[C, dates, ...]`` by name."""

    @abstractmethod
    def finish(self, folder: Path) -> None:
        """Do what can be done once all blocks are written."""


class ZarrFormat(Format):
    """One Zarr v3 store that xarray opens: arrays in shards of a block, in chunks of some catchments."""

    def parts(self, layout: Layout) -> list[str]:
        """See `Format`."""
        return list(layout.arrays)

    def begin(self, folder: Path, layout: Layout) -> None:
        """See `Format`; arrays of an export that is extended grow."""
        for name in layout.labels.variables:
            shutil.rmtree(folder / str(name), ignore_errors=True)
        zarr_files.write(layout.labels, folder)
        group = zarr.open_group(folder, mode="r+", use_consolidated=False)
        for name, array in layout.arrays.items():
            if name in group:
                held = group[name]
                assert isinstance(held, zarr.Array)
                held.resize(array.shape)
                continue
            group.create_array(
                name,
                shape=array.shape,
                dtype=array.dtype,
                chunks=array.chunks(layout.block_dates),
                shards=array.shards(layout.block_dates),
                compressors=zarr_files.COMPRESSORS,
                fill_value=np.nan if array.dtype.startswith("float") else 0,
                dimension_names=array.dims,
                attributes=array.attrs,
            )

    def write(self, folder: Path, layout: Layout, number: int, arrays: Arrays) -> None:
        """See `Format`."""
        group = zarr.open_group(folder, mode="r+", use_consolidated=False)
        for name, values in arrays.items():
            array = group[name]
            assert isinstance(array, zarr.Array)
            array[:, layout.block(number)] = values

    def finish(self, folder: Path) -> None:
        """See `Format`: consolidate the metadata, and record what was written."""
        zarr_files.finish(folder)


class ParquetFormat(Format):
    """Tables: ``rows``, one row for each date and catchment; ``patches``; and small tables beside them.

    A number of an embedding has a column of its own, as in ``precip.0.last.12``: modality, feature map, pooling,
    channel. Those of layers begin with ``layer``, decoder states with ``decoder_state``.
    """

    def parts(self, layout: Layout) -> list[str]:
        """See `Format`."""
        return list(dict.fromkeys(TABLES[array.dims[0]] for array in layout.arrays.values()))

    def begin(self, folder: Path, layout: Layout) -> None:
        """See `Format`."""
        _pyarrow()
        for part in self.parts(layout):
            (folder / part).mkdir(parents=True, exist_ok=True)
        labels = layout.labels
        catchments = labels[[name for name in labels.variables if labels[name].dims == ("catchment",)]]
        _save(catchments.to_dataframe().reset_index(), folder / "catchments.parquet")
        if "layer_weight" in labels:
            weights = labels["layer_weight"].to_dataframe().reset_index()
            _save(weights[np.isfinite(weights["layer_weight"])], folder / "layer_weights.parquet")
        about = labels.attrs | {"dates": len(layout.dates)}
        about |= {name: labels[name].attrs for name in ("flags", "split", "gauge_role")}
        write_text(folder / DESCRIPTION, json.dumps(about, indent=1))

    def write(self, folder: Path, layout: Layout, number: int, arrays: Arrays) -> None:
        """See `Format`."""
        pyarrow = _pyarrow()
        labels = layout.labels.isel(time=layout.block(number))
        for part in self.parts(layout):
            names = [name for name in arrays if TABLES[layout.arrays[name].dims[0]] == part]
            columns = row_labels(labels, layout.arrays[names[0]].dims[0])
            for name in names:
                columns |= value_columns(name, arrays[name], layout.arrays[name].dims, labels)
            _save(pyarrow.table(columns), folder / part / f"part-{number:06d}.parquet")

    def finish(self, folder: Path) -> None:
        """See `Format`: record what was written."""
        write_manifest(folder)


FORMATS: dict[str, Format] = {"zarr": ZarrFormat(), "parquet": ParquetFormat()}


def format_of(folder: Path) -> str | None:
    """Return the name of the format of the embeddings in a folder; None if it holds none of watercli's."""
    if description(folder):
        return "parquet"
    try:
        return "zarr" if "embeddings_schema_version" in zarr.open_group(folder, mode="r").attrs else None
    except Exception:
        return None


def is_export(folder: Path) -> bool:
    """Return whether a folder holds embeddings of watercli."""
    return format_of(folder) is not None


def description(folder: Path) -> dict[str, Any]:
    """Return the attributes of Parquet tables of embeddings; empty if there are none."""
    try:
        attributes: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return attributes if "embeddings_schema_version" in attributes else {}


def row_labels(labels: xr.Dataset, place: str) -> dict[str, NDArray[Any]]:
    """Return the columns that say which row is which: dates one after the other, all places of each."""
    dates, places = labels["time"].values, labels[place].values
    columns = {
        place: np.tile(places, len(dates)),
        "time": np.repeat(dates.astype("datetime64[ms]"), len(places)),
        "split": np.repeat(labels["split"].values, len(places)),
    }
    if place == "catchment" and "flags" in labels:  # which embeddings have
        columns["flags"] = labels["flags"].values.T.ravel()
        for name in ("window_start", "window_end"):
            columns[name] = np.repeat(labels[name].values.astype("datetime64[ms]"), len(places))
    return columns


def value_columns(
    name: str, values: NDArray[Any], dims: tuple[str, ...], labels: xr.Dataset
) -> dict[str, NDArray[Any]]:
    """Return a column for each number that belongs to a date and place, of values ``[places, dates, ...]``."""
    first = {"layer_embedding": "layer.", "embedding": "", "patch_embedding": ""}.get(name, f"{name}.")
    rows = values.swapaxes(0, 1).reshape(values.shape[0] * values.shape[1], -1)
    names = [first]
    for dim, size in zip(dims[2:], values.shape[2:], strict=True):
        own = labels[dim].values if dim in labels.coords else range(size)
        names = [f"{prefix}{label}." for prefix in names for label in own]
    return {column.rstrip("."): values for column, values in zip(names, rows.T, strict=True)}


def _save(table: Any, path: Path) -> None:
    """Write a table to a file that appears whole or not at all."""
    pyarrow = _pyarrow()
    if not isinstance(table, pyarrow.Table):
        table = pyarrow.Table.from_pandas(table, preserve_index=False)
    with written_file(path) as partial:
        pyarrow.parquet.write_table(table, partial, compression="zstd", write_page_checksum=True)


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet is written with pyarrow, which is not installed: pip install 'watercli[parquet]', or leave "
            "embed.format at zarr"
        ) from error
    return pyarrow
