"""What a configuration leaves out: settings whose default depends on its modalities.

A configuration that says nothing of model, windows, training and losses trains a model of river flow that is known to
serve: a recurrence of all series, as of ``gb-wide`` and ``camels-us``, and transformers of the grids beside it, as of
``gb12``. What is given is never changed. The settings of `SIZES` are chosen once more, by a store's gauges and days,
when a training starts.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

Raw = dict[str, Any]
"""A configuration, or a section of it, as YAML has it."""

RIVER_FLOW = r"flow|discharge|runoff|\bq"
"""Regular expression for the names of river flow."""
DEPTH_OR_VOLUME = re.compile(r"(mm|cm|m|in|ft|l|ml|m3|ft3|cfs|kcfs|cumecs?|mld)(?![a-z])")
"""What the units of a flow begin with; the ``q`` of the atmosphere is humidity, in kg/kg."""

SIZES = (
    "model.width",
    "model.decoder_width",
    "train.steps",
    "train.batch_size",
    "train.catchments_per_window",
    "train.attribute_noise_std",
    "train.validate_every",
    "train.checkpoint_every",
)
"""Settings that follow from the store where they are left out; see `watercli.training.size`."""

SERIES_ALONE: Raw = {
    "window_days": 365,
    "model.width": 128,
    "model.decoder_width": 128,
    "model.decoder_layers": 1,
    "model.dropout": 0.0,
    "model.recurrence": {},
    "model.causal": True,
    "train.steps": 5000,
    "train.batch_size": 16,
    "train.catchments_per_window": 1,
    "train.attribute_noise_std": 0.3,
    "train.optimiser": "muon",
    "train.learning_rate": 3e-3,
    "train.min_learning_rate": 3e-5,
    "train.warmup_steps": 60,
    "train.weight_decay": 0.02,
    "train.betas": [0.9, 0.999],
    "train.weight_averaging": 4.0,
    "train.validate_every": 1000,
    "train.checkpoint_every": 1000,
    "train.validation_catchments": 256,
    "train.validation_years": 5,
}
"""Defaults where all modalities are series."""

WITH_GRIDS: Raw = SERIES_ALONE | {
    "grid_window_days": 15,
    "model.heads": 4,
    "model.grid_layers": 3,
    "model.decoder_layers": 2,
    "model.grid_attention_scope": "same_day",
    "model.antecedent_state": {},
    "train.batch_size": 4,
    "train.catchments_per_window": 4,
}
"""Defaults where a modality is a grid: series are encoded as without, in windows as long."""

WITH_ATTENTION: Raw = {
    "window_days": 15,
    "model.width": 64,
    "model.decoder_width": 64,
    "model.heads": 4,
    "model.grid_layers": 3,
    "model.series_layers": 2,
    "model.decoder_layers": 2,
    "model.dropout": 0.0,
    "model.grid_attention_scope": "same_day",
    "model.cross_modal_attention": "decoder",
    "model.antecedent_state": {},
    "model.causal": True,
    "train.steps": 3000,
    "train.batch_size": 4,
    "train.catchments_per_window": 16,
    "train.attribute_noise_std": 0.5,
    "train.weight_averaging": 2.0,
    "train.validate_every": 500,
    "train.checkpoint_every": 500,
}
"""Defaults where a modality is a grid, and series are encoded by transformers: ``model.recurrence`` is null, or
``model.cross_modal_attention`` is given."""

FLOW_OF_SERIES: Raw = {
    "train.tasks": {"simulation": 0.85, "forecast": 0.15, "max_lead_time": 60},
    "train.evidence": {},
    "evaluate.protocols": ["simulation", "ungauged", "forecast", "short_records"],  # no task reconstructs the weather
}
"""Further defaults where all modalities are series, and one is river flow."""

FLOW_WITH_GRIDS: Raw = {
    "train.tasks": {"simulation": 0.7, "forecast": 0.1, "forecast_without_forcing": 0.1, "max_lead_time": 15},
    "train.evidence": {},
}
"""Further defaults where a modality is a grid, and one is river flow."""

FLOW_WITH_ATTENTION: Raw = {"train.tasks": {"simulation": 0.6, "forecast": 0.2, "forecast_without_forcing": 0.1}}
"""The same with transformers of series."""

FLOW_ITSELF: Raw = {"transform": "log", "loss": "basin_averaged_nse"}
"""Defaults of the modality that is river flow."""

BESIDE_FLOW: Raw = {"loss_weight": 0.2}
"""Defaults of all others, where one is river flow: most of the gradient is then river flow's."""


EVERY_STORE = frozenset(("series alone", "with grids", "with grids, series by transformers"))
"""Cases of `by_modalities` that together are all."""


def by_modalities(setting: str) -> dict[str, Any]:
    """Return the defaults of a dotted setting that depends on the modalities, by the case in words."""
    cases = {
        "series alone": SERIES_ALONE | FLOW_OF_SERIES,
        "with grids": WITH_GRIDS | FLOW_WITH_GRIDS,
        "with grids, series by transformers": WITH_ATTENTION | FLOW_WITH_ATTENTION,
        "river flow": {f"modalities.NAME.{key}": value for key, value in FLOW_ITSELF.items()},
        "beside river flow": {f"modalities.NAME.{key}": value for key, value in BESIDE_FLOW.items()},
    }
    return {case: defaults[setting] for case, defaults in cases.items() if setting in defaults}


def filled(given: Raw) -> Raw:
    """Return a configuration with all that it leaves out and that depends on its modalities.

    What is no configuration is returned as it is: validation then says what is wrong with it.
    """
    modalities = given.get("modalities")
    if not isinstance(modalities, dict) or not all(isinstance(modality, dict) for modality in modalities.values()):
        return given
    of_all, of_flow = _defaults_for(given)
    flow = river_flow(given)
    defaults = of_all if flow is None else of_all | of_flow
    defaults["window_days"] = min((defaults["window_days"], *_days_of_periods(given)))
    if "grid_window_days" in defaults:
        windows = given.get("window_days", defaults["window_days"])
        defaults["grid_window_days"] = min(defaults["grid_window_days"], windows)
    whole = _with(given, defaults)
    return _with(whole, {"embed.excluded_inputs": []}) if flow is None else _with_flow(whole, flow)


def _defaults_for(given: Raw) -> tuple[Raw, Raw]:
    """Return the defaults of a configuration's modalities, and those that river flow adds."""
    model = given["model"] if isinstance(given.get("model"), dict) else {}
    attends = model.get("cross_modal_attention") not in (None, "none")
    if any(modality.get("kind") == "grid" for modality in given["modalities"].values()):
        if attends or model.get("recurrence", {}) is None:
            return dict(WITH_ATTENTION), FLOW_WITH_ATTENTION
        return dict(WITH_GRIDS), FLOW_WITH_GRIDS
    if attends or model.get("antecedent_state") is not None:  # the past of series comes by one way alone
        return {name: value for name, value in SERIES_ALONE.items() if name != "model.recurrence"}, FLOW_OF_SERIES
    return dict(SERIES_ALONE), FLOW_OF_SERIES


def sizes_left_out(given: Raw) -> frozenset[str]:
    """Return which of `SIZES` a configuration leaves out."""
    return frozenset(setting for setting in SIZES if _at(given, setting) is None)


def river_flow(given: Raw) -> str | None:
    """Return the series that is river flow: as named by ``target``, or ``riverflow``, or the only one that looks so."""
    if given.get("target") is not None:
        return str(given["target"])
    candidates = flow_candidates(given)
    return "riverflow" if "riverflow" in candidates else candidates[0] if len(candidates) == 1 else None


def flow_candidates(given: Raw) -> list[str]:
    """Return the series whose names and units are those of river flow."""
    series = {name: each for name, each in given["modalities"].items() if each.get("kind") == "series"}
    return [name for name, modality in series.items() if name == "riverflow" or _is_flow(name, modality)]


def _is_flow(name: str, modality: Raw) -> bool:
    source = modality.get("source")
    variables = [_at(each, "variable") or "" for each in (source if isinstance(source, list | tuple) else [source])]
    words = re.sub(r"[_\W]+", " ", " ".join((name, *map(str, variables), str(modality.get("long_name", "")))).lower())
    units = str(modality.get("units", "")).lower()
    return re.search(RIVER_FLOW, words) is not None and DEPTH_OR_VOLUME.match(units) is not None


def _days_of_periods(given: Raw) -> list[int]:
    """Return the days of the recipe's periods, as far as they are dates; a window must fit into each."""
    days = []
    for split in ("train", "validation", "test"):
        period = _at(given, f"recipe.splits.{split}")
        start, end = (_date(period.get(key)) if isinstance(period, dict) else None for key in ("start", "end"))
        if start is not None and end is not None and end > start:
            days.append((end - start).days + 1)
    return days


def _date(value: Any) -> dt.date | None:
    try:
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(str(value))
    except ValueError:
        return None


def _with_flow(given: Raw, flow: str) -> Raw:
    """Return a configuration whose losses, tasks, scores and exports are of a river-flow series."""
    targets: Raw = {"target": flow, "train.tasks.targets": [flow], "evaluate.target": flow,
                    "embed.excluded_inputs": [flow]}  # fmt: skip
    for section in ("train.held_out_gauges", "train.evidence"):
        if isinstance(_at(given, section), dict):
            targets[f"{section}.target"] = flow
    modalities = {
        name: (FLOW_ITSELF if name == flow else BESIDE_FLOW) | modality
        for name, modality in given["modalities"].items()
    }
    return _with(given, targets) | {"modalities": modalities}


def _with(given: Raw, defaults: Raw) -> Raw:
    """Return a copy with dotted settings where there are none; what stands in place of a section stays."""
    whole = dict(given)
    for setting, value in defaults.items():
        head, _, rest = setting.partition(".")
        if not rest:
            whole.setdefault(head, value)
        elif isinstance(section := whole.get(head, {}), dict):
            whole[head] = _with(section, {rest: value})
    return whole


def _at(given: Any, setting: str) -> Any:
    """Return what stands at a dotted setting; None if nothing does."""
    value = given
    for part in setting.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
