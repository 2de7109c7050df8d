"""A protocol: the highest flow of the test period, observed and simulated by the model."""

import numpy as np
import pandas as pd

from watercli.evaluation.protocol import Case, Protocol, Section


def run(case: Case) -> Section:
    """Compare the highest flow of each gauge; days without an observation count in neither."""
    context = case.context
    observed = context.flow[:, context.test]
    simulated = np.where(np.isfinite(observed), context.simulated[:, context.of_simulated(context.test)], np.nan)
    table = pd.DataFrame(
        {
            "gauge_id": case.store.gauge_ids,
            "observed": np.fmax.reduce(observed, axis=1),
            "simulated": np.fmax.reduce(simulated, axis=1),
        }
    )
    ratio = (table["simulated"] / table["observed"]).median()
    sentence = f"The highest simulated flow is {ratio:.2f} times the highest observed one, median gauge."
    return Section("Highest flow", sentence, table)


HIGHEST_FLOW = Protocol(name="highest_flow", run=run)
