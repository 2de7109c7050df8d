"""Boosted trees on the moving averages of the EMA-MLP and static attributes (scikit-learn), for all gauges at once.

Shapes: I inputs, C catchments, T days of the store, F features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli.baselines import wording
from watercli.baselines.context import Context
from watercli.baselines.ema_mlp import AveragedWeather
from watercli.baselines.method import Method
from watercli.baselines.mlp import Regional
from watercli.data.windows import derived_seed
from watercli.log import log

Floats = NDArray[np.floating[Any]]
MAX_ROWS = 400_000
"""Days that the trees learn from; more are thinned out evenly."""
MAX_LEAVES, RATE = 63, 0.05


def boosted_trees(weather: Floats, regional: Regional, days: slice, trees: int) -> Floats:
    """Fit the trees to all catchments that have flow, and return its flow of ``days``, ``[C, days]``.

    A day weighs as with ``loss: basin_averaged_nse``. ``weather`` is ``[I, C, T]``, standardised, NaN where missing.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    averages = AveragedWeather(weather)
    targets, deviations = (values.numpy() for values in regional.targets())
    catchment, day = np.nonzero(np.isfinite(targets[:, regional.train]))
    thin = np.linspace(0, len(day) - 1, min(len(day), MAX_ROWS)).round().astype(np.int64)
    catchment, day = catchment[thin], day[thin] + regional.train.start
    log.info("Fitting boosted trees to %s observed days", f"{len(day):,}")
    (read,) = averages.batches(catchment[None], day[None])
    rows = np.concatenate((read, regional.static[catchment]), axis=1, dtype=np.float32)
    model = HistGradientBoostingRegressor(
        max_iter=trees, learning_rate=RATE, max_leaf_nodes=MAX_LEAVES, early_stopping=False,
        random_state=derived_seed(regional.seed, 12) % 2**32,
    )  # fmt: skip
    model.fit(rows, targets[catchment, day], sample_weight=1 / deviations[catchment] ** 2)
    simulated = [
        model.predict(np.concatenate((own, np.broadcast_to(static, (len(own), len(static)))), axis=1, dtype=np.float32))
        for own, static in zip(averages.during(days), regional.static, strict=True)
    ]
    flow: Floats = np.maximum(np.stack(simulated), 0) * regional.scale
    return flow


def simulate(context: Context) -> Floats | None:
    """Return the flow ``[C, simulated_days]`` of the trees."""
    return context.regionally("boosted_trees", boosted_trees, trees=context.settings.boosted_trees)


BOOSTED_TREES = Method(
    name="boosted_trees",
    label="boosted trees",
    colour="#CC6677",
    line=":",
    saw=lambda context: (
        f"what the EMA-MLP sees: moving averages of {wording.weather(context)} and static attributes; "
        f"{context.settings.boosted_trees} trees {wording.all_gauges(context)}"
    ),
    simulate=lambda context: context.of_test(simulate(context)),
    in_distribution=False,
    on_request=True,
    slow=True,
)
