"""Fine-tuning: the settings of a training that begins with a parent's weights, and what must hold for it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import MultiModalMAE

from watercli.config import Config, Finetune, Recipe, Splits, difference, with_overrides
from watercli.data.held_out import held_out_catchments
from watercli.errors import ConfigError
from watercli.run.checkpoint import Checkpoint
from watercli.run.compatibility import check_fits
from watercli.run.parent import Parent
from watercli.store import Store

SHOWINGS = 20.0
"""How often fine-tuning shows each day of a catchment, as far as the limits of its steps allow."""
STEPS = (200, 600)
"""Fewest and most steps."""
RATE = 0.2
"""Learning rate, as a share of the parent's."""
PARENT_SHARE = 0.25
"""Share of the parent in the weights that are kept; see docs/results/transfer.md."""
VALIDATIONS = 10
WARMUP = 0.1
"""Share of the steps over which the learning rate rises."""
STRUCTURAL = ("model.", "modalities.", "train.attribute_dropout")
"""Settings on which the shapes of weights may depend."""
MODEL_SIZES = ("model.width", "model.decoder_width")
"""Sizes of the model that a configuration may leave out."""
LAST = ("decoders.", "feature_maps.")
"""What the names of the last layers' weights begin with."""


def fine_tuning(parent: Parent, store: Store, settings: Sequence[str] = ()) -> Config:
    """Return the configuration of a fine-tuning: the parent's, with gentler training, and settings changed.

    Parameters
    ----------
    parent
        The trained model.
    store
        The store, as the parent reads it.
    settings
        Changes of single settings, ``key=value``.

    Raises
    ------
    ConfigError
        If a setting is unknown or out of range.
    """
    gauges = _gauges(with_overrides(_gentler(parent.checkpoint, store, len(store.gauge_ids)), settings), store)
    base = _gentler(parent.checkpoint, store, gauges)
    train = with_overrides(base, settings).train
    interval = max(train.steps // VALIDATIONS, 1)
    changes = {
        "train.validate_every": interval,
        "train.checkpoint_every": interval,
        "train.warmup_steps": round(train.steps * WARMUP),
        "finetune.parent_share": 0 if train.weight_averaging is None else PARENT_SHARE,
    }
    return with_overrides(base, [*(f"{name}={value}" for name, value in changes.items()), *settings])


def _gauges(config: Config, store: Store) -> int:
    """Return the number of gauges that are not held out."""
    return len(store.gauge_ids) - int(held_out_catchments(store, config).sum())


def _gentler(parent: Checkpoint, store: Store, gauges: int) -> Config:
    """Return the parent's configuration with fewer steps and a lower learning rate, for a store's gauges and splits."""
    config, train = parent.config, parent.config.train
    changes: dict[str, Any] = {
        "steps": _steps(config, store, gauges),
        "learning_rate": train.learning_rate * RATE,
        "min_learning_rate": train.min_learning_rate * RATE,
        "catchments_per_window": max(min(train.catchments_per_window, gauges), 1),
        # On its own store the parent's held-out gauges stay so; elsewhere the setting would name other gauges.
        "held_out_gauges": parent.config_for(store).train.held_out_gauges if is_own(parent, store) else None,
        "members": 1,
        "evidence": None,
    }
    return config.model_copy(
        update={
            "name": f"{config.name}-finetuned",
            "recipe": _recipe(config.recipe, store),
            "train": train.model_copy(update=changes),
            "finetune": Finetune(),
        }
    )


def _steps(config: Config, store: Store, gauges: int) -> int:
    """Return the steps that show each day of a catchment often enough, in whole hundreds and within limits."""
    period = store.period("train")
    days = max(gauges, 1) * (period.stop - period.start)
    shown = config.train.batch_size * config.train.catchments_per_window * config.window_days
    fewest, most = STEPS
    steps: int = 100 * round(SHOWINGS * days / shown / 100)
    return min(max(steps, fewest), most)


def _recipe(recipe: Recipe | None, store: Store) -> Recipe | None:
    """Return the parent's recipe, which says what its inputs are, with the periods and data of the store."""
    if recipe is None:
        return None
    own = store.config.recipe
    changes: dict[str, Any] = {"splits": Splits.model_validate(json.loads(store.dataset.attrs["splits"]))}
    if own is not None:
        changes |= {"period": own.period, "datasets": {**recipe.datasets, **own.datasets}}
    return recipe.model_copy(update=changes)


def is_own(parent: Checkpoint, store: Store) -> bool:
    """Return whether a store is the one that the parent was trained on, perhaps with later days."""
    return parent.fingerprint in (store.fingerprint, *store.dataset.attrs.get("ancestry", ()))


def check_parent(parent: Checkpoint, config: Config, store: Store) -> None:
    """Raise for a fine-tuning that cannot be done, or that no test could judge.

    Parameters
    ----------
    parent
        The trained model.
    config
        Of the fine-tuning.
    store
        The store, as the parent reads it.

    Raises
    ------
    ConfigError
        If the store lacks what the model reads or predicts, the parent saw its test period, or a setting makes
        another structure.
    """
    check_fits(parent, store)
    _check_structure(parent, config)
    _check_flow(config, store)
    _check_test_period(parent, store)
    if config.finetune.parent_share and config.train.weight_averaging is None:
        raise ConfigError(
            "Setting 'finetune.parent_share' needs train.weight_averaging, which is null; set the one to 0 or "
            "the other to a number"
        )
    if config.finetune.layers == "last" and config.train.deepspeed.zero_stage > 0:
        raise ConfigError("Setting 'finetune.layers' is last, which needs train.deepspeed.zero_stage 0; set it")


def _check_structure(parent: Checkpoint, config: Config) -> None:
    """Refuse a configuration whose model has other weights than the parent's."""
    if set(config.modalities) != set(parent.config.modalities):
        differing = sorted(set(config.modalities) ^ set(parent.config.modalities))
        raise ConfigError(
            f"The parent's modalities are {', '.join(parent.config.modalities)}, and the configuration's differ by "
            f"{', '.join(differing)}; give the parent's --config, or use 'watercli finetune'"
        )
    before, after = (_shapes(each.structure) for each in (parent, replace(parent, config=config)))
    if before != after:
        settings = [line for line in _differences(parent.config, config) if line.startswith(STRUCTURAL)]
        raise ConfigError(
            f"The settings make another structure than the parent's{f' ({settings[0]})' if settings else ''}, whose "
            "weights would not fit; keep the parent's 'model', 'modalities' and train.attribute_dropout"
        )


def _shapes(structure: MAEConfig) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in MultiModalMAE(structure).state_dict().items()}


def _differences(before: Config, after: Config) -> list[str]:
    return difference(before.model_dump(mode="json"), after.model_dump(mode="json"))


def with_size_of(parent: Checkpoint, config: Config) -> Config:
    """Return a configuration in which the model's sizes that it leaves out are those of a parent."""
    sizes = {name: getattr(parent.config.model, name.removeprefix("model.")) for name in MODEL_SIZES}
    left_out = config.sizes_left_out & set(MODEL_SIZES)
    return with_overrides(config, [f"{name}={sizes[name]}" for name in sorted(left_out)])


def _check_flow(config: Config, store: Store) -> None:
    """Refuse a store in which there is nothing to learn, or nothing to choose the best step by."""
    seen = ~held_out_catchments(store, config)
    targets = [name for name in config.train.tasks.targets if name in config.of_kind("series")]
    for target in targets:
        for split in ("train", "validation"):
            values = store.dataset[target].values[seen, store.period(split)]
            if not np.isfinite(values).any():
                days = "training" if split == "train" else split
                raise ConfigError(
                    f"'{target}' has no value in the {days} period of {store.path} at gauges that are not held out; "
                    f"give a store that has some, or prepare it with another recipe.splits.{split}"
                )


def _check_test_period(parent: Checkpoint, store: Store) -> None:
    """Refuse gauges whose test period the parent was trained on: every score of the child would flatter it."""
    shared = (set(parent.gauges) - set(parent.held_out_gauges)) & set(store.gauge_ids)
    if is_own(parent, store) or not shared:
        return
    test = Splits.model_validate(json.loads(store.dataset.attrs["splits"])).test
    for split in ("train", "validation"):
        start, end = (dt.date.fromisoformat(parent.splits[split][day]) for day in ("start", "end"))
        if end >= test.start and start <= test.end:
            raise ConfigError(
                f"The parent saw {start} to {end} of {len(shared)} gauges of {store.path}, among them {min(shared)}, "
                f"and the store's test period is {test.start} to {test.end}; give a store with another test period"
            )


def freeze(model: MultiModalMAE, layers: Literal["all", "last"]) -> None:
    """Have training change all weights of a model, or those of its last layers alone."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(layers == "all" or name.startswith(LAST))
