"""Which stores a run can be used with: those that have its modalities, attributes, grid and scale of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from watercli.errors import ConfigError
from watercli.run.checkpoint import Checkpoint
from watercli.store import SERIES_DIMS, Store

FAR_MEANS = 3.0
"""Standard deviations between two training means, beyond which the values are of another kind."""


def check_fits(checkpoint: Checkpoint, store: Store, excluded: Sequence[str] = ()) -> None:
    """Refuse a store that the run was not made for.

    A series among the ``excluded`` inputs may be absent, as the encoder would not see it anyway, and so may an optional
    one, which has ``dropout``.

    Raises
    ------
    ConfigError
        If modalities, attributes, grid or the scale of the values differ; the message names what.
    """
    for name, modality in checkpoint.config.modalities.items():
        held = store.config.modalities.get(name)
        if held is None and modality.kind == "series" and (name in excluded or modality.dropout):
            continue
        if held is None or held.kind != modality.kind or held.units != modality.units:
            state = "absent" if held is None else f"a {held.kind} in {held.units}"
            raise ConfigError(
                f"The run's modality '{name}' ({modality.kind}, {modality.units}) is {state} in {store.path}; "
                "give the store that the run was trained on"
            )
    if checkpoint.grid is not None:
        grid = (store.grid_shape, store.patch_size, tuple(int(patch) for patch in store.land_patches))
        if grid != (checkpoint.grid.shape, checkpoint.grid.patch_size, checkpoint.grid.land_patches):
            raise ConfigError(
                f"The run's grid {checkpoint.grid.shape} in patches of {checkpoint.grid.patch_size} is not that of "
                f"{store.path}, {store.grid_shape} in patches of {store.patch_size}, or its land differs"
            )
    _check_attributes(checkpoint, store)
    _check_statistics(checkpoint, store, excluded)


def _check_attributes(checkpoint: Checkpoint, store: Store) -> None:
    missing = np.isnan(checkpoint.scaling.static(store))
    if not missing.any() or checkpoint.structure.attribute_flags:
        return
    catchment, attribute = np.argwhere(missing)[0]
    raise ConfigError(
        f"Gauge {store.gauge_ids[catchment]} of {store.path} lacks '{store.attribute_names[attribute]}', and the run "
        "was trained with no attribute missing; train with train.attribute_dropout, or prepare with "
        "recipe.catchments.on_missing=drop"
    )


def _check_statistics(checkpoint: Checkpoint, store: Store, excluded: Sequence[str]) -> None:
    for name, scale in checkpoint.scaling.modalities.items():
        if name in excluded or name not in store.config.modalities:
            continue
        mean, std = store.statistics(name, scale.transform)
        if not math.isfinite(std):
            continue  # not one value in the training period: nothing to compare
        if abs(mean - scale.mean) > FAR_MEANS * scale.std or not 0.1 < std / scale.std < 10:
            after = "" if scale.transform == "identity" else f" after {scale.transform}"
            raise ConfigError(
                f"'{name}' in {store.path} has mean {mean:.3g} and standard deviation {std:.3g}{after} over its "
                f"training period, against {scale.mean:.3g} and {scale.std:.3g} of the run; check its units and source"
            )


def with_absent_series(checkpoint: Checkpoint, store: Store) -> Store:
    """Return the store, with NaN for the series of the run that it lacks."""
    absent = [name for name in checkpoint.config.modalities if name not in store.dataset]
    if not absent:
        return store
    missing = np.full([store.dataset.sizes[dim] for dim in SERIES_DIMS], np.nan, dtype=np.float32)
    return replace(store, dataset=store.dataset.assign(dict.fromkeys(absent, (SERIES_DIMS, missing))))
