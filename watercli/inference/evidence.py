"""A simulation informed by flow: by other gauges' and by the gauge's own, as far as each may be known.

The value of a day is never evidence for that day at the same gauge, so that an estimate beside an observation says
how good it is without it.
Shapes: C catchments that are simulated, G gauges that are read, N days of the store, n dates of a block, Q quantiles.
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

from watercli.data.evidence import FlowErrors, Network, choose_own, ever_known, explain
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


def gauges_read(simulator: Simulator, neighbours: str, has_flow: Flags) -> Indices:
    """Return the positions in the store of the simulated catchments and of all gauges that may be their donors.

    ``neighbours`` is that of `KnownFlow`; ``has_flow`` says which gauges of the store know any flow.
    """
    chosen = simulator.catchments
    if neighbours == "none":
        return chosen
    network, read = Network.of(simulator.store), np.zeros(len(has_flow), dtype=bool)
    read[chosen] = True
    for gauge in chosen:
        # Which gauges at its place are the gauge again is not yet known: they do not count among the candidates.
        there = network.at_one_place[gauge]
        read |= there
        read[network.candidates(gauge, np.flatnonzero(has_flow & ~there))] = True
    return np.flatnonzero(read)


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
    gauges: Indices
    """Positions in the store of the gauges that are read, ``[G]``: those that are simulated, and their donors."""
    known: KnownFlow
    """Of these gauges."""
    base: Simulated | None = None
    """The simulation of these gauges on every day of the store, if it is computed already."""
    names_duplicates: bool = True
    """Warn of gauges that are one."""

    @classmethod
    def of(cls, simulator: Simulator, fitted: FittedEvidence, known: KnownFlow) -> InformedSimulator:
        """Return what corrects a simulation by the ``known`` flow of all gauges of the store."""
        gauges = gauges_read(simulator, known.neighbours, ever_known(known.observed))
        return cls(simulator, fitted, gauges, known.among(gauges))

    @cached_property
    def of_gauges(self) -> Simulator:
        """What simulates the gauges that are read."""
        return replace(self.simulator, gauges=tuple(self.simulator.store.gauge_ids[gauge] for gauge in self.gauges))

    @cached_property
    def places(self) -> Indices:
        """Where the simulated catchments stand among the gauges that are read, ``[C]``."""
        return np.searchsorted(self.gauges, self.simulator.catchments)

    @property
    def fingerprint(self) -> str:
        """Hash of the flow that may be evidence."""
        known = self.known
        content = known.observed.tobytes() + np.packbits(known.own).tobytes()
        return hashlib.sha256(content + repr((known.own_later, known.neighbours, known.last)).encode()).hexdigest()

    @cached_property
    def simulated(self) -> Simulated:
        """The simulation of the gauges that are read, on every day of the store."""
        return self.base or simulate_all(self.of_gauges, slice(0, len(self.simulator.store.times)))

    def simulated_on(self, dates: Indices) -> Simulated:
        """Return the simulation of the chosen catchments on some dates."""
        at, read = np.ix_(self.places, dates), self.simulated
        return Simulated(read.flow[at], read.available[at], read.spread[at])

    @cached_property
    def table(self) -> FlowErrors:
        """The simulation of the gauges that are read, on every day of the store, and its errors."""
        store, names = self.simulator.store, list(self.of_gauges.gauges)
        errors = FlowErrors(
            Network.of(store).among(self.gauges), self.simulated.flow, self.known.observed,
            store.times.dayofyear.to_numpy().astype(np.float64), self.fitted.offset,
            provenance.roles(self.simulator.checkpoint, store, names) == 1,
        )  # fmt: skip
        for first, second in errors.duplicates if self.names_duplicates else ():
            log.warning(
                "Gauges %s and %s are one by place, size and flow; neither is evidence for the other",
                names[first], names[second],
            )  # fmt: skip
        return errors.interpolated(MAX_GAP) if self.known.neighbours == "all" else errors

    @torch.inference_mode()
    def __call__(self, dates: Indices) -> Estimate:
        """Estimate the flow of ascending dates, positions in the store."""
        places = track(self.places.tolist(), "evidence", part=True)
        estimates = [self._of_catchment(place, dates) for place in places]
        return Estimate(*(np.stack(arrays) for arrays in zip(*estimates, strict=True)))

    def filled(self, dates: Indices, estimate: Estimate, blind: Flags) -> dict[str, NDArray[Any]]:
        """Return the record with its gaps filled, and what each value is, ``[C, n]`` both."""
        observed = self.known.observed[np.ix_(self.places, dates)]
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
