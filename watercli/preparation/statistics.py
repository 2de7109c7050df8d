"""Statistics of the training period: what standardisation uses, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from watercli.config import Attribute, Modality, Period, Splits
from watercli.errors import DataError
from watercli.log import log
from watercli.store import STATISTICS
from watercli.transforms import TRANSFORMS, Transform

BARE_PERIODS = {
    "validation": "no checkpoint can be chosen by it",
    "test": "it cannot be scored there",
}
"""What follows where a period has no value of a modality."""
PIECE = 16_384
"""Values that are transformed at once, so that what is made on the way stays in the processor's cache."""
MUCH_MISSING = 0.2
"""Share of the training days above which a catchment's missing days are reported."""


def observed(data: xr.DataArray) -> xr.DataArray:
    """Return where ``data`` has a value."""
    return data.notnull()  # noqa: PD004  (xarray knows no other name)


def of_training(name: str, modality: Modality, data: xr.DataArray) -> xr.DataArray:
    """Return a series modality's statistics ``(transform, statistic)`` and warn of what is missing.

    ``data`` ``(catchment, time)`` holds the training days only.

    Raises
    ------
    DataError
        If there is nothing to learn from.
    """
    statistics = table([moments(data.to_numpy())], data.size)
    check(name, modality, statistics)
    report_missing(name, data)
    return statistics


def moments(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return count, mean, sum of squared deviations, minimum and maximum of the values that are not NaN.

    One row for each of `TRANSFORMS`, in its space; NaN (and a count of 0) where there is no value.
    """
    # float64: a float32 sum over 10^8 values of rain loses its last digits.
    present = values[~np.isnan(values)].astype(np.float64)
    if not present.size:
        return np.array([[0.0, 0.0, 0.0, np.nan, np.nan]] * len(TRANSFORMS))
    return np.array([_moments_of(transform, present) for transform in TRANSFORMS.values()], dtype=np.float64)


def _moments_of(transform: Transform, present: NDArray[np.float64]) -> list[float]:
    """Return the `moments` of values ``[N]`` in the space of a transform, worked through piece by piece."""
    pieces = [slice(start, start + PIECE) for start in range(0, present.size, PIECE)]
    seen = np.empty_like(present)
    for piece in pieces:
        seen[piece] = transform.forward(present[piece])
    mean, least, most = seen.mean(), seen.min(), seen.max()
    for piece in pieces:
        seen[piece] = np.square(seen[piece] - mean)
    return [seen.size, mean, seen.sum(), least, most]


def merge(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge the `moments` of two parts (Chan, Golub and LeVeque 1983, The American Statistician 37, 242-247)."""
    count = first[:, 0] + second[:, 0]
    share = second[:, 0] / np.maximum(count, 1)
    apart = second[:, 1] - first[:, 1]
    return np.stack(
        [
            count,
            first[:, 1] + apart * share,
            first[:, 2] + second[:, 2] + apart**2 * first[:, 0] * share,
            np.fmin(first[:, 3], second[:, 3]),
            np.fmax(first[:, 4], second[:, 4]),
        ],
        axis=1,
    )


def table(parts: Sequence[NDArray[np.float64]], size: int) -> xr.DataArray:
    """Return statistics ``(transform, statistic)`` from the `moments` of all parts; ``size`` counts NaN too."""
    count, mean, squares, least, most = reduce(merge, parts).T
    defined = np.where(count > 0, 1.0, np.nan)
    columns = {
        "mean": mean * defined,
        "std": np.sqrt(squares / np.maximum(count, 1)) * defined,
        "min": least,
        "max": most,
        "count": count,
        "missing": 1 - count / size,
    }
    return xr.DataArray(
        np.stack([columns[name] for name in STATISTICS], axis=1),
        dims=("transform", "statistic"),
        coords={"transform": list(TRANSFORMS), "statistic": list(STATISTICS)},
    )


def check(name: str, modality: Modality, table: xr.DataArray) -> None:
    """Refuse a modality that has nothing to learn from in the training period; an optional one may have no value.

    Raises
    ------
    DataError
        If it has no value there, or only one and the same.
    """
    own = {statistic: float(table.sel(transform=modality.transform, statistic=statistic)) for statistic in STATISTICS}
    if own["count"] == 0 and modality.dropout:
        log.warning("%s has no value in the training period: nothing can be trained on it", name)
        return
    if own["count"] == 0:
        raise DataError(
            f"'{name}' has no value in the training period; give its files of those days or move recipe.splits"
        )
    if not np.isfinite(own["std"]) or own["std"] <= 1e-9 * max(1.0, abs(own["mean"])):
        raise DataError(
            f"'{name}' is constant in the training period after its transform '{modality.transform}' "
            f"(always {own['mean']:.6g}); it cannot be standardised: leave it out or mend its files"
        )


def report_bare_days(name: str, observed_cells: NDArray[np.integer]) -> None:
    """Warn, with a count, of the training days on which a grid has no value; ``observed_cells`` is ``[T]``."""
    bare, days = int((observed_cells == 0).sum()), len(observed_cells)
    if bare > MUCH_MISSING * days:
        log.warning("%s has no value at all on %s of %s training days", name, f"{bare:,}", f"{days:,}")


def report_bare_periods(name: str, present: pd.Series, splits: Splits) -> None:
    """Say in which of the validation and the test period a modality has no value; ``present`` counts them by day.

    A benchmark may keep these values back.
    """
    for split, consequence in BARE_PERIODS.items():
        period: Period = getattr(splits, split)
        if not present.loc[str(period.start) : str(period.end)].any():
            log.warning("%s has no value in the %s period (%s to %s): %s", name, split, period.start, period.end,
                        consequence)  # fmt: skip


def report_missing(name: str, data: xr.DataArray) -> None:
    """Warn, with counts, of the catchments whose series ``(catchment, time)`` lack many of the training days."""
    missing = (~observed(data)).sum("time").to_series().sort_values(ascending=False)
    many = missing[missing > MUCH_MISSING * data.sizes["time"]]
    if len(many):
        worst = ", ".join(f"{gauge}: {gaps:,} days" for gauge, gaps in many.iloc[:5].items())
        log.warning(
            "%s: %d of %d catchments lack more than %d %% of the %s training days (%s%s)",
            name,
            len(many),
            len(missing),
            round(100 * MUCH_MISSING),
            f"{data.sizes['time']:,}",
            worst,
            ", ..." if len(many) > 5 else "",
        )


def of_attributes(values: pd.DataFrame, attributes: dict[str, Attribute]) -> xr.DataArray:
    """Return statistics ``(attribute, statistic)`` over the catchments, each attribute in its own transform.

    An attribute that is the same for every catchment has a deviation of zero, and is warned of; so has one that none
    has, which was warned of before.
    """
    rows = []
    for name, attribute in attributes.items():
        present = values[name].dropna().to_numpy(dtype=np.float64)
        missing = 1 - len(present) / len(values)
        if not present.size:
            rows.append([0.0, 0.0, np.nan, np.nan, 0.0, missing])
            continue
        data = TRANSFORMS[attribute.transform].forward(present)
        varies = np.ptp(data) > 1e-9 * max(1.0, float(np.abs(data).max()))
        if not varies:
            log.warning(
                "Attribute '%s' (%s) is the same for all %d gauges: a model that is trained on them leaves it aside",
                name, attribute.origin, len(data),
            )  # fmt: skip
        rows.append([data.mean(), data.std() if varies else 0.0, data.min(), data.max(), float(data.size), missing])
    coords = {"attribute": np.array(list(attributes), dtype=object), "statistic": list(STATISTICS)}
    return xr.DataArray(np.array(rows), dims=("attribute", "statistic"), coords=coords)
