"""The model informed by evidence: its simulation, corrected by the run's evidence head as far as evidence is opened.

Donors are gauges whose flow the run saw in training, never held-out ones.
Shapes: C catchments, D days of the store, n target days of a gauge, M days of the gauge itself, Q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from multimodal_mae.evidence import QUANTILES
from numpy.typing import NDArray

from watercli.data.evidence import NO_DAYS, FlowErrors, explain
from watercli.data.windows import Indices
from watercli.inference.evidence import MAX_GAP, estimate
from watercli.run.evidence import FittedEvidence

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

BLOCK = 256
"""Target days that are estimated at once, so that their evidence stays small."""
CENTRAL = {0.5: (0.25, 0.75), 0.9: (0.05, 0.95)}
"""Ends of the central intervals whose coverage is measured."""


@dataclass(frozen=True)
class Estimated:
    """Flow of a gauge on some days."""

    flow: Floats
    """``[n]`` in physical units, the mean."""
    quantiles: Floats
    """``[n, Q]``, of the levels `QUANTILES`."""


@dataclass(frozen=True)
class Informed:
    """Estimates flow from a simulation and what is known nearby and of the gauge itself."""

    fitted: FittedEvidence
    errors: FlowErrors
    """Of all gauges and days; which of them are evidence, each call says."""
    donors: Flags
    """``[C]``: gauges whose flow may be evidence for others."""

    def with_donors_interpolated(self) -> Informed:
        """Return the same with short gaps of donors interpolated, as ``simulate --fill`` does."""
        return replace(self, errors=self.errors.interpolated(MAX_GAP))

    @torch.inference_mode()
    def explained(self, catchment: int, days: Indices, *, neighbours: bool) -> Floats:
        """Return what donors say of a gauge's errors on some days, ``[M]``."""
        if not neighbours:
            return np.zeros(len(days), dtype=np.float32)
        return explain(self.fitted.head, self.errors, catchment, days, 0, self.donors)

    @torch.inference_mode()
    def estimate(
        self,
        catchment: int,
        days: Indices,
        *,
        neighbours: bool,
        own: Indices = NO_DAYS,
        explained: Floats | None = None,
    ) -> Estimated:
        """Estimate the flow of ascending days of a gauge; the flow of these days themselves is never evidence.

        Parameters
        ----------
        neighbours
            The flow of donors on the day is evidence.
        own
            Days ``[M]`` whose flow at the gauge itself is evidence.
        explained
            What `explained` returns of these days; computed if it is not given.
        """
        if explained is None:
            explained = self.explained(catchment, own, neighbours=neighbours)
        parts = [
            self._of_block(catchment, block, neighbours, own, explained)
            for block in np.split(days, range(BLOCK, len(days), BLOCK))
        ]
        return Estimated(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _of_block(
        self, catchment: int, days: Indices, neighbours: bool, own: Indices, explained: Floats
    ) -> tuple[Floats, Floats]:
        lags = np.zeros(len(days), dtype=np.int64)
        usable = self.donors & neighbours
        evidence = self.errors.evidence(
            catchment, days, lags=lags, own=own, own_known=own[None] != days[:, None], explained=explained,
            donors=self.errors.donors(catchment, days, lags, usable),
        )  # fmt: skip
        return estimate(self.fitted, self.errors.simulated[catchment, days], evidence)


def ends(quantiles: Floats, level: float) -> tuple[Floats, Floats]:
    """Return both ends ``[n]`` of the central interval of ``level``, one of `CENTRAL`, of quantiles ``[n, Q]``."""
    low, high = (quantiles[:, QUANTILES.index(end)] for end in CENTRAL[level])
    return low, high


def coverage(quantiles: Floats, observed: Floats, level: float) -> float:
    """Return the share of observed days ``[n]`` inside the central interval of ``level``, one of `CENTRAL`."""
    low, high = ends(quantiles, level)
    known = np.isfinite(observed)
    return float(((observed >= low) & (observed <= high))[known].mean()) if known.any() else float("nan")


def crps(quantiles: Floats, observed: Floats) -> float:
    """Return the continuous ranked probability score of observed days ``[n]``, as twice the mean pinball loss."""
    known = np.isfinite(observed) & np.isfinite(quantiles).all(1)
    if not known.any():
        return float("nan")
    levels, missed = np.array(QUANTILES), observed[known, None] - quantiles[known]
    return float(2 * np.maximum(levels * missed, (levels - 1) * missed).mean())
