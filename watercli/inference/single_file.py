"""Exports as one file, where the output's name asks for it: netCDF (``.nc``) or CSV (``.csv``).

The file appears when it is whole. An interruption leaves nothing, and the same command starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd

from watercli.errors import ConfigError
from watercli.inference.export import Arrays, Blocks
from watercli.inference.formats import TABLES, row_labels, value_columns
from watercli.inference.layout import Layout
from watercli.log import track
from watercli.output.atomic import Target, existing_parent, written_file

SUFFIXES = (".nc", ".csv")


def is_asked_for(out: Path) -> bool:
    """Return whether an output's name is that of one file."""
    return out.suffix.lower() in SUFFIXES


def opener(out: Path) -> str:
    """Return the Python that opens a file."""
    return f"xarray.open_dataset('{out}')" if out.suffix.lower() == ".nc" else f"pandas.read_csv('{out}')"


def check(out: Path, overwrite: bool, what: str) -> None:
    """Refuse to write a file where something is that may not be replaced; ``what`` it would hold.

    Raises
    ------
    ConfigError
        If there is a file and ``overwrite`` is off, or no file can be there.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; give another --out")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; give another --out, or --overwrite to replace it")
    if not out.exists():
        Target(out, overwrite, what, lambda _: False).check()


def write(blocks: Blocks, out: Path, description: str) -> Path:
    """Write an export into one file, block by block; a progress bar shows the ``description``.

    Raises
    ------
    ConfigError
        If a CSV is asked for of arrays of catchments and of patches, which have rows of their own.
    """
    writer: Callable[[Path, Layout, Iterator[Arrays]], None]
    writer = _netcdf if out.suffix.lower() == ".nc" else _csv
    existing_parent(out).joinpath(out.parent).mkdir(parents=True, exist_ok=True)
    with written_file(out) as partial:
        writer(partial, blocks.layout, (blocks(number) for number in track(range(blocks.layout.blocks), description)))
    return out


def _netcdf(path: Path, layout: Layout, blocks: Iterator[Arrays]) -> None:
    """Write labels and arrays as CF netCDF, compressed."""
    layout.labels.to_netcdf(path, engine="netcdf4")
    with netCDF4.Dataset(path, "a") as file:
        for name, array in layout.arrays.items():
            for dim, size in zip(array.dims, array.shape, strict=True):
                if dim not in file.dimensions:
                    file.createDimension(dim, size)
            fill = np.nan if array.dtype.startswith("float") else None
            variable = file.createVariable(name, array.dtype, array.dims, compression="zlib", fill_value=fill)
            variable.setncatts(array.attrs)
        for number, arrays in enumerate(blocks):
            for name, values in arrays.items():
                file[name][:, layout.block(number)] = values


def _csv(path: Path, layout: Layout, blocks: Iterator[Arrays]) -> None:
    """Write one row for each date and catchment, as the Parquet tables have them."""
    if any("lead_time" in array.dims for array in layout.arrays.values()):
        raise ConfigError("One CSV cannot hold an archive of forecasts; write .nc or a Zarr store")
    places = {array.dims[0] for array in layout.arrays.values()}
    if len(places) > 1:
        raise ConfigError(f"One CSV cannot hold {' and '.join(TABLES[place] for place in sorted(places))}; "
                          "write .nc, or leave embed.patches out")  # fmt: skip
    (place,) = places
    for number, arrays in enumerate(blocks):
        labels = layout.labels.isel(time=layout.block(number))
        columns = row_labels(labels, place)
        for name, values in arrays.items():
            columns |= value_columns(name, values, layout.arrays[name].dims, labels)
        pd.DataFrame(columns).to_csv(path, mode="a", header=number == 0, index=False)
