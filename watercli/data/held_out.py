"""The gauges that a run holds out, so that it is evaluated as in ungauged basins.

Shapes: C catchments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli.config import Config, HeldOutGauges
from watercli.errors import ConfigError, nearest
from watercli.store import GROUP, Store

SETTING = "train.held_out_gauges"
SHOWN = 6
"""Classes that a message names at most."""


def held_out_catchments(store: Store, config: Config) -> NDArray[np.bool_]:
    """Return which catchments' series ``train.held_out_gauges`` holds out, ``[C]``.

    Raises
    ------
    ConfigError
        If it names a gauge, a group or a fold that the store lacks, or a fold without a gauge.
    """
    settings = config.train.held_out_gauges
    if settings is None:
        return np.zeros(len(store.gauge_ids), dtype=bool)
    if settings.fold is None:
        return _named(store, settings)
    held_out: NDArray[np.bool_] = _folds(store, settings) == settings.fold
    if not held_out.any():
        raise ConfigError(
            f"Setting '{SETTING}' holds out none of the {len(held_out)} gauges of {store.path}, as it asks for "
            f"{settings.folds} folds; ask for at most {len(held_out)}"
        )
    return held_out


def _named(store: Store, settings: HeldOutGauges) -> NDArray[np.bool_]:
    for gauge in settings.gauges:
        if gauge not in store.gauge_ids:
            raise ConfigError(f"Setting '{SETTING}' names gauge '{gauge}', which {store.path} lacks")
    return np.isin(store.gauge_ids, settings.gauges)


def _folds(store: Store, settings: HeldOutGauges) -> NDArray[np.int64]:
    """Return the fold of each catchment, ``[C]``."""
    if settings.by == "rank":
        # Gauges stand in a store in the order of their numbers.
        return np.arange(len(store.gauge_ids)) % settings.folds
    if settings.by == "region":
        return _regions(store, settings.folds)
    classes, fold = np.unique(_classes(store, settings.by), return_inverse=True)
    assert settings.fold is not None
    if settings.fold >= len(classes):
        raise ConfigError(
            f"Setting '{SETTING}.fold' is {settings.fold}, but '{settings.by}' has {len(classes)} classes in "
            f"{store.path} ({_listed(classes)}); the first is fold 0"
        )
    return fold.astype(np.int64)


def _classes(store: Store, by: str) -> NDArray[Any]:
    """Return the group or attribute ``by`` of each catchment, ``[C]``."""
    if f"{GROUP}{by}" in store.dataset.coords:
        return store.dataset[f"{GROUP}{by}"].values.astype(str)
    if by in store.attribute_names:
        values: NDArray[Any] = store.dataset["static"].sel(attribute=by).values
        if np.isnan(values).any():
            raise ConfigError(
                f"Setting '{SETTING}.by' is '{by}', which {np.isnan(values).sum()} gauges of {store.path} lack; name "
                "an attribute or group that all have"
            )
        return values
    groups = [str(name).removeprefix(GROUP) for name in store.dataset.coords if str(name).startswith(GROUP)]
    known = ["rank", "region", *groups, *store.attribute_names]
    raise ConfigError(
        f"Setting '{SETTING}.by' is '{by}', which {store.path} lacks{nearest(by, known)}; name rank, region, a static "
        "attribute, or one of recipe.catchments.groups, and prepare the store with it"
    )


def _listed(classes: NDArray[Any]) -> str:
    return ", ".join(map(str, classes[:SHOWN])) + (", ..." if len(classes) > SHOWN else "")


def _regions(store: Store, folds: int) -> NDArray[np.int64]:
    for name in ("latitude", "longitude"):
        if name not in store.dataset:
            raise ConfigError(f"Setting '{SETTING}.by' is region, but {store.path} has no {name} of gauges")
    return regions(store.dataset["latitude"].values, store.dataset["longitude"].values, folds)


def regions(latitude: NDArray[Any], longitude: NDArray[Any], number: int) -> NDArray[np.int64]:
    """Return each gauge's region, ``[C]``: ``number`` regions, as equal in size as can be.

    The gauges are cut in two across the direction in which they spread further, and each half likewise.
    """
    east = np.asarray(longitude, dtype=np.float64) * np.cos(np.deg2rad(np.mean(latitude)))
    points = np.stack([np.asarray(latitude, dtype=np.float64), east], axis=1)
    region = np.zeros(len(points), dtype=np.int64)

    def cut(members: NDArray[np.int64], first: int, parts: int) -> None:
        if parts == 1:
            region[members] = first
            return
        axis = int(np.argmax(np.ptp(points[members], axis=0))) if len(members) else 0
        order = members[np.argsort(points[members, axis], kind="stable")]
        middle = round(len(order) * (parts // 2) / parts)
        cut(order[:middle], first, parts // 2)
        cut(order[middle:], first + parts // 2, parts - parts // 2)

    cut(np.arange(len(points)), 0, number)
    return region
