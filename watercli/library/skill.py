"""The skill of a model by kinds of catchments, from an evaluation of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from watercli.errors import ConfigError, WatercliError
from watercli.log import log
from watercli.run.checkpoint import Checkpoint
from watercli.store import GROUP, Store

AREAS = (100.0, 1000.0)
"""Bounds between small, middling and large catchments, in km2."""
ARIDITIES = (0.5, 1.0)
"""Bounds between wet, moderate and dry climates: potential evaporation over precipitation."""
NEEDED = {"run", "riverflow", "splits", "scored_split"}
"""What is read of ``results.json``."""
REGIONS = 4
"""Regions by place, where the store has no groups of gauges."""


@dataclass(frozen=True)
class Kind:
    """How catchments fall into classes."""

    what: str
    classes: list[str]
    number: NDArray[np.int64]
    """Position in ``classes`` of each catchment, ``[C]``."""


def skill(evaluation: Path, checkpoint: Checkpoint, store: Store | None) -> dict[str, Any] | None:
    """Return the median NSE of each method in an evaluation, over all catchments and by kind of catchment.

    None if the folder holds no evaluation of these weights with river flow. The store that was evaluated, if it is
    still there, knows of more kinds.

    Raises
    ------
    ConfigError
        If the store lacks gauges of the evaluation.
    """
    results = _results(evaluation)
    if results is None or results["run"]["weights_fingerprint"] != checkpoint.fingerprint_of_weights():
        return None
    flow = results["riverflow"]
    data = xr.open_zarr(evaluation / "results.zarr").load()
    nse = data["score"].sel(metric="nse")
    scored = nse.isel(catchment=np.flatnonzero(data["days"].values > 0))
    if store is not None and (lacking := set(map(str, scored["catchment"].values)) - set(store.gauge_ids)):
        raise ConfigError(
            f"{store.path} lacks {len(lacking)} of the gauges in {evaluation}, such as {min(lacking)}; name the store "
            "that was evaluated by --store"
        )
    return {
        "target": flow["target"],
        "period": results["splits"][results["scored_split"]],
        "ungauged": flow["ungauged"],
        "main": flow["main_method"],
        "labels": {str(method): str(data["label"].sel({"method": method}).item()) for method in data["method"].values},
        "all": _medians(scored),
        "by": [
            {"what": kind.what, "class": name, **_medians(scored.isel(catchment=np.flatnonzero(kind.number == number)))}
            for kind in _kinds(scored, store)
            for number, name in enumerate(kind.classes)
            if (kind.number == number).any()
        ],
    }


def _results(evaluation: Path) -> dict[str, Any] | None:
    try:
        results: dict[str, Any] = json.loads((evaluation / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not results.keys() >= NEEDED:
        log.warning(
            "The evaluation %s is of another version of watercli, and no part of the card; evaluate again", evaluation
        )
        return None
    return results if results.get("riverflow") else None


def store_of(run: Path) -> Store | None:
    """Return the store of the run, if it is still there."""
    try:
        return Store.open(Path(json.loads((run / "run.json").read_text(encoding="utf-8"))["store"]))
    except (OSError, ValueError, KeyError, WatercliError):
        return None


def _medians(nse: xr.DataArray) -> dict[str, Any]:
    """Return the number of catchments and the median NSE of each method."""
    medians = nse.median("catchment", skipna=True)
    by_method = {str(name): float(median) for name, median in zip(nse["method"].values, medians.values, strict=True)}
    return {
        "catchments": nse.sizes["catchment"],
        "median_nse": {name: round(median, 3) for name, median in by_method.items() if np.isfinite(median)},
    }


def _kinds(scored: xr.DataArray, store: Store | None) -> Iterator[Kind]:
    """Yield how the scored catchments fall into classes: by area, by climate, by region."""
    if "area" in scored.coords:
        yield _between("area (km²)", scored["area"].values, AREAS)
    if store is not None:
        rows = [store.gauge_ids.index(str(gauge)) for gauge in scored["catchment"].values]
        yield from _of_store(store, rows)
    has_groups = store is not None and any(str(name).startswith(GROUP) for name in store.dataset.coords)
    if not has_groups and {"latitude", "longitude"} <= set(scored.coords):
        yield from by_place(scored["latitude"].values, scored["longitude"].values)


def _of_store(store: Store, rows: list[int]) -> Iterator[Kind]:
    if "aridity" in store.attribute_names:
        yield _between("aridity", store.dataset["static"].sel(attribute="aridity").values[rows], ARIDITIES)
    for name in map(str, store.dataset.coords):
        if name.startswith(GROUP):
            groups, number = np.unique(store.dataset[name].values[rows].astype(str), return_inverse=True)
            yield Kind(name.removeprefix(GROUP), [str(group) for group in groups], number)


def _between(what: str, values: NDArray[Any], bounds: tuple[float, float]) -> Kind:
    low, high = bounds
    names = [f"below {low:g}", f"{low:g} to {high:g}", f"above {high:g}", "unknown"]
    return Kind(what, names, np.where(np.isnan(values), 3, np.digitize(values, bounds)))


def by_place(latitude: NDArray[Any], longitude: NDArray[Any]) -> Iterator[Kind]:
    """Yield regions, groups of gauges near each other, by places in degrees ``[C]``; nothing where one has no place."""
    north, east = np.deg2rad(latitude), np.deg2rad(longitude)
    # On the sphere: degrees of longitude shrink towards the poles, and 180 degrees west is 180 degrees east.
    points = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
    if not np.isfinite(points).all() or len(np.unique(points, axis=0)) < REGIONS:
        return
    number = KMeans(REGIONS, n_init=10, random_state=0).fit_predict(points)
    middles = [(latitude[number == region].mean(), longitude[number == region].mean()) for region in range(REGIONS)]
    yield Kind("region", [f"around {_place(north, 'NS')}, {_place(east, 'EW')}" for north, east in middles], number)


def _place(degrees: float, sides: str) -> str:
    return f"{abs(degrees):.1f} {sides[int(degrees < 0)]}"
