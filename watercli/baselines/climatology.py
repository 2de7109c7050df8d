"""Day-of-year climatology of the gauge's own flow."""

from __future__ import annotations

from watercli.baselines.context import Context, Floats
from watercli.baselines.method import Method
from watercli.data.blocks import series_blocks
from watercli.hydrology.climatology import Climatology


def climatology(context: Context) -> Floats:
    """Return the mean of each test day's calendar day over the training dates, ``[C, T]``."""
    store = context.store
    means = Climatology.of(series_blocks(store, context.target, store.period("train")), len(store.gauge_ids))
    return means.at(store.times[context.test]).T


CLIMATOLOGY = Method(
    name="climatology",
    label="day-of-year climatology",
    colour="#E69F00",
    saw=lambda context: f"the gauge's own {context.target} of the training dates, 15-day circular mean",
    simulate=climatology,
)
