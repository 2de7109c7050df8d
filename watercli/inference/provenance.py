"""What a run knows of a store: which gauges and dates it was trained on, and what is new to it.

Shapes: C catchments, N dates, A attributes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.config import Splits, difference
from watercli.data.windows import Indices
from watercli.errors import ConfigError
from watercli.log import log
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

SPLITS = ("none", "train", "validation", "test")
ROLES = ("new", "trained", "held_out")
"""Of a gauge: not in the store of the training; took part in it; in it, but its target was hidden from training."""
Flags = NDArray[np.bool_]


def kinship(checkpoint: Checkpoint, store: Store) -> Literal["same", "extended", "other"]:
    """Return whether a store is the one that a run was trained on, that one with later days, or another."""
    if checkpoint.fingerprint == store.fingerprint:
        return "same"
    return "extended" if checkpoint.fingerprint in store.dataset.attrs.get("ancestry", ()) else "other"


def changes(checkpoint: Checkpoint, store: Store) -> str:
    """Return in words how a store differs from the one that the run was trained on; empty if it does not."""
    relation = kinship(checkpoint, store)
    if relation == "same":
        return ""
    if relation == "extended":
        return "the store of the training, with later days"
    trained, here = (
        config.recipe.model_dump(mode="json") if config.recipe else {} for config in (checkpoint.config, store.config)
    )
    differing = difference(trained, here, prefix="recipe.")
    new = set(store.gauge_ids) - set(trained_gauges(checkpoint, store))
    if new:
        differing.append(f"{len(new)} of {len(store.gauge_ids)} gauges are new")
    absent = [name for name in checkpoint.config.modalities if name not in store.config.modalities]
    differing += [f"'{name}' is absent" for name in absent]
    shown = "; ".join(differing[:3]) + ("; ..." if len(differing) > 3 else "")
    return "another store than that of the training" + (f" ({shown})" if shown else ", of the same recipe")


def check_extends(attributes: Mapping[str, Any], checkpoint: Checkpoint, store: Store, out: Path) -> None:
    """Refuse to extend an export by anything but its own weights, on its own store or that one with later days.

    ``attributes`` are those of the root of the export at ``out``; see `watercli.inference.labels.of_origin`.

    Raises
    ------
    ConfigError
        If weights or store are others.
    """
    if attributes["run_fingerprint"] != checkpoint.fingerprint_of_weights():
        raise ConfigError(
            f"{out} is of other weights (step {attributes['run_step']}, {attributes['run_fingerprint'][:12]}) than "
            f"the run's best checkpoint (step {checkpoint.step}); give the --run that it was made with, or export it "
            "again"
        )
    known = (store.fingerprint, *store.dataset.attrs.get("ancestry", ()))
    if attributes["store_fingerprint"] not in known:
        raise ConfigError(
            f"{store.path} is not the store of {out} with later days ({attributes['store_fingerprint'][:12]} is not "
            "among what it was extended from); export it again with --overwrite"
        )


def trained_gauges(checkpoint: Checkpoint, store: Store) -> tuple[str, ...]:
    """Return the gauges of the store of the training, held-out ones too; empty if they are not recorded."""
    if checkpoint.gauges or kinship(checkpoint, store) == "other":
        return checkpoint.gauges
    return tuple(store.gauge_ids)


def roles(checkpoint: Checkpoint, store: Store, gauges: list[str]) -> NDArray[np.int8]:
    """Return the position in `ROLES` of each gauge, ``[C]``."""
    trained, held_out = set(trained_gauges(checkpoint, store)), set(checkpoint.held_out_gauges)
    return np.array([2 if gauge in held_out else int(gauge in trained) for gauge in gauges], dtype=np.int8)


def splits(checkpoint: Checkpoint, store: Store, dates: Indices) -> NDArray[np.int8]:
    """Return the position in `SPLITS` of each date, ``[N]``.

    The run's own splits come first; of the dates that they leave out, the store's validation and test are so, and its
    training dates are nothing, as the run was not trained on them.
    """
    times = store.times[dates]
    by_store = _positions(Splits.model_validate(json.loads(store.dataset.attrs["splits"])), times)
    by_store[by_store == SPLITS.index("train")] = 0
    own = _own_splits(checkpoint, store)
    known = _positions(own, times) if own is not None else by_store
    return np.where(known > 0, known, by_store).astype(np.int8)


def _own_splits(checkpoint: Checkpoint, store: Store) -> Splits | None:
    if checkpoint.splits:
        return Splits.model_validate(checkpoint.splits)
    if kinship(checkpoint, store) == "same":
        return Splits.model_validate(json.loads(store.dataset.attrs["splits"]))
    return checkpoint.config.recipe.splits if checkpoint.config.recipe else None


def _positions(of: Splits, times: pd.DatetimeIndex) -> NDArray[np.int8]:
    positions = np.zeros(len(times), dtype=np.int8)
    for number, name in enumerate(SPLITS[1:], start=1):
        period = getattr(of, name)
        positions[(times >= pd.Timestamp(period.start)) & (times <= pd.Timestamp(period.end))] = number
    return positions


def outside(checkpoint: Checkpoint, store: Store, catchments: Indices) -> Flags | None:
    """Return which attributes lie beyond all that the run was trained on, ``[C, A]``; None if it did not record it."""
    scales = list(checkpoint.scaling.attributes.values())
    if scales and all(scale.least is None or scale.most is None for scale in scales):
        return np.zeros((len(catchments), len(scales)), dtype=bool) if kinship(checkpoint, store) != "other" else None
    values = store.dataset["static"].values[catchments]
    # No range, None, becomes NaN: nothing lies outside it.
    least, most = (np.array([getattr(scale, end) for scale in scales], dtype=values.dtype) for end in ("least", "most"))
    outside_range: Flags = (values < least) | (values > most)
    return outside_range


def log_novelty(checkpoint: Checkpoint, store: Store, catchments: Indices) -> None:
    """Log what of a store is new to a run: another store, new gauges, attributes beyond those of the training."""
    relation = kinship(checkpoint, store)
    if relation != "same":
        log.log(
            logging.INFO if relation == "extended" else logging.WARNING,
            "%s is %s",
            store.path,
            changes(checkpoint, store),
        )
    gauges = [store.gauge_ids[number] for number in catchments]
    if relation == "other" and not checkpoint.gauges:
        log.warning("The checkpoint does not record its gauges: all %d count as new to the run", len(gauges))
    new = [gauge for gauge, role in zip(gauges, roles(checkpoint, store, gauges), strict=True) if role == 0]
    if new and checkpoint.gauges:
        log.warning("%d of %d gauges were not in training (%s)", len(new), len(gauges), _some(new))
    beyond = outside(checkpoint, store, catchments)
    if beyond is None:
        log.warning("The checkpoint does not record the range of its attributes: what lies outside it is not flagged")
    elif beyond.any():
        names = np.array(list(checkpoint.scaling.attributes))
        which = [f"{gauges[number]}: {', '.join(names[beyond[number]])}" for number in np.flatnonzero(beyond.any(1))]
        log.warning(
            "%d of %d gauges have attributes outside the range of the training (%s): "
            "the model takes the nearest value in it",
            len(which),
            len(gauges),
            _some(which, "; "),
        )


def _some(names: list[str], between: str = ", ") -> str:
    return between.join(names[:5]) + (", ..." if len(names) > 5 else "")
