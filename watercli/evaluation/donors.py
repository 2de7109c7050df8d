"""Donor search: are catchments that lie near each other in the embedding alike in what their rivers do?

The distance in the embedding is correlated with the distance between flow signatures. Beside it stand the distances
that a hydrologist takes without a model: on the map, and between static attributes.

Shapes: C catchments, F features, S spaces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import rankdata

from watercli.data.windows import Indices
from watercli.hydrology.scores import nse
from watercli.inference.embedder import Embedder
from watercli.log import track

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

SPACES = {
    "embedding": "embedding",
    "attributes": "static attributes",
    "geography": "distance on the map",
}
"""Where a donor may be looked for."""
DATES = 12, 60
"""Fewest and most dates of the training period whose embeddings are averaged, where none were computed for probes."""
WINDOWS = 20_000
"""Windows of a catchment that are embedded, if that leaves enough dates: a mean over hundreds of rivers takes fewer."""
RESAMPLES = 200
"""Bootstrap samples of catchments behind an interval."""
MIN_CATCHMENTS = 4
"""Catchments with a flow that a search needs."""


def spread_dates(embedder: Embedder, train: slice) -> Indices:
    """Return dates of the training period, spread over it, on which a window ends: at most so many as `DATES` has."""
    ends = embedder.ends(train.start, train.stop - 1)
    number = min(int(np.clip(WINDOWS // len(embedder.store.gauge_ids), *DATES)), len(ends))
    return np.unique(ends[np.linspace(0, len(ends) - 1, number).round().astype(np.int64)])


def mean_embeddings(embedder: Embedder, ends: Indices, batch: int) -> Floats:
    """Return the mean embedding of each catchment over dates, ``[C, F]``; NaN where none has one of a modality."""
    width = int(np.prod(embedder.shape))
    total, number = np.zeros((len(embedder.store.gauge_ids), width)), np.zeros((len(embedder.store.gauge_ids), width))
    windows = embedder.windows(ends, batch)
    for _, values in track(windows, "donor search: embed", total=len(ends), size=lambda part: len(part[0])):
        flat = values.reshape(*values.shape[:2], -1)
        total += np.nansum(flat, axis=0, dtype=np.float64)
        number += np.isfinite(flat).sum(0)
    mean: Floats = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return mean


def distance(features: Floats) -> Floats:
    """Return Euclidean distances ``[C, C]`` between rows of ``[C, F]``, every feature standardised over the rows.

    NaN from and to rows that are not whole; features that do not vary count for nothing.
    """
    deviation = np.nanstd(features, axis=0)
    varying = deviation > 1e-9 * np.maximum(np.abs(np.nanmean(features, axis=0)), 1e-9)
    standard = (features[:, varying] - np.nanmean(features[:, varying], axis=0)) / deviation[varying]
    squares = np.square(standard).sum(1)
    distances: Floats = np.sqrt(np.maximum(squares[:, None] + squares - 2 * standard @ standard.T, 0))
    return distances


def ranked(signatures: Floats) -> Floats:
    """Return signatures ``[signature, C]`` as features ``[C, F]``: ranks among the catchments, which no tail stretches.

    Signatures that a catchment lacks (a river without spells of high flow) are left out for all; catchments without any
    are NaN.
    """
    described = np.isfinite(signatures).any(0)
    complete = np.isfinite(signatures[:, described]).all(1)
    features = np.full((signatures.shape[1], int(complete.sum())), np.nan)
    features[described] = rankdata(signatures[complete][:, described], axis=1).T
    return features


def search(
    spaces: dict[str, Floats],
    alike: Floats,
    flow: xr.DataArray,
    scored: xr.DataArray,
    usable: Flags,
    judged: Flags,
    seed: int,
) -> xr.Dataset | None:
    """Hold distances against the distance between signatures; None with fewer than `MIN_CATCHMENTS` catchments.

    Parameters
    ----------
    spaces
        Distances ``[C, C]`` by the keys of `SPACES`.
    alike
        Distances between flow signatures, ``[C, C]``; NaN for catchments without flow.
    flow
        Observed flow of the test days ``(catchment, time)``, NaN where missing.
    scored
        The same, NaN on days that are not scored too.
    usable
        ``[C]``: gauges that may be donors; held-out gauges may not.
    judged
        ``[C]``: catchments that look for a donor.

    Returns
    -------
    xr.Dataset
        By ``space``: ``correlation`` (Spearman) between the two distances over all pairs of catchments, with the ends
        of a 95 % interval by bootstrap over catchments; and by ``catchment``: ``donor``, the nearest usable gauge;
        ``percentile``, the share of usable gauges that are more alike than it (0: the best donor there is, 0.5:
        chance); ``donor_nse``, the efficiency of the donor's flow of the day, taken as it is.
    """
    known = np.isfinite(np.diag(alike))
    if known.sum() < MIN_CATCHMENTS:
        return None
    gauges = flow["catchment"].values
    correlation, donors, percentiles, efficiency = [], [], [], []
    for distances in spaces.values():
        correlation.append(_correlation(distances[np.ix_(known, known)], alike[np.ix_(known, known)], seed))
        nearest, percentile = _nearest(distances, alike, usable & known, judged & known)
        donors.append(np.where(nearest >= 0, gauges[nearest], ""))
        percentiles.append(percentile)
        lent = flow.isel(catchment=np.maximum(nearest, 0)).assign_coords(catchment=gauges)
        efficiency.append(nse(lent, scored).where(xr.DataArray(nearest >= 0, dims="catchment")).values)
    value, low, high = np.array(correlation).T
    by_space = ("space", "catchment")
    return xr.Dataset(
        {
            "correlation": ("space", value, {"long_name": "Spearman correlation with the distance between signatures"}),
            "correlation_low": ("space", low),
            "correlation_high": ("space", high),
            "donor": (by_space, np.array(donors, dtype=object)),
            "percentile": (by_space, np.stack(percentiles), {"long_name": "share of gauges more alike than the donor"}),
            "donor_nse": (by_space, np.stack(efficiency), {"long_name": "NSE of the donor's flow"}),
        },
        coords={"space": np.array(list(spaces), dtype=object), "catchment": gauges},
    )


def _nearest(distances: Floats, alike: Floats, usable: Flags, judged: Flags) -> tuple[NDArray[np.int64], Floats]:
    """Return the nearest usable gauge of each catchment, -1 without one, and its percentile of likeness."""
    number = len(distances)
    nearest, percentile = np.full(number, -1, dtype=np.int64), np.full(number, np.nan)
    for c in np.flatnonzero(judged):
        others = np.flatnonzero(usable & (np.arange(number) != c) & np.isfinite(distances[c]) & np.isfinite(alike[c]))
        if not len(others):
            continue
        nearest[c] = others[np.argmin(distances[c, others])]
        if len(others) > 1:
            percentile[c] = (alike[c, others] < alike[c, nearest[c]]).sum() / (len(others) - 1)
    return nearest, percentile


def _correlation(x: Floats, y: Floats, seed: int) -> tuple[float, float, float]:
    """Return the rank correlation of two distances over pairs, and the 95 % interval by bootstrap over catchments."""
    rng = np.random.default_rng(seed)
    number = len(x)
    first, second = np.triu_indices(number, 1)
    known = np.isfinite(x[first, second]) & np.isfinite(y[first, second])
    first, second = first[known], second[known]
    groups = [np.unique(distances[first, second], return_inverse=True)[1] for distances in (x, y)]

    def over_pairs(times: NDArray[np.int64]) -> float:
        # A pair counts as often as both were drawn; a catchment drawn twice is no pair. Ranks need no further sorting.
        weight = (times[first] * times[second]).astype(np.float64)
        if weight.sum() < MIN_CATCHMENTS:
            return float("nan")
        (a, b), total = (_ranks(group, weight) for group in groups), weight.sum()
        a, b = a - (weight @ a) / total, b - (weight @ b) / total
        spread = np.sqrt((weight @ a**2) * (weight @ b**2))
        return float(weight @ (a * b) / spread) if spread > 0 else float("nan")

    resamples = track(range(RESAMPLES), "donor search: bootstrap")
    drawn = [over_pairs(np.bincount(rng.integers(number, size=number), minlength=number)) for _ in resamples]
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return over_pairs(np.ones(number, dtype=np.int64)), float(low), float(high)


def _ranks(group: Indices, weight: Floats) -> Floats:
    """Return the middle ranks of values that each come ``weight`` times, by their numbers among the distinct values."""
    number = np.bincount(group, weights=weight)
    ranks: Floats = (np.cumsum(number) - number / 2)[group]
    return ranks
