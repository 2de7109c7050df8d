"""The errors of a simulation wherever flow is known, as the evidence head reads them.

Shapes: C catchments, N days of the store, n target days, K donors, M days of the gauge itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from multimodal_mae.evidence import STATE, Evidence, EvidenceHead
from numpy.typing import NDArray
from scipy.signal import lfilter

from watercli.data.windows import Indices
from watercli.errors import DataError
from watercli.hydrology.distances import EARTH_RADIUS_KM, great_circle_km
from watercli.hydrology.river_network import on_one_river
from watercli.store import Store

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

NO_DAYS = np.zeros(0, dtype=np.int64)
DONORS = 12
"""Nearest gauges with a known error that are read for a target day."""
RIVER_DONORS = 6
"""Of these, gauges on the same river that come before nearer ones on other rivers."""
CANDIDATES = 64
"""Nearest gauges with any flow, among which these are found."""
CLOSE_DAYS, SPREAD_DAYS = 32, 160
"""Days of the gauge itself that are read for target days: so many close ones on each side, and so many others."""
SHORT_RECORD = 800
"""A record of so many days, two years and some, is read whole."""
ERROR_DAYS = (2, 8, 32, 128)
"""Time constants of the means of recent errors."""
STATE_DAYS = (5, 30, 120)
"""Time constants of the means of recent simulated flow."""
MIN_WEIGHT = 0.02
"""Of known errors in a mean of recent ones; with less, there is none."""
OFFSET_SHARE = 0.02
"""Of the mean flow, which is added to flows before logarithms are taken."""
SAME_KM, SAME_AREA, SAME_FLOW, MIN_COMMON = 1.0, 0.02, 0.01, 30
"""A gauge nearer than this, whose catchment's area and flow differ by no more than these shares, is the gauge itself
again; flows are compared where so many days are common."""


@dataclass(frozen=True)
class Network:
    """Where gauges lie to each other."""

    km: Floats
    """``[C, C]``, zero from a gauge to itself."""
    east: Floats
    """``[C, C]``: km from the first gauge east to the second."""
    north: Floats
    log_area: Floats
    """``[C]``: of the catchments, zero where no area is known."""
    preference: Floats
    """Order in which gauges are donors to each gauge, ``[C, C]``, the least first; see `preference_of`."""

    @classmethod
    def of(cls, store: Store) -> Network:
        """Take the places from the store."""
        latitude, longitude = (store.dataset[name].values.astype(np.float64) for name in ("latitude", "longitude"))
        area = store.dataset["area"].values.astype(np.float64)
        log_area = np.log(np.where(area > 0, area, np.nan))
        per_degree = np.deg2rad(1) * EARTH_RADIUS_KM
        km, downstream = great_circle_km(latitude, longitude), store.downstream_ids
        return cls(
            km,
            (longitude[None] - longitude[:, None]) * per_degree * np.cos(np.deg2rad(latitude))[:, None],
            (latitude[None] - latitude[:, None]) * per_degree,
            np.nan_to_num(log_area - np.nanmean(log_area)) if np.isfinite(log_area).any() else np.zeros(len(area)),
            preference_of(km, on_one_river(store.gauge_ids, downstream) if downstream else None),
        )

    def among(self, gauges: Indices) -> Network:
        """Return the same for some gauges, by their positions."""
        pairs = np.ix_(gauges, gauges)
        return Network(
            self.km[pairs], self.east[pairs], self.north[pairs], self.log_area[gauges], self.preference[pairs]
        )

    @cached_property
    def at_one_place(self) -> Flags:
        """Which gauges lie at one place and have catchments of one size, ``[C, C]``: a gauge and itself do."""
        alike = np.abs(self.log_area[:, None] - self.log_area) <= SAME_AREA
        at_one_place: Flags = (self.km < SAME_KM) & alike
        return at_one_place

    def candidates(self, catchment: int, usable: Indices) -> Indices:
        """Return the `CANDIDATES` that a gauge prefers of usable ones, nearest first."""
        nearest = np.argsort(self.preference[catchment, usable], kind="stable")[:CANDIDATES]
        candidates: Indices = usable[nearest]
        return candidates


def preference_of(km: Floats, one_river: Flags | None) -> Floats:
    """Return the order in which gauges are donors to each gauge, ``[C, C]``, the least first: by distance.

    The `RIVER_DONORS` nearest gauges on the same river come before all others. ``one_river`` says which gauges are up-
    or downstream of each other, ``[C, C]``; None where nobody knows.
    """
    if one_river is None:
        return km
    along = np.where(one_river, km, np.inf)
    place = along.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    first = one_river & (place < RIVER_DONORS)
    return km - first * np.pi * EARTH_RADIUS_KM  # no two gauges are further apart


@dataclass(frozen=True)
class FlowErrors:
    """A simulation of all gauges of a store, and its errors where flow may be known."""

    network: Network
    simulated: Floats
    """``[C, N]`` in physical units; NaN where there is no simulation."""
    observed: Floats
    """``[C, N]`` in physical units: all flow that may ever be evidence, NaN elsewhere."""
    day_of_year: Floats
    """``[N]``."""
    offset: float
    """Added to flows before logarithms are taken, in physical units."""
    trained: Flags
    """``[C]``: the simulating model was trained on flow of the gauge."""

    def __post_init__(self) -> None:
        if not self.offset > 0:
            raise DataError("No flow above zero is known where the model was trained, so that errors have no scale")

    @cached_property
    def logarithm(self) -> Floats:
        """Of the simulation plus the offset, ``[C, N]``."""
        return np.log(np.maximum(self.simulated, 0) + self.offset).astype(np.float32)

    @cached_property
    def errors(self) -> Floats:
        """``[C, N]``: the logarithm of observed over simulated flow; NaN where not known."""
        return (np.log(np.maximum(self.observed, 0) + self.offset) - self.logarithm).astype(np.float32)

    def interpolated(self, gap: int) -> FlowErrors:
        """Return the same with errors interpolated over gaps of at most ``gap`` days, by what is known later too."""
        filled = np.stack([_interpolated(errors, gap) for errors in self.errors])
        return replace(self, observed=np.exp(self.logarithm + filled) - self.offset)

    @cached_property
    def level(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the simulation's logarithm, ``[C]``."""
        mean, std = np.nanmean(self.logarithm, axis=1), np.nanstd(self.logarithm, axis=1)
        return mean, np.maximum(std, 1e-3)

    @cached_property
    def wetness(self) -> Floats:
        """The simulation's logarithm in standard deviations from its mean, ``[C, N]``; zero where there is none."""
        mean, std = self.level
        return np.nan_to_num((self.logarithm - mean[:, None]) / std[:, None]).astype(np.float32)

    @cached_property
    def states(self) -> Floats:
        """What makes days alike, but for the season: wetness, its recent means and its rise, ``[C, N, 5]``."""
        means = [_recent(self.wetness, days) for days in STATE_DAYS]
        rise = self.wetness - _shifted(self.wetness, STATE_DAYS[0])
        return np.stack([self.wetness, *means, rise], axis=-1)

    @cached_property
    def season(self) -> Floats:
        """Sine and cosine of the day of the year, ``[N, 2]``."""
        angle = self.day_of_year * (2 * np.pi / 365.25)
        return np.stack([np.sin(angle), np.cos(angle)], axis=-1).astype(np.float32)

    @cached_property
    def recent(self) -> Floats:
        """Means of the known errors of the last days and the day itself, ``[C, N, len(ERROR_DAYS)]``."""
        known = np.isfinite(self.errors).astype(np.float32)
        errors = np.nan_to_num(self.errors)
        means = [_recent(errors, days) / np.maximum(_recent(known, days), MIN_WEIGHT) for days in ERROR_DAYS]
        return np.stack(means, axis=-1)

    @cached_property
    def remembered(self) -> Flags:
        """Whether recent errors are known at all, ``[C, N]``."""
        enough: Flags = _recent(np.isfinite(self.errors).astype(np.float32), ERROR_DAYS[-1]) >= MIN_WEIGHT
        return enough

    @cached_property
    def likeness(self) -> Floats:
        """Correlation of two simulations, and of their daily changes, ``[C, C, 2]``."""
        steps = np.diff(self.wetness, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            pair = [np.nan_to_num(np.corrcoef(values)) for values in (self.wetness, steps)]
        return np.stack([np.atleast_2d(values) for values in pair], axis=-1).astype(np.float32)

    @cached_property
    def duplicates(self) -> list[tuple[int, int]]:
        """The pairs of gauges that are one: at one place, of one size, and of one flow where both are known."""
        pairs = [(int(one), int(other)) for one, other in np.argwhere(np.triu(self.network.at_one_place, 1))]
        return [pair for pair in pairs if _agree(*self._log_observed(list(pair)))]

    def _log_observed(self, gauges: list[int]) -> Floats:
        """Return the logarithms of observed flow at some gauges, ``[., N]``."""
        logarithms: Floats = np.log(np.maximum(self.observed[gauges], 0) + self.offset)
        return logarithms

    @cached_property
    def same(self) -> Flags:
        """Which gauges are one, ``[C, C]``: a gauge is no donor to itself, nor is its duplicate."""
        same = np.eye(len(self.simulated), dtype=bool)
        for first, second in self.duplicates:
            same[first, second] = same[second, first] = True
        return same

    @cached_property
    def _ever_known(self) -> Flags:
        return ever_known(self.observed)

    def donors(self, catchment: int, days: Indices, lags: Indices, usable: Flags) -> Indices:
        """Return usable gauges of each target day that know an error by then, ``[n, K]``, by `Network.preference`.

        ``lags`` are those of `evidence`. Days with fewer such gauges are filled up by others, which know none.
        """
        candidates = np.flatnonzero(usable & self._ever_known & ~self.same[catchment])
        near = self.network.candidates(catchment, candidates)[:, None]
        known = self._known(near, days, lags)
        donors: Indices = near[np.argsort(~known, axis=0, kind="stable")[:DONORS].T, 0]
        return donors

    def _known(self, donors: Indices, days: Indices, lags: Indices) -> Flags:
        """Return whether gauges know an error of the day or recent ones; the arguments broadcast."""
        of_day = np.isfinite(self.errors[donors, days]) & (lags == 0)
        known: Flags = of_day | self.remembered[donors, np.maximum(days - lags, 0)]
        return known

    def evidence(
        self,
        catchment: int,
        days: Indices,
        *,
        donors: Indices,
        lags: Indices,
        own: Indices = NO_DAYS,
        own_known: Flags | None = None,
        explained: Floats | None = None,
    ) -> Evidence:
        """Return the evidence of target days of one catchment.

        Parameters
        ----------
        catchment
            Position in the store.
        days
            Target days, ``[n]``.
        donors
            Positions of other gauges for each day, ``[n, K]``; see `donors`.
        lags
            ``[n]``: days from the last day on which flow of donors is known to the target; 0 for the day itself.
        own, own_known
            Days ``[M]`` of the gauge itself, and for which targets their errors may be known, ``[n, M]``: by default
            for all.
        explained
            What donors say of the errors on these days, ``[M]``: only the rest is news of the gauge itself.
        """
        mean, std = self.level
        n, day = len(days), days[:, None]
        last = np.maximum(days - lags, 0)[:, None]
        wet = self.wetness[catchment, day]
        of_day = np.isfinite(self.errors[donors, day]) & (lags == 0)[:, None]
        known = self._known(donors, day, lags[:, None])
        recent = self.recent[donors, last]
        errors = np.where(of_day, np.nan_to_num(self.errors[donors, day]), recent[..., 1])
        km, likeness = self.network.km[catchment, donors], self.likeness[catchment, donors]
        theirs = self.wetness[donors, day]
        lag = np.broadcast_to(np.log1p(lags)[:, None], donors.shape)
        described = np.stack(
            [np.log(km + 1) - 3, 1 / (1 + km / 10), 1 / (1 + km / 40), self.network.east[catchment, donors] / 100,
             self.network.north[catchment, donors] / 100, likeness[..., 0], likeness[..., 1],
             self.network.log_area[donors] - self.network.log_area[catchment], mean[donors] - mean[catchment],
             errors, of_day, theirs, theirs - wet, np.broadcast_to(wet, donors.shape), lag,
             *np.moveaxis(recent, -1, 0)], axis=-1,
        )  # fmt: skip
        context = np.stack(
            [wet[:, 0], *self.season[days].T, np.full(n, mean[catchment]), np.full(n, std[catchment]),
             known.sum(1) / DONORS, np.log1p(lags)], axis=-1,
        )  # fmt: skip
        own_errors = self.errors[catchment, own] - (0 if explained is None else explained)
        own_known = np.isfinite(own_errors) & (np.ones((n, len(own)), bool) if own_known is None else own_known)
        return _tensors(
            context=context,
            state=self._state(catchment, days),
            donors=described * known[..., None],
            donor_errors=errors * known,
            donor_distances=np.log(km + 1),
            donor_known=known,
            own_states=np.broadcast_to(self._state(catchment, own), (n, len(own), STATE)),
            own_lags=(own[None] - days[:, None]).astype(np.float32),
            own_errors=np.nan_to_num(own_errors) * own_known,
            own_known=own_known,
            trained=np.full(n, self.trained[catchment]),
        )

    def _state(self, catchment: int, days: Indices) -> Floats:
        return np.concatenate([self.states[catchment, days], self.season[days]], axis=-1)


@torch.no_grad()
def explain(head: EvidenceHead, table: FlowErrors, catchment: int, days: Indices, lag: int, usable: Flags) -> Floats:
    """Return what donors say of a gauge's errors on some days, ``[M]``, as if its own flow were not known."""
    if not len(days) or not usable.any():
        return np.zeros(len(days), dtype=np.float32)
    lags = np.full(len(days), lag)
    donors = table.donors(catchment, days, lags, usable)
    explained: Floats = head(table.evidence(catchment, days, donors=donors, lags=lags)).error.numpy()
    return explained


def choose_own(days: Indices, record: Indices, *, later: bool = True) -> Indices:
    """Choose the days of a gauge's record that are read for target days: close ones, and others spread evenly.

    ``record`` ascends, as do ``days``. Days within the targets are read too. Which days are read does not depend on
    later ones, if those are not read: ``later`` is False.
    """
    first, last = np.searchsorted(record, (days[0], days[-1] + 1))
    readable = record if later else record[:last]
    if len(readable) <= SHORT_RECORD:
        return readable
    start, end = max(first - CLOSE_DAYS, 0), min(last + CLOSE_DAYS, len(record)) if later else last
    others = np.concatenate([readable[:start], readable[end:]])
    chosen = np.unique(np.linspace(0, len(others) - 1, min(SPREAD_DAYS, len(others))).round().astype(np.int64))
    return np.sort(np.concatenate([record[start:end], others[chosen]]))


def ever_known(observed: Floats) -> Flags:
    """Return which gauges have any flow, ``[C]``."""
    ever: Flags = np.logical_or.reduce(np.isfinite(observed), axis=1)
    return ever


def offset_of(flow: Floats) -> float:
    """Return what is added to flows before logarithms are taken, of flow ``[C, N]`` that may be known."""
    return OFFSET_SHARE * float(np.nanmean(flow)) if np.isfinite(flow).any() else 0.0


def joined(parts: list[Evidence]) -> Evidence:
    """Join evidence of several catchments; the shorter are padded by what is not known."""
    donors = max(part.donors.shape[1] for part in parts)
    own = max(part.own_errors.shape[1] for part in parts)
    widths = dict.fromkeys(("donors", "donor_errors", "donor_distances", "donor_known"), donors)
    widths |= dict.fromkeys(("own_states", "own_lags", "own_errors", "own_known"), own)
    return Evidence(
        **{
            name: torch.cat([_padded(getattr(part, name), widths.get(name)) for part in parts])
            for name in Evidence.__dataclass_fields__
        }
    )


def _padded(values: torch.Tensor, width: int | None) -> torch.Tensor:
    if width is None or values.shape[1] == width:
        return values
    padded = values.new_zeros(len(values), width, *values.shape[2:])
    padded[:, : values.shape[1]] = values
    return padded


def _tensors(**arrays: Floats | Flags) -> Evidence:
    """Return flags as flags, and all that is read as numbers in float32."""
    return Evidence(
        **{
            name: torch.tensor(values, dtype=torch.bool if name.endswith("known") else torch.float32)
            for name, values in arrays.items()
        }
    )


def _recent(values: Floats, days: float) -> Floats:
    """Return exponentially weighted means over the days up to each day, from zero, ``[C, N]``."""
    share = -np.expm1(-1 / days)
    means: Floats = lfilter([share], [1, share - 1], values, axis=1).astype(np.float32)
    return means


def _interpolated(values: Floats, gap: int) -> Floats:
    """Return values ``[N]`` with gaps of at most ``gap`` days interpolated."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return values
    days = np.arange(len(values))
    after = np.searchsorted(known, days)
    inside = (after > 0) & (after < len(known))
    length = known[after.clip(max=len(known) - 1)] - known[(after - 1).clip(0)] - 1
    between = np.interp(days, known, values[known]).astype(values.dtype)
    return np.where(np.isfinite(values), values, np.where(inside & (length <= gap), between, np.nan))


def _agree(first: Floats, second: Floats) -> bool:
    """Return whether two series ``[N]`` are one on their common days, or have too few of these to tell them apart."""
    common = np.isfinite(first) & np.isfinite(second)
    return int(common.sum()) < MIN_COMMON or float(np.median(np.abs(first - second)[common])) < SAME_FLOW


def _shifted(values: Floats, days: int) -> Floats:
    """Return the values of some days before, the first days being their own, ``[C, N]``."""
    return np.concatenate([values[:, :1].repeat(min(days, values.shape[1]), 1), values[:, :-days]], axis=1)
