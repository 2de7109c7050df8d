"""A simulation corrected by errors that are known elsewhere: at other gauges, or of earlier days.

Errors are ratios of observed to simulated flow; a share of their logarithm is added to that of the simulation.
Shapes: C catchments, T days, L leads, F forecasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of a known error; one is chosen on validation days."""
LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Correction:
    """A simulation and its errors, ``[C, T]`` each, as logarithms."""

    raised: Floats
    """Of the simulation, raised by `least`."""
    error: Floats
    """Observed less simulated; NaN where not observed."""
    observed: Floats
    """In physical units, NaN at gauges whose flow may not be seen."""
    least: float
    """A hundredth of the mean flow: so as not to divide by next to nothing, both flows are raised by it."""

    @classmethod
    def of(cls, simulated: Floats, flow: Floats, usable: Flags) -> Self:
        """Return that of simulated and observed flow ``[C, T]``; of ``usable`` gauges ``[C]`` the flow may be seen."""
        observed = np.where(usable[:, None], flow, np.nan)
        least = LEAST_SHARE * float(np.nanmean(observed))
        raised = np.log(np.maximum(simulated, 0) + least)
        return cls(raised, np.log(np.maximum(flow, 0) + least) - raised, observed, least)

    def by(self, known: Floats, validation: slice) -> NDArray[np.float32]:
        """Return the simulation corrected by a share of errors ``[C, T]``; where none is known, they are 0.

        The share is the one of the highest median efficiency on the validation days.
        """
        found = [np.maximum(np.exp(self.raised + share * known) - self.least, 0) for share in SHARES]
        observed = self.observed[:, validation]
        varies = np.isfinite(observed).sum(1) > 1
        spread = np.nanvar(observed[varies], axis=1)
        squares = [np.square(one[:, validation] - observed)[varies] for one in found]
        scores = [float(np.nanmedian(1 - np.nanmean(one, axis=1) / spread)) if varies.any() else 0.0 for one in squares]
        best: NDArray[np.float32] = found[int(np.argmax(scores))].astype(np.float32)
        return best


def updated(simulated: Floats, flow: Floats, days: NDArray[np.int64], validation: slice) -> Floats:
    """Return a simulation updated by its latest error at the gauge, as operational forecasts are.

    One of the updating procedures that Refsgaard (1997, Nordic Hydrology 28(2), 65-84) compares.

    Parameters
    ----------
    simulated, flow
        ``[C, T]`` of the same days; flow NaN where not observed.
    days
        Positions along T of the days that are forecast, one day ahead in the first row, two in the second: ``[L, F]``.
    validation
        Days, along T, on which the share of the error is chosen for each lead.

    Returns
    -------
    np.ndarray
        ``[L, C, F]``. A day L ahead sees no flow of the L - 1 days before it, nor its own.
    """
    correction = Correction.of(simulated, flow, np.ones(len(flow), dtype=bool))
    latest = pd.DataFrame(correction.error.T).ffill().fillna(0).to_numpy().T
    found = []
    for lead, ahead in enumerate(days, start=1):
        known = np.pad(latest, ((0, 0), (lead, 0)))[:, : latest.shape[1]]
        found.append(correction.by(known, validation)[:, ahead])
    return np.stack(found)
