"""Attributes that were computed from flow: as inputs they tell a model what it is to predict, test years included.

By name they are known for certain; by their correlation with mean flow only suspected, as mean rain correlates too.
Names: flow signatures of the CAMELS family (Addor et al. 2017, doi:10.5194/hess-21-5293-2017; Coxon et al. 2020,
doi:10.5194/essd-12-2459-2020), run-off and discharge of HydroATLAS (Linke et al. 2019, doi:10.1038/s41597-019-0300-6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from watercli.config import Catchments, Config
from watercli.errors import ConfigError
from watercli.log import log

COMPUTED_FROM_FLOW = re.compile(
    r"""
      (obs_?)? (q|flow|streamflow|discharge|runoff) _? (mean|avg|std|sd|cv|min|max|median|sum|ann|annual)
    | (mean|avg|annual|median|max|min) _? (annual_|daily_)? (q|flow|streamflow|discharge|runoff)
    | runoff_? (ratio|coef\w*)
    | (stream_? elas\w* | elasticity\w* | streamflow_elasticity\w*)
    | (slope_? fdc | fdc_? slope | fdc_\w+)
    | (base_? flow_? index\w* | bfi (?!_?host) \w*)
    | (hfd | half_? flow)_?\w*
    | q_? \d{1,2} (_\w+)?
    | (high|low|zero|no|int|mid) _? (q|flow) _? (freq|frequency|dur|duration|time|timing|var|season)\w*
    | (bank|structure)_? full_? (flow|discharge)
    | flow_ (period|perc)_\w+
    | run_mm_\w+ | dis_m3_\w+
    """,
    re.VERBOSE,
)
"""Whole names of columns, in small letters. BFIHOST is of soils, not of flow."""
SUSPECT = 0.97
"""Rank correlation with mean flow from which an attribute is warned of."""
FEWEST = 20
"""Catchments without which a correlation says little."""


def flow_attributes(catchments: Catchments) -> dict[str, str]:
    """Return the attributes that were computed from flow by name, and the column of each."""
    return {
        name: " or ".join(attribute.column)
        for name, attribute in catchments.attributes.items()
        if attribute.column and any(COMPUTED_FROM_FLOW.fullmatch(word.lower()) for word in (name, *attribute.column))
    }


def check_attributes(config: Config, catchments: Catchments | None) -> None:
    """Refuse attributes that were computed from flow where gauges are held out, and warn of them elsewhere.

    Parameters
    ----------
    config
        What is prepared or trained.
    catchments
        Where the attributes come from: those of the recipe, or of a store's.

    Raises
    ------
    ConfigError
        If gauges are held out; ``recipe.catchments.allow_flow_attributes`` makes it a warning.
    """
    leaking = flow_attributes(catchments) if catchments else {}
    if catchments is None or not leaking:
        return
    listed = ", ".join(name if name == column else f"{name} (column {column})" for name, column in leaking.items())
    said = f"Attributes computed from flow are inputs: {listed}"
    own = config.recipe.catchments if config.recipe else None
    allowed = catchments.allow_flow_attributes or (own is not None and own.allow_flow_attributes)
    if config.train.held_out_gauges is None or allowed:
        log.warning("%s; they tell of the test period too", said)
        return
    raise ConfigError(
        f"{said}, which tell the flow of held-out gauges; leave them out of recipe.catchments.attributes, or set "
        "recipe.catchments.allow_flow_attributes"
    )


def warn_of_correlation(part: xr.Dataset, flows: list[str], training: slice) -> None:
    """Warn of attributes that rank the catchments as their mean flow over the training days does.

    Parameters
    ----------
    part
        The catchments' part of a store.
    flows
        Its series that are river flow.
    training
        The training days, as labels along ``time``.
    """
    for flow in flows:
        mean = part[flow].sel(time=training).mean("time").values
        for name, correlation in _correlated(part, mean):
            log.warning(
                "Attribute '%s' correlates at %.2f with the mean of '%s': if it was computed from flow, it leaks",
                name,
                correlation,
                flow,
            )


def _correlated(part: xr.Dataset, mean: np.ndarray) -> Iterator[tuple[str, float]]:
    known = np.isfinite(mean)
    for name in part["attribute"].values:
        values = part["static"].sel(attribute=name).values
        both = known & np.isfinite(values)
        if both.sum() < FEWEST:
            continue
        varies = np.ptp(values[both]) > 0
        correlation = abs(float(spearmanr(values[both], mean[both]).statistic)) if varies else 0.0
        if correlation >= SUSPECT:
            yield str(name), correlation
