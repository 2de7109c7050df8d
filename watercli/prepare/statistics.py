"""Statistics of the training period: what standardisation uses, and what is missing."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from dask.base import compute

from watercli.config import Attribute, Modality
from watercli.errors import DataError
from watercli.log import log
from watercli.store import STATISTICS
from watercli.transforms import TRANSFORMS, TransformName

MUCH_MISSING = 0.2
"""Share of the training days above which a catchment's missing days are reported."""


def observed(data: xr.DataArray) -> xr.DataArray:
    """Return where ``data`` has a value."""
    return data.notnull()  # noqa: PD004  (xarray knows no other name)


def of_training(name: str, modality: Modality, data: xr.DataArray) -> xr.DataArray:
    """Return a modality's statistics ``(transform, statistic)`` and warn of what is missing.

    ``data`` holds the training days only; for a grid, land only.

    Raises
    ------
    DataError
        If there is nothing to learn from.
    """
    table = of_modality(data)
    check(name, modality, table)
    report_missing(name, data)
    return table


def of_modality(data: xr.DataArray) -> xr.DataArray:
    """Return statistics ``(transform, statistic)`` of all values, in the space of every transform, in one pass."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)  # a block without a value has no extremes
        rows = compute([_summaries(data.data, name) for name in TRANSFORMS])[0]
    return xr.DataArray(
        np.array(rows, dtype=np.float64),
        dims=("transform", "statistic"),
        coords={"transform": list(TRANSFORMS), "statistic": list(STATISTICS)},
    )


def _summaries(data: Any, transform: TransformName) -> list[Any]:
    """Return the statistics of a numpy or dask array in their order; of a dask array, lazily."""
    # float64: a float32 sum over 10^8 values of rain loses its last digits.
    values = TRANSFORMS[transform].forward(data.astype(np.float64))
    count = (~np.isnan(values)).sum()
    found = {
        "mean": np.nanmean(values),
        "std": np.nanstd(values),
        "min": np.nanmin(values),
        "max": np.nanmax(values),
        "count": count,
        "missing": 1 - count / data.size,
    }
    return [found[name] for name in STATISTICS]


def check(name: str, modality: Modality, table: xr.DataArray) -> None:
    """Refuse a modality that has nothing to learn from in the training period.

    Raises
    ------
    DataError
        If it has no value there, or only one and the same.
    """
    own = {statistic: float(table.sel(transform=modality.transform, statistic=statistic)) for statistic in STATISTICS}
    if own["count"] == 0:
        raise DataError(
            f"'{name}' has no value in the training period; give its files of those days or move recipe.splits"
        )
    if not np.isfinite(own["std"]) or own["std"] <= 1e-9 * max(1.0, abs(own["mean"])):
        raise DataError(
            f"'{name}' is constant in the training period after its transform '{modality.transform}' "
            f"(always {own['mean']:.6g}); it cannot be standardised: leave it out or mend its files"
        )


def report_missing(name: str, data: xr.DataArray) -> None:
    """Warn, with counts, of what the training period lacks: ``data`` holds its days only."""
    if "catchment" not in data.dims:
        days = data.sizes["time"]
        bare = int((~observed(data).any([dim for dim in data.dims if dim != "time"])).sum().compute())
        if bare > MUCH_MISSING * days:
            log.warning("%s has no value at all on %s of %s training days", name, f"{bare:,}", f"{days:,}")
        return
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

    Raises
    ------
    DataError
        If an attribute is the same for every catchment.
    """
    rows = []
    for name, attribute in attributes.items():
        data = TRANSFORMS[attribute.transform].forward(values[name].to_numpy(dtype=np.float64))
        if not np.ptp(data) > 1e-9 * max(1.0, float(np.abs(data).max())):
            raise DataError(
                f"Attribute '{name}' (column '{attribute.column}') is the same for all {len(data)} gauges "
                f"after its transform '{attribute.transform}'; leave it out of recipe.catchments.attributes"
            )
        rows.append([data.mean(), data.std(), data.min(), data.max(), float(data.size), 0.0])
    coords = {"attribute": np.array(list(attributes), dtype=object), "statistic": list(STATISTICS)}
    return xr.DataArray(np.array(rows), dims=("attribute", "statistic"), coords=coords)
