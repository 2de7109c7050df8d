"""What a run of a configuration will be able to do, and what it will not, and why: the first lines of commands."""

from __future__ import annotations

from watercli.config.config import Config
from watercli.config.defaults import flow_candidates


def abilities(config: Config, gauges: int | None = None) -> list[str]:
    """Return what a run can do, and for each thing that it cannot the reason, as sentences without full stops.

    ``gauges`` is the number of catchments in the store; None while no store is made.
    """
    reasons = {
        "simulate": _not_simulated(config, gauges),
        "forecast": _not_simulated(config, gauges) or _not_forecast(config),
        "embed": _not_embedded(config, gauges),
    }
    objects = {"simulate": f" '{config.target}'", "forecast": f" '{config.target}'", "embed": " catchments"}
    can = [deed + objects[deed] for deed, reason in reasons.items() if reason is None] or ["reconstruct hidden values"]
    lines = [f"A run of '{config.name}' will {', '.join(can)}"]
    for reason in dict.fromkeys(reason for reason in reasons.values() if reason is not None):
        deeds = [deed for deed in reasons if reasons[deed] == reason]
        lines.append(f"It will not {' or '.join(deeds)}: {reason}")
    if gauges == 1:
        lines.append("It has one catchment: its scores have no interval, and no other catchment to be tried on")
    return lines


def _without_catchments(config: Config, gauges: int | None) -> bool:
    if gauges is not None:
        return gauges == 0
    return config.recipe is not None and config.recipe.catchments is None and config.recipe.demo is None


def _not_simulated(config: Config, gauges: int | None) -> str | None:
    """Return why a run does not simulate river flow; None if it does."""
    if _without_catchments(config, gauges):
        return "there are no catchments; add recipe.catchments and series"
    if config.target is None:
        return _no_flow(config)
    if len(config.modalities) == 1:
        return f"there is no modality beside '{config.target}' that it could be computed from"
    if config.model.recurrence is None and config.model.cross_modal_attention == "none":
        return "no modality is predicted from others; set model.cross_modal_attention or model.recurrence"
    if not config.train.tasks.simulation + config.train.tasks.forecast:
        return "training has no such task; set train.tasks.simulation"
    return None


def _no_flow(config: Config) -> str:
    candidates = flow_candidates(config.model_dump())
    if candidates:
        return f"several series may be river flow ({', '.join(candidates)}); name one by the setting target"
    return "no series is river flow; name one by the setting target"


def _not_forecast(config: Config) -> str | None:
    tasks = config.train.tasks
    return None if tasks.forecast + tasks.forecast_without_forcing else "train.tasks has no forecast"


def _not_embedded(config: Config, gauges: int | None) -> str | None:
    """Return why a run has no embeddings of catchments; None if it has."""
    if _without_catchments(config, gauges):
        return "there are no catchments; add recipe.catchments and series"
    if set(config.modalities) <= set(config.embed.excluded_inputs):
        return "embed.excluded_inputs leaves no modality to embed"
    return None
