"""The model, informed by its neighbours: the evidence head reads errors at gauges of the training on the day.

Shapes: C catchments, T test days, Q quantiles.
"""

from __future__ import annotations

import numpy as np
from multimodal_mae.evidence import QUANTILES

from watercli.baselines import wording
from watercli.baselines.context import Context, Floats
from watercli.baselines.method import Method
from watercli.data.evidence import DONORS
from watercli.log import log, track


def with_quantiles(context: Context, *, neighbours: bool) -> Floats:
    """Return flow and its quantiles on the test days ``[C, T, 1 + Q]``, NaN at gauges that are not scored.

    Without ``neighbours`` only weather and attributes are known, and the flow is the simulation. The run must have an
    evidence head.
    """
    informed = context.informed
    assert informed is not None, "the run has no evidence head"
    scored = context.unseen if context.ungauged else np.ones(len(context.unseen), dtype=bool)
    days = np.arange(context.test.start, context.test.stop)

    def fill(array: Floats) -> None:
        log.info("Estimating flow by the evidence head, %s neighbours", "with" if neighbours else "without")
        for catchment in track(np.flatnonzero(scored).tolist(), "evidence"):
            estimated = informed.estimate(catchment, days, neighbours=neighbours)
            array[catchment] = np.column_stack((estimated.flow, estimated.quantiles))

    kind = "evidence_neighbours" if neighbours else "evidence_weather"
    about = context.about_model(days=[int(days[0]), int(days[-1])], head=context.fingerprint_of_evidence)
    return context.cache.filled(kind, about, (len(scored), len(days), 1 + len(QUANTILES)), fill)


def _simulate(context: Context) -> Floats | None:
    if context.informed is None or not context.has_neighbours:
        return None
    return with_quantiles(context, neighbours=True)[..., 0]


EVIDENCE = Method(
    name="evidence",
    label="the model, informed by its neighbours",
    colour="#0B7A75",
    saw=lambda context: (
        f"the simulation, and its errors at the nearest {DONORS} gauges on the day and before"
        f"{wording.held_out(context)}; weighed by the run's evidence head"
    ),
    simulate=_simulate,
    sees_other_gauges=True,
    needs_evidence_head=True,
    in_distribution=False,
    in_summary=False,
)
