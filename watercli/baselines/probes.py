"""Probes: regressions from frozen embeddings to river flow, and the same regression on raw weather.

Shapes: C catchments, N dates (training, validation, test), T test days.
"""

from __future__ import annotations

import numpy as np

from watercli.baselines import wording
from watercli.baselines.context import Context
from watercli.baselines.features import Features, spans
from watercli.baselines.method import Method
from watercli.baselines.mlp import KeptFeatures, Regional, fit_network
from watercli.baselines.ridge import Fitted, Task, fit_all_gauges, fit_each_gauge
from watercli.log import log


def regional_ridge(features: Features, task: Task) -> Fitted:
    """Fit one ridge regression to the embeddings and static attributes of all gauges."""
    context = features.context
    return fit_all_gauges(features.embedding, context.checkpoint.scaling.static(context.store), task)


def regional_network(features: Features, task: Task) -> Fitted:
    """Fit one small network to the embeddings and static attributes of all gauges."""
    context = features.context
    flow = np.where(task.complete & task.chosen[:, None], task.physical, np.nan)
    regional = Regional(context.regional.static, flow, task.train, context.regional.noise, context.regional.seed)
    log.info("Fitting a network on the embeddings to %s observed days", f"{regional.training_days:,}")
    simulated = fit_network(
        KeptFeatures(features.embedding), regional, context.settings.ema_mlp_steps, task.test, "network"
    )
    return Fitted(np.where(task.complete[:, task.test], simulated, np.nan))


def _saw_weather(context: Context) -> str:
    means = ", ".join(str(span) for span in spans(context.embedder.days)[1:])
    modalities = ", ".join(context.embedder.modalities)
    return (
        f"catchment means of {modalities} on the day and over the last {means} days, no model; "
        f"{wording.own_flow(context)}"
    )


PROBE = Method(
    name="probe",
    label="linear probe, one for each gauge",
    colour="#0072B2",
    saw=lambda context: f"{wording.embedding(context)}; {wording.own_flow(context)}",
    fit=lambda features, task: fit_each_gauge(features.embedding, task),
    needs_own_flow=True,
    in_summary=False,
)
PROBE_UNTRAINED = Method(
    name="probe_untrained",
    label="the same probe on the model before training",
    colour="#6C8EBF",
    line="--",
    saw=lambda context: f"as the probe, but the encoder's weights are random; {wording.own_flow(context)}",
    fit=lambda features, task: fit_each_gauge(features.untrained, task),
    needs_own_flow=True,
    in_distribution=False,
    in_summary=False,
)
PROBE_REGIONAL = Method(
    name="probe_regional",
    label="linear probe, one for all gauges",
    colour="#56B4E9",
    line="--",
    saw=lambda context: f"the same embedding and the static attributes; fitted to all gauges' {context.target} at once",
    fit=regional_ridge,
    needs_own_flow=True,
    in_distribution=False,
    in_summary=False,
)
PROBE_DECODER_STATE = Method(
    name="probe_decoder_state",
    label="linear probe on decoder states, one for each gauge",
    colour="#332288",
    line=":",
    saw=lambda context: (
        f"the states of the {context.target} decoder on the day, before its last layer, made of "
        f"{wording.weather(context)}, static attributes and the antecedent state; {wording.own_flow(context)}"
    ),
    fit=lambda features, task: fit_each_gauge(features.decoder_state, task),
    needs_own_flow=True,
    needs_cross_modal_attention=True,
    in_distribution=False,
    in_summary=False,
)
PROBE_MLP = Method(
    name="probe_mlp",
    label="network on the embeddings, one for all gauges",
    colour="#004B77",
    line="-.",
    saw=lambda context: f"the same embedding and the static attributes; a small network {wording.all_gauges(context)}",
    fit=regional_network,
    needs_own_flow=True,
    in_distribution=False,
    in_summary=False,
)
WEATHER_RIDGE = Method(
    name="weather_ridge",
    label="ridge on raw weather",
    colour="#009E73",
    line="-.",
    saw=_saw_weather,
    fit=lambda features, task: fit_each_gauge(features.weather, task),
    needs_own_flow=True,
    in_distribution=False,
)
