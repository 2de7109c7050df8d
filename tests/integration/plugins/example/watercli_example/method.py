"""A method: the flow of the same day a year before."""

import numpy as np

from watercli.baselines.context import Context, Floats
from watercli.baselines.method import Method

DAYS = 365


def simulate(context: Context) -> Floats | None:
    """Return the test days' flow ``[C, T]`` in physical units; None if the store begins too late."""
    first = context.test.start - DAYS
    if first < 0:
        return None
    return np.asarray(context.flow[:, first : context.test.stop - DAYS])


LAST_YEAR = Method(
    name="last_year",
    label="the flow of a year before",
    colour="#0A7E8C",
    line="-.",
    saw="observed flow of the gauge itself, a year before the day",
    simulate=simulate,
    needs_own_flow=True,
    sees_recent_flow=True,
)
