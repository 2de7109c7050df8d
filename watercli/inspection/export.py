"""What ``watercli inspect`` says of embeddings and simulations, whole or half-made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from watercli.inference.formats import description
from watercli.inference.provenance import ROLES
from watercli.output.resumable import Work
from watercli.output.sizes import in_bytes

COMMANDS = {"embeddings": "embed", "simulation": "simulate"}
"""What makes each."""


def is_tables(path: Path) -> bool:
    """Return whether Parquet tables of embeddings lie at a path."""
    return bool(description(path))


def show_tables(path: Path, console: Console) -> None:
    """Print what Parquet tables of embeddings hold."""
    import pyarrow.parquet

    about, rows = description(path), sorted((path / "rows").glob("*.parquet"))
    columns = pyarrow.parquet.read_schema(rows[0]).names
    catchments = pyarrow.parquet.read_metadata(path / "catchments.parquet").num_rows
    console.print(
        f"Embeddings {path}: Parquet tables of {catchments} catchments, {about['dates']} dates, windows of "
        f"{about['window_days']} days, {len(columns)} columns in {path / 'rows'}"
    )
    _origin(about, console)
    console.print(f"Parquet files: {len(rows)}, {in_bytes(sum(file.stat().st_size for file in rows))}")


def show(path: Path, dataset: xr.Dataset, console: Console) -> None:
    """Print what a Zarr store of embeddings holds."""
    times, attributes = dataset["time"].values, dataset.attrs
    console.print(
        f"Embeddings {path}: {dataset.sizes['catchment']} catchments, {len(times)} dates from "
        f"{str(times[0])[:10]} to {str(times[-1])[:10]}, windows of {attributes['window_days']} days"
    )
    _origin(attributes, console)
    _gauges(dataset, console)
    arrays = Table("variable", "dims", "sizes", "numbers", "size", caption="before compression")
    for name, variable in dataset.data_vars.items():
        if str(name).endswith("embedding"):
            sizes, dims = (" x ".join(map(str, items)) for items in (variable.shape, variable.dims))
            arrays.add_row(str(name), dims, sizes, str(variable.dtype), in_bytes(variable.nbytes))
    console.print(arrays)
    if "layer_weight" in dataset:
        console.print(_layers(dataset))


def show_simulation(path: Path, dataset: xr.Dataset, console: Console) -> None:
    """Print what a Zarr store of simulated flow holds."""
    times, (target,) = dataset["time"].values, dataset.attrs["excluded_inputs"]
    flow = dataset[target]
    what, units = flow.attrs["long_name"].capitalize(), flow.attrs["units"]
    console.print(
        f"{what} {path}: {dataset.sizes['catchment']} catchments, {len(times)} dates from {str(times[0])[:10]} to "
        f"{str(times[-1])[:10]}, in {units}"
    )
    _origin(dataset.attrs, console)
    _gauges(dataset, console)
    known = dataset["input_available"].mean(("catchment", "time")).to_series()
    console.print("Days with a value of: " + ", ".join(f"{name} {share:.1%}" for name, share in known.items()))
    console.print(f"Days without an answer: {float(np.isnan(flow).mean()):.1%}")


def _gauges(dataset: xr.Dataset, console: Console) -> None:
    if "gauge_role" in dataset:
        numbers = np.bincount(dataset["gauge_role"].values, minlength=len(ROLES))
        console.print("Gauges: " + ", ".join(f"{number} {role}" for number, role in zip(numbers, ROLES, strict=True)))


def _origin(attributes: dict[str, Any], console: Console) -> None:
    excluded = ", ".join(attributes["excluded_inputs"]) or "none"
    later = "nothing after a date is seen" if attributes.get("causal", 1) else "windows lie around their dates"
    console.print(f"Inputs excluded: {excluded}; weights {attributes['run_fingerprint'][:12]}; {later}")
    if attributes.get("store_changed"):
        console.print(f"They are of {attributes['store_changed']}")


def _layers(dataset: xr.Dataset) -> Table:
    table = Table("modality", "map", *(f"layer {layer}" for layer in range(dataset.sizes["layer"])))
    for name in dataset["modality"].values:
        for number, weights in enumerate(dataset["layer_weight"].sel(modality=name).values):
            table.add_row(str(name), str(number), *("" if w != w else f"{w:+.2f}" for w in weights))
    return table


def describe_half_made(work: Work) -> dict[str, Any]:
    """Return how far an unfinished export has come."""
    state = work.state
    done = max((len(list(marks.iterdir())) for marks in work.folder.glob("blocks/*")), default=0)
    return {
        "path": str(work.folder),
        "finished": False,
        "out": state["out"],
        "begun": state["created"],
        "blocks": {"done": done, "of": state["blocks"]},
        "bytes": sum(file.stat().st_size for file in work.folder.rglob("*") if file.is_file()),
    }


def show_half_made(work: Work, console: Console) -> None:
    """Print how far an unfinished export has come."""
    what, progress = work.state["what"], describe_half_made(work)
    console.print(
        f"Half-made {what} for {progress['out']}: {progress['blocks']['done']} of {progress['blocks']['of']} blocks, "
        f"begun {progress['begun']}"
    )
    console.print(
        f"  {in_bytes(progress['bytes'])} in {work.folder}; the same watercli {COMMANDS[what]} goes on from there"
    )
