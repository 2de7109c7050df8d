"""The mean of unlike models: what one makes wrong, the other often makes right."""

from __future__ import annotations

import numpy as np

from watercli.baselines import ema_mlp, lstm, wording
from watercli.baselines.context import Context, Floats
from watercli.baselines.method import Method


def mean_of_models(context: Context) -> Floats | None:
    """Return the mean of the EMA-MLP's and the LSTM's flow ``[C, simulated_days]``; None without either."""
    members = [ema_mlp.simulate(context), lstm.simulate(context)]
    flows = [flow for flow in members if flow is not None]
    return np.mean(flows, axis=0) if len(flows) == len(members) else None


MEAN_OF_MODELS = Method(
    name="mean_of_models",
    label="the mean of the EMA-MLP and the LSTM",
    colour="#999933",
    line="-.",
    saw=lambda context: f"what the EMA-MLP and the LSTM see: {wording.weather(context)} and static attributes",
    simulate=lambda context: context.of_test(mean_of_models(context)),
    in_distribution=False,
    slow=True,
)
