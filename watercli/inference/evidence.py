"""A simulation informed by flow: by other gauges' and by the gauge's own, as far as each may be known.

The value of a day is never evidence for that day at the same gauge, so that an estimate beside an observation says
how good it is without it.
Shapes: C catchments that are simulated, N days of the store, n dates of a block, Q quantiles.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from multimodal_mae.evidence import Evidence, corrected
from numpy.typing import NDArray

from watercli.data.evidence import FlowErrors, Network, choose_own, explain
from watercli.data.windows import Indices
from watercli.inference import provenance
from watercli.inference.known_flow import KnownFlow
from watercli.log import log, track
from watercli.run.evidence import FittedEvidence
from watercli.run.simulator import Simulated, Simulator, simulate_all

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

ALIGNED, ALIGNED_WITH_OWN = 512, 64
"""Days that are estimated at once, without and with own flow: those between multiples of this number from the store's
first day. They share the days of the gauge that are read, whichever dates are asked for."""
MAX_GAP = 7
"""Days over which ``neighbours: all`` interpolates the errors of a donor."""
EVIDENCE = ("weather", "neighbours", "own_flow", "neighbours_and_own_flow")
"""What an estimate is based on, beside weather and attributes."""
FLAGS = ("missing", "observed", "filled", "suspicious")
"""What a filled record is made of; what is suspicious is observed, and stays."""
SUSPICIOUS = 4.0
"""An observed value is suspicious if it lies further from the median of its estimate than this many half-widths of the
90 % interval."""


@dataclass(frozen=True)
class Estimate:
    """Flow on some dates as the evidence has it."""

    flow: NDArray[np.float32]
    """``[C, n]`` in physical units, the mean."""
    quantiles: NDArray[np.float32]
    """``[C, n, Q]``."""
    weather_only: NDArray[np.float32]
    """``[C, n]``: the simulation without evidence."""
    neighbours: NDArray[np.int8]
    """``[C, n]``: donors whose errors were known."""
    own_days: NDArray[np.int16]
    """``[C, n]``: days of the gauge itself whose errors were known."""

    @property
    def evidence(self) -> NDArray[np.int8]:
        """Positions in `EVIDENCE`, ``[C, n]``."""
        return ((self.neighbours > 0) + 2 * (self.own_days > 0)).astype(np.int8)


def estimate(fitted: FittedEvidence, simulated: Floats, evidence: Evidence) -> tuple[Floats, Floats]:
    """Return the flow ``[n]`` that the evidence makes of a simulation ``[n]``, and its quantiles ``[n, Q]``."""
    correction, flow = fitted.head(evidence), torch.from_numpy(simulated)
    around_it = correction.error[:, None] + correction.quantiles
    return (
        corrected(flow, correction.error, fitted.offset).numpy(),
        corrected(flow[:, None], around_it, fitted.offset).numpy(),
    )


@dataclass(frozen=True)
class InformedSimulator:
    """Simulates as a `Simulator`, and corrects by a fitted evidence head."""

    simulator: Simulator
    fitted: FittedEvidence
    known: KnownFlow
    base: Simulated | None = None
    """The simulation of every catchment and day of the store, if it is computed already."""
    names_duplicates: bool = True
    """Warn of gauges that are one."""

    @property
    def fingerprint(self) -> str:
        """Hash of the flow that may be evidence."""
        known = self.known
        content = known.observed.tobytes() + np.packbits(known.own).tobytes()
        return hashlib.sha256(content + repr((known.own_later, known.neighbours, known.last)).encode()).hexdigest()

    @cached_property
    def simulated(self) -> Simulated:
        """The simulation of every catchment and day of the store."""
        return self.base or simulate_all(replace(self.simulator, gauges=()), slice(0, len(self.simulator.store.times)))

    def simulated_on(self, dates: Indices) -> Simulated:
        """Return the simulation of the chosen catchments on some dates."""
        at = np.ix_(self.simulator.catchments, dates)
        whole = self.simulated
        return Simulated(whole.flow[at], whole.available[at], whole.spread[at])

    @cached_property
    def table(self) -> FlowErrors:
        """The simulation of every catchment and day of the store, and its errors."""
        simulator, store = self.simulator, self.simulator.store
        trained = provenance.roles(simulator.checkpoint, store, list(store.gauge_ids)) == 1
        errors = FlowErrors(
            Network.of(store), self.simulated.flow, self.known.observed,
            store.times.dayofyear.to_numpy().astype(np.float64), self.fitted.offset, trained,
        )  # fmt: skip
        for first, second in errors.duplicates if self.names_duplicates else ():
            log.warning(
                "Gauges %s and %s are one by place, size and flow; neither is evidence for the other",
                store.gauge_ids[first], store.gauge_ids[second],
            )  # fmt: skip
        return errors.interpolated(MAX_GAP) if self.known.neighbours == "all" else errors

    @torch.inference_mode()
    def __call__(self, dates: Indices) -> Estimate:
        """Estimate the flow of ascending dates, positions in the store."""
        catchments = track(self.simulator.catchments.tolist(), "evidence", part=True)
        estimates = [self._of_catchment(catchment, dates) for catchment in catchments]
        return Estimate(*(np.stack(arrays) for arrays in zip(*estimates, strict=True)))

    def filled(self, dates: Indices, estimate: Estimate, blind: Flags) -> dict[str, NDArray[Any]]:
        """Return the record with its gaps filled, and what each value is, ``[C, n]`` both."""
        observed = self.known.observed[self.simulator.catchments][:, dates]
        there = np.isfinite(observed)
        low, middle, high = (np.log(estimate.quantiles[..., number] + self.fitted.offset) for number in (0, 3, -1))
        off = np.log(np.maximum(np.nan_to_num(observed), 0) + self.fitted.offset) - middle
        suspicious = there & (np.abs(off) > SUSPICIOUS * np.where(off > 0, high - middle, middle - low)) & ~blind
        flag = np.select([suspicious, there, ~blind], [3, 1, 2], 0)
        values = np.where(there, observed, np.where(blind, np.nan, estimate.flow)).astype(np.float32)
        target = self.simulator.target
        return {f"{target}_filled": values, f"{target}_flag": flag.astype(np.int8)}

    def _of_catchment(self, catchment: int, dates: Indices) -> tuple[NDArray[Any], ...]:
        record = np.flatnonzero(self.known.own[catchment] & np.isfinite(self.known.observed[catchment]))
        if self.known.last is not None:
            record = record[record <= self.known.last]
        aligned = ALIGNED_WITH_OWN if len(record) else ALIGNED
        blocks = np.split(dates, np.flatnonzero(np.diff(dates // aligned)) + 1)
        read = [choose_own(self._aligned(days), record, later=self.known.own_later) for days in blocks]
        explained = self._explained(catchment, np.unique(np.concatenate(read)))
        parts = [self._of_block(catchment, days, own, explained) for days, own in zip(blocks, read, strict=True)]
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    @property
    def _usable(self) -> Flags:
        return np.full(len(self.table.simulated), self.known.neighbours != "none")

    def _explained(self, catchment: int, days: Indices) -> Floats:
        """Return what neighbours say of the gauge's errors, ``[N]``: on some days, and zero on others."""
        explained = np.zeros(self.table.simulated.shape[1], dtype=np.float32)
        lag = int(self.known.last is not None or self.known.neighbours == "past")
        for some in np.array_split(days, -(-len(days) // ALIGNED)) if len(days) else []:
            explained[some] = explain(self.fitted.head, self.table, catchment, some, lag, self._usable)
        return explained

    def _of_block(self, catchment: int, days: Indices, own: Indices, explained: Floats) -> tuple[NDArray[Any], ...]:
        lags = self._lags(days)
        evidence = self.table.evidence(
            catchment, days, lags=lags, own=own, explained=explained[own],
            own_known=own[None] != days[:, None] if self.known.own_later else own[None] < days[:, None],
            donors=self.table.donors(catchment, days, lags, self._usable),
        )  # fmt: skip
        simulated = self.table.simulated[catchment, days]
        return (
            *estimate(self.fitted, simulated, evidence), simulated,
            evidence.donor_known.sum(1).numpy().astype(np.int8), evidence.own_known.sum(1).numpy().astype(np.int16),
        )  # fmt: skip

    def _aligned(self, days: Indices) -> Indices:
        first = days[0] // ALIGNED_WITH_OWN * ALIGNED_WITH_OWN
        return np.arange(first, first + ALIGNED_WITH_OWN)

    def _lags(self, days: Indices) -> Indices:
        """Return how long before each day the last known flow of other gauges lies."""
        if self.known.last is not None:
            return np.maximum(days - self.known.last, 0)
        return np.full(len(days), int(self.known.neighbours == "past"))
