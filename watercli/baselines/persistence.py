"""Persistence: the last observation is carried forward by a day or more."""

from __future__ import annotations

import pandas as pd

from watercli.baselines.context import Context, Floats
from watercli.baselines.method import Method


def persistence(context: Context) -> Floats:
    """Return the last observed flow before each test day, ``[C, T]``."""
    last_observed = pd.DataFrame(context.flow.T).ffill().shift(1)
    return last_observed.to_numpy()[context.test].T


PERSISTENCE = Method(
    name="persistence",
    label="persistence",
    colour="#CC79A7",
    line=":",
    saw=lambda context: (
        f"the last observed {context.target} before the day, as a rule yesterday's: it sees flow of "
        "the gauge itself, which no other method sees"
    ),
    simulate=persistence,
    needs_own_flow=True,
    sees_recent_flow=True,
)
