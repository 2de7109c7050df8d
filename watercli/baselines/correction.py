"""Corrections of a simulation by known errors: at other gauges on the day, or at the gauge on earlier days.

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
OFFSET_SHARE = 0.01


@dataclass(frozen=True)
class Correction:
    """A simulation and its errors, ``[C, T]`` each, as logarithms."""

    logarithm: Floats
    """Of the simulation plus `offset`."""
    error: Floats
    """Observed less simulated; NaN where not observed."""
    observed: Floats
    """In physical units, NaN at gauges whose flow may not be seen."""
    offset: float
    """A hundredth of the mean flow: both flows are raised by it, so that no error is divided by next to nothing."""

    @classmethod
    def of(cls, simulated: Floats, flow: Floats, usable: Flags) -> Self:
        """Compare simulated and observed flow ``[C, T]``; only that of ``usable`` gauges ``[C]`` may be seen."""
        observed = np.where(usable[:, None], flow, np.nan)
        offset = OFFSET_SHARE * float(np.nanmean(observed))
        logarithm = np.log(np.maximum(simulated, 0) + offset)
        return cls(logarithm, np.log(np.maximum(flow, 0) + offset) - logarithm, observed, offset)

    def by(self, errors: Floats, validation: slice) -> NDArray[np.float32]:
        """Return the simulation corrected by a share of ``errors`` ``[C, T]``, which are 0 where none is known.

        The share is that of `share`.
        """
        return self._by_share(errors, self.share(errors, validation)).astype(np.float32)

    def share(self, errors: Floats, validation: slice) -> float:
        """Return the share of ``errors`` that gives the highest median efficiency on the validation days."""
        scores = [
            self._median_nse(self._by_share(errors, share)[:, validation], self.observed[:, validation])
            for share in SHARES
        ]
        return SHARES[int(np.argmax(scores))]

    def _by_share(self, errors: Floats, share: float) -> Floats:
        by_share: Floats = np.maximum(np.exp(self.logarithm + share * errors) - self.offset, 0)
        return by_share

    @staticmethod
    def _median_nse(simulated: Floats, observed: Floats) -> float:
        """Return the median efficiency over the gauges whose observed flow varies; 0 if there is none."""
        variance = np.full(len(observed), np.nan)
        seen = np.isfinite(observed).any(1)
        variance[seen] = np.nanvar(observed[seen], axis=1)
        varies = variance > 0
        if not varies.any():
            return 0.0
        squares = np.square(simulated - observed)[varies]
        return float(np.nanmedian(1 - np.nanmean(squares, axis=1) / variance[varies]))


def error_updating(simulated: Floats, flow: Floats, days: NDArray[np.int64], validation: slice) -> Floats:
    """Return a simulation after error updating: its last error at the gauge corrects the days ahead.

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
    last = pd.DataFrame(correction.error.T).ffill().fillna(0).to_numpy().T
    forecasts = []
    for lead_time, targets in enumerate(days, start=1):
        known = np.pad(last, ((0, 0), (lead_time, 0)))[:, : last.shape[1]]
        forecasts.append(correction.by(known, validation)[:, targets])
    return np.stack(forecasts)
