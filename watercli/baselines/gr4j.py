"""The conceptual baseline: GR4J, calibrated for each catchment on its own flow of the training period.

Perrin, Michel and Andréassian (2003), doi:10.1016/S0022-1694(03)00225-7, as the package ``hydrogr`` runs it. Where no
flow may be seen, the parameters are those of the nearest gauge that may.
Shapes: C catchments, T days of the store.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from watercli.baselines.context import Context
from watercli.baselines.method import Method
from watercli.baselines.neighbours import distances
from watercli.baselines.weather import catchment_weather
from watercli.config import Config
from watercli.data.scaling import Scaling
from watercli.hydrology.quantities import quantity_of
from watercli.log import log, track
from watercli.store import Store

Floats = NDArray[np.floating[Any]]
NAMES = ("X1", "X2", "X3", "X4")
SCREENED = ((169.0, 350.0, 665.0), (-0.6, 0.0, 0.8), (32.0, 90.0, 178.0), (1.2, 1.7, 2.5))
"""Where the calibration begins: the best of these combinations, as airGR screens a grid before it searches (Coron et
al. 2017, doi:10.1016/j.envsoft.2017.05.002). X1 and X3 in mm, X2 in mm/day, X4 in days: the medians of Perrin et al.
(2003), and a value on either side."""
BOUNDS = ((10.0, 3000.0), (-10.0, 10.0), (5.0, 1000.0), (0.5, 10.0))
EVALUATIONS = 200
DONOR = "for the nearest gauge that training saw"
WARM_UP = 365
"""First days of the store, not scored: the model's stores fill."""
MIN_DAYS = 180
"""A gauge with fewer observed days takes its parameters from the nearest one that has more."""


def forcing(store: Store, config: Config, scaling: Scaling, names: list[str], days: slice) -> Floats | str:
    """Return rain and potential evaporation ``[2, C, T]`` in mm/day, or in a sentence why they are lacking.

    A catchment series goes before a grid.
    """
    inputs = []
    for quantity, words in (("precipitation", "rain"), ("evaporation", "potential evaporation")):
        stated = config.recipe.quality.quantities if config.recipe else {}
        fitting = [
            name
            for name in sorted(names, key=lambda name: config.modalities[name].kind == "grid")
            if (measured := quantity_of(name, config.modalities[name], stated.get(name))) and measured.name == quantity
        ]
        if not fitting:
            return f"no modality of the run is {words}"
        name = fitting[0]
        if config.modalities[name].units != "mm/day":
            return f"'{name}' is in {config.modalities[name].units}, not mm/day"
        standard = catchment_weather(store, scaling, [name], days)[0]
        inputs.append(scaling.modalities[name].inverse(standard))
    return np.stack(inputs).astype(np.float64)


def gr4j(
    weather: Floats, times: pd.DatetimeIndex, flow: Floats, train: slice, days: slice, donors: NDArray[np.int64]
) -> Floats:
    """Calibrate on the training days, and return the flow of ``days``, ``[C, days]``, in mm/day.

    Parameters
    ----------
    weather
        Rain and potential evaporation, ``[2, C, T]``, mm/day. A missing day counts as a dry one, and as one with the
        catchment's mean evaporation; a catchment without any weather gets NaN.
    times
        Of the T days.
    flow
        ``[C, T]`` mm/day, NaN where it may not be seen.
    donors
        Gauges by nearness, ``[C, C]``: a catchment without flow takes the parameters of the first that has some.
    """
    import hydrogr
    from scipy.optimize import minimize

    parameters = np.full((len(flow), len(NAMES)), np.nan)
    scored = slice(max(train.start, WARM_UP), train.stop)
    inputs = [_inputs(weather[:, c], times) for c in range(len(flow))]

    def run(values: Floats, c: int) -> Floats:
        model = hydrogr.ModelGr4j(dict(zip(NAMES, map(float, values), strict=True)))
        simulated: Floats = model.run(inputs[c])["flow"].to_numpy()
        return simulated

    def calibrate(c: int) -> Floats:
        observed = flow[c, scored]
        days = np.isfinite(observed)

        def error(values: Floats) -> float:
            return float(np.square(run(values, c)[scored][days] - observed[days]).mean())

        grid = np.stack(np.meshgrid(*SCREENED), -1).reshape(-1, len(NAMES))
        start = min(grid, key=error)
        options = {"maxfev": EVALUATIONS, "xatol": 1e-2, "fatol": 1e-5}
        best: Floats = minimize(error, start, method="Nelder-Mead", bounds=BOUNDS, options=options).x
        return best

    known = np.isfinite(flow[:, scored]).sum(1) >= MIN_DAYS
    for c in track(np.flatnonzero(known).tolist(), "GR4J"):
        if inputs[c] is not None:
            parameters[c] = calibrate(c)
    simulated = np.full((len(flow), days.stop - days.start), np.nan)
    for c in range(len(flow)):
        calibrated = [d for d in (c, *donors[c].tolist()) if np.isfinite(parameters[d]).all()]
        if calibrated and inputs[c] is not None:
            simulated[c] = run(parameters[calibrated[0]], c)[days]
    return simulated


def _inputs(weather: Floats, times: pd.DatetimeIndex) -> pd.DataFrame | None:
    """Return a catchment's ``[2, T]`` as hydrogr's table; None without any rain or evaporation."""
    rain, evaporation = weather
    if not np.isfinite(rain).any() or not np.isfinite(evaporation).any():
        return None
    return pd.DataFrame(
        {
            "precipitation": np.nan_to_num(rain).clip(0),
            "evapotranspiration": np.where(np.isfinite(evaporation), evaporation, np.nanmean(evaporation)).clip(0),
        },
        index=pd.DatetimeIndex(times, freq="D"),
    )


def _simulate(context: Context) -> Floats | None:
    config, days = context.checkpoint.config, context.days
    if config.modalities[context.target].units != "mm/day":
        log.warning("GR4J is left out: '%s' is not in mm/day", context.target)
        return None
    weather = forcing(context.store, config, context.checkpoint.scaling, context.embedder.modalities, days)
    if isinstance(weather, str):
        log.warning("GR4J is left out: %s", weather)
        return None
    km = distances(context.store) if context.has_neighbours else np.ones((len(context.flow),) * 2)
    donors = np.argsort(np.where(context.unseen, np.inf, km), axis=1, kind="stable")
    flow, train = context.seen_flow[:, days], context.store.period("train")
    return context.cached(
        "gr4j",
        context.about(),
        lambda: gr4j(weather, context.store.times[days], flow, train, context.test, donors),
    )


def _saw(context: Context) -> str:
    own = f"on the gauge's own {context.target} of the training dates"
    return f"rain and potential evaporation; calibrated {DONOR if context.ungauged else own}"


GR4J = Method(
    name="gr4j",
    label="GR4J",
    colour="#B58900",
    line="--",
    saw=_saw,
    simulate=_simulate,
)
