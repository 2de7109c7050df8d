"""Which stores a model can be used with: those that have what it cannot do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from watercli.errors import ConfigError
from watercli.run.checkpoint import Checkpoint
from watercli.store import SERIES_DIMS, Store


def check_fits(checkpoint: Checkpoint, store: Store, excluded: Sequence[str] = ()) -> None:
    """Refuse a store that lacks what the model cannot do without.

    Absent may be: the ``excluded`` inputs, which the encoder does not see anyway; modalities that training took as
    absent now and then; attributes, of a model that was trained with missing ones. A store of other names, units or
    attributes is first read by `watercli.run.view.as_read_by`.

    Raises
    ------
    ConfigError
        If a modality, an attribute or the grid differs; the message names it.
    """
    for name, modality in checkpoint.config.modalities.items():
        held = store.config.modalities.get(name)
        if held is None and modality.kind == "series" and (name in excluded or modality.dropout):
            continue
        if held is None or held.kind != modality.kind or held.units != modality.units:
            state = "absent" if held is None else f"a {held.kind} in {held.units}"
            raise ConfigError(
                f"The model's modality '{name}' ({modality.kind}, {modality.units}) is {state} in {store.path}; name "
                f"the store's own with --map {name}=NAME, or prepare a store with it"
            )
    if checkpoint.grid is not None:
        grid = (store.grid_shape, store.patch_size, tuple(int(patch) for patch in store.land_patches))
        if grid != (checkpoint.grid.shape, checkpoint.grid.patch_size, checkpoint.grid.land_patches):
            raise ConfigError(
                f"The model's grid {checkpoint.grid.shape} in patches of {checkpoint.grid.patch_size} is not that of "
                f"{store.path}, {store.grid_shape} in patches of {store.patch_size}, or its land differs; give a store "
                "of its grid, or a model of catchment series alone"
            )
    _check_attributes(checkpoint, store)


def _check_attributes(checkpoint: Checkpoint, store: Store) -> None:
    missing = np.isnan(checkpoint.scaling.static(store))
    if not missing.any() or checkpoint.structure.attribute_flags:
        return
    catchment, attribute = np.argwhere(missing)[0]
    name = store.attribute_names[attribute]
    raise ConfigError(
        f"Gauge {store.gauge_ids[catchment]} of {store.path} lacks '{name}', and the run was trained with no attribute "
        f"missing; name the store's own with --map {name}=NAME, or train with train.attribute_dropout"
    )


def with_absent_series(checkpoint: Checkpoint, store: Store) -> Store:
    """Return the store, with NaN for the series of the model that it lacks."""
    absent = [name for name in checkpoint.config.modalities if name not in store.dataset]
    if not absent:
        return store
    missing = np.full([store.dataset.sizes[dim] for dim in SERIES_DIMS], np.nan, dtype=np.float32)
    return replace(store, dataset=store.dataset.assign(dict.fromkeys(absent, (SERIES_DIMS, missing))))
