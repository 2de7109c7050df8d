"""What ``watercli inspect`` says of a store, whole or half-made: as a mapping for programs, as tables for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from rich.console import Console
from rich.table import Table

from watercli.config import parse
from watercli.inspection.gauge_map import gauge_map
from watercli.output.resumable import Work
from watercli.output.sizes import in_bytes
from watercli.store import STATISTICS, Store

YEARS_SHOWN = 12
"""Years of missing shares that fit into a row; of longer records, each stands for several."""


def half_made(path: Path) -> Work | None:
    """Return the unfinished store that ``path`` is, or that is being made for it; None if there is none."""
    work = Work(path) if path.name.endswith(".partial") else Work.beside(path)
    return work if work.state and not (path.exists() and path != work.folder) else None


def describe(path: Path) -> dict[str, Any]:
    """Return what a store holds; everything in it can be written as JSON.

    Raises
    ------
    ConfigError, DataError
        If there is no store of this schema version.
    """
    store = Store.open(path)
    attributes = store.dataset.attrs
    sources = json.loads(attributes["sources"])
    quality = json.loads(attributes.get("quality", "{}"))
    return {
        "path": str(path),
        "finished": True,
        "configuration": store.config.name,
        "fingerprint": store.fingerprint,
        "ancestry": attributes.get("ancestry", []),
        "created": attributes["created"],
        "watercli_version": attributes["watercli_version"],
        "sources": {"files": len(sources), "bytes": sum(int(source["bytes"]) for source in sources)},
        "period": {
            "start": f"{store.times[0]:%Y-%m-%d}",
            "end": f"{store.times[-1]:%Y-%m-%d}",
            "days": len(store.times),
        },
        "splits": json.loads(attributes["splits"]),
        "grid": _grid(store),
        "catchments": store.gauge_ids,
        "attributes": store.attribute_names,
        "modalities": {name: _modality(store, name, quality.get("missing", {})) for name in store.config.modalities},
        "quality": quality.get("findings", {}),
        "earlier_quality": quality.get("earlier_findings", []),
        "set_to_missing": quality.get("set_to_missing", {}),
        "bytes": _size(path),
        "files": sum(file.is_file() for file in path.rglob("*")),
    }


def _grid(store: Store) -> dict[str, Any] | None:
    if store.grid_shape is None:
        return None
    data = store.dataset
    y, x = data["y"], data["x"]
    return {
        "shape": list(store.grid_shape),
        "padding": [int(cells) for cells in data.attrs["padding"]],
        "cell": [float(y[1] - y[0]), float(x[1] - x[0])],
        "units": y.attrs.get("units", ""),
        "crs": data["crs"].attrs.get("projected_crs_name") or data["crs"].attrs.get("geographic_crs_name", ""),
        "patch_size": list(store.patch_size),
        "patches": data.sizes["patch"],
        "land_patches": len(store.land_patches),
    }


def _modality(store: Store, name: str, missing: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    data, modality = store.dataset[name], store.config.modalities[name]
    table = store.dataset["statistics"].sel(variable=name, transform="identity")
    return {
        "kind": modality.kind,
        "units": modality.units,
        "long_name": data.attrs.get("long_name", name),
        "day": data.attrs.get("day", ""),
        "sizes": {str(dim): size for dim, size in data.sizes.items()},
        "chunks": [int(size) for size in data.encoding["chunks"]],
        "shards": [int(size) for size in data.encoding["shards"]] if data.encoding.get("shards") else None,
        "bytes": _size(store.path / name),
        "statistics": {statistic: float(table.sel(statistic=statistic)) for statistic in STATISTICS},
        "missing_by_year": dict(missing.get(name, {})),
    }


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def describe_half_made(work: Work) -> dict[str, Any]:
    """Return how far an unfinished store has come."""
    state = work.state
    grids: dict[str, dict[str, int]] = {}
    for marks in sorted(folder for folder in work.folder.glob("blocks/*") if (work.store / folder.name).is_dir()):
        array = zarr.open_array(work.store / marks.name, mode="r")
        days = (array.shards or array.chunks)[0]
        grids[marks.name] = {"blocks": len(list(marks.glob("*.npz"))), "of": -(-array.shape[0] // days)}
    return {
        "path": str(work.folder),
        "finished": False,
        "out": state.get("out", ""),
        "begun": state["created"],
        "configuration": parse(state["config"], origin=str(work.folder)).name if "config" in state else "",
        "grids": grids,
        "bytes": _size(work.folder),
    }


def show(path: Path, console: Console) -> None:
    """Print what a store holds."""
    store = describe(path)
    period, grid = store["period"], store["grid"]
    console.print(f"Store {path}: configuration '{store['configuration']}', data {store['fingerprint'][:12]}")
    console.print(f"  {period['days']:,} days from {period['start']} to {period['end']}; " + "; ".join(
        f"{name} {split['start']} to {split['end']}" for name, split in store["splits"].items()))  # fmt: skip
    if grid:
        height, width = grid["shape"]
        console.print(
            f"  grid of {height} x {width} cells of {grid['cell'][0]:g} {grid['units']}, {grid['crs']}; "
            f"{grid['land_patches']} of {grid['patches']} patches of {grid['patch_size'][0]} x {grid['patch_size'][1]} "
            "cells are land"
        )
    console.print(f"  {len(store['catchments'])} catchments, {len(store['attributes'])} static attributes")
    console.print(
        f"  {in_bytes(store['bytes'])} in {store['files']} files, of {store['sources']['files']} source files "
        f"({in_bytes(store['sources']['bytes'])}); created {store['created']} by watercli {store['watercli_version']}"
    )
    for number, ancestor in enumerate(store["ancestry"]):
        console.print(f"  {'extended from' if number == 0 else 'and then from'} data {ancestor[:12]}")
    console.print(_table(store["modalities"]))
    if any(modality["missing_by_year"] for modality in store["modalities"].values()):
        console.print(_missing(store["modalities"]))
    for variable, checks in [item for part in (*store["earlier_quality"], store["quality"]) for item in part.items()]:
        said = ", ".join(
            f"{check} ({count['places']} places, {count['days']:,} days)" for check, count in checks.items()
        )
        console.print(f"Quality of {variable}: {said}", highlight=False)
    console.print("\n".join(gauge_map(Store.open(path))), markup=False, highlight=False)


def _table(modalities: Mapping[str, Any]) -> Table:
    table = Table("modality", "kind", "units", "sizes", "mean", "std", "min", "max", "missing", "chunks", "on disk")
    for name, modality in modalities.items():
        statistics = modality["statistics"]
        numbers = (f"{statistics[statistic]:.3g}" for statistic in ("mean", "std", "min", "max"))
        sizes = " x ".join(str(size) for size in modality["sizes"].values())
        chunks = "whole" if modality["shards"] is None else f"{modality['chunks'][0]} of {modality['shards'][0]} days"
        missing = f"{statistics['missing']:.1%}"
        table.add_row(
            name, modality["kind"], modality["units"], sizes, *numbers, missing, chunks, in_bytes(modality["bytes"])
        )
    table.caption = "statistics: of the training period"
    return table


def _missing(modalities: Mapping[str, Any]) -> Table:
    """Return the table of missing shares by year, neighbouring years together where there are many."""
    years = sorted({year for modality in modalities.values() for year in modality["missing_by_year"]})
    step = -(-len(years) // YEARS_SHOWN)
    groups = [years[start : start + step] for start in range(0, len(years), step)]
    labels = [group[0] if len(group) == 1 else f"{group[0]}-{group[-1][2:]}" for group in groups]
    table = Table("missing", *labels)
    for name, modality in modalities.items():
        shares = [
            [modality["missing_by_year"][year] for year in group if year in modality["missing_by_year"]]
            for group in groups
        ]
        table.add_row(name, *(_share(group) for group in shares))
    return table


def _share(shares: Sequence[float]) -> str:
    """Return the mean of shares in per cent, in which a little is not nothing."""
    if not shares:
        return ""
    mean = float(np.mean(shares))
    return f"{mean:.0%}" if mean == 0 or mean >= 0.01 else "<1%"


def show_half_made(work: Work, console: Console) -> None:
    """Print how far an unfinished store has come."""
    progress = describe_half_made(work)
    console.print(
        f"Half-made store for {progress['out']}: configuration '{progress['configuration']}', begun {progress['begun']}"
    )
    for name, grid in progress["grids"].items():
        console.print(f"  {name}: {grid['blocks']} of {grid['of']} blocks")
    console.print(f"  {in_bytes(progress['bytes'])} in {work.folder}; the same watercli prepare goes on from there")
