"""The size of a model and of its training, where a configuration leaves them out: by a store's gauges and days.

They do not depend on the machine, so that a recipe and its data make the same experiment everywhere.
"""

from __future__ import annotations

import json
from typing import Any

from watercli.config import Config, with_overrides
from watercli.data.held_out import held_out_catchments
from watercli.log import log
from watercli.store import Store

SHOWINGS = {"recurrence": 60.0, "transformers": 10.0}
"""How often a training shows each day of a catchment, as far as the limits of its steps allow."""
STEPS = {"recurrence": (1000, 5000), "transformers": (3000, 10_000)}
"""Fewest and most steps of a training."""
SMALL = 365_250
"""Training days of all catchments below which a narrow recurrence is as skilful as a wide one."""
NARROW = 64
FEW_GAUGES = 100
"""Gauges below which a model recognises each by its attributes, and needs more noise on them."""
NOISE = {"few": 0.5, "many": 0.3}
VALIDATIONS = 5


def fitted(config: Config, store: Store) -> Config:
    """Return a configuration whose sizes are all given: those that it leaves out follow from the store.

    Raises
    ------
    ConfigError
        If ``train.held_out_gauges`` names what the store lacks.
    """
    if not config.sizes_left_out:
        return config
    gauges = len(store.gauge_ids) - int(held_out_catchments(store, config).sum())
    period = store.period("train")
    days = period.stop - period.start
    sized = sized_for(config, gauges, days)
    chosen = ", ".join(f"{setting} {_value(sized, setting):g}" for setting in sorted(config.sizes_left_out))
    log.info("Sizes that the configuration leaves out, by %d gauges and %d training days: %s", gauges, days, chosen)
    return sized


def sized_for(config: Config, gauges: int, days: int) -> Config:
    """Return a configuration with the sizes that it leaves out, for a number of gauges and of training days."""
    sized = _with(config, _sizes(config, gauges, days))
    sized = _with(sized, {"train.steps": _steps(sized, gauges, days)})
    interval = max(sized.train.steps // VALIDATIONS, 1)
    return _with(sized, {"train.validate_every": interval, "train.checkpoint_every": interval})


def _sizes(config: Config, gauges: int, days: int) -> dict[str, Any]:
    """Return the size of the model and of a step."""
    narrow = config.model.recurrence is not None and gauges * days < SMALL
    return {
        "model.width": NARROW if narrow else config.model.width,
        "model.decoder_width": NARROW if narrow else config.model.decoder_width,
        "train.batch_size": config.train.batch_size,
        "train.catchments_per_window": min(config.train.catchments_per_window, max(gauges, 1)),
        "train.attribute_noise_std": NOISE["few" if gauges < FEW_GAUGES else "many"],
    }


def _steps(config: Config, gauges: int, days: int) -> int:
    """Return the steps that show each day of a catchment often enough, in whole hundreds and within limits."""
    kind, train = "recurrence" if config.model.recurrence else "transformers", config.train
    shown = train.batch_size * train.catchments_per_window * config.window_days
    fewest, most = STEPS[kind]
    steps = 100 * round(SHOWINGS[kind] * max(gauges, 1) * days / shown / 100)
    return min(max(steps, fewest), most)


def _with(config: Config, sizes: dict[str, Any]) -> Config:
    """Return a configuration with those sizes that it leaves out."""
    left_out = [setting for setting in sizes if setting in config.sizes_left_out]
    return with_overrides(config, [f"{setting}={json.dumps(sizes[setting])}" for setting in left_out])


def _value(config: Config, setting: str) -> float:
    section, name = setting.split(".")
    return float(getattr(getattr(config, section), name))
