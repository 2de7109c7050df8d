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

from watercli.baselines import wording
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
Flags = NDArray[np.bool_]
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
SPIN_UP = 2 * 365
"""Days before the first observed one from which on the model runs in a calibration."""
QUICK_DAYS = 3653
"""With ``evaluate.quick``, a gauge's last observed days that are learnt from: ten years. At 60 British gauges of up to
41 years this took 0.37 of the time; the median NSE of two later years was 0.854 in place of 0.860 (paired -0.001)."""
GAUGES = 5
"""Donors of ``gr4j_donors``, whose simulations are averaged (Oudin et al. 2008, doi:10.1029/2007WR006240)."""
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


def run(parameters: Floats, inputs: pd.DataFrame) -> Floats:
    """Return the flow ``[T]`` in mm/day of the model with parameters `NAMES` and the inputs of `inputs_of`."""
    import hydrogr

    model = hydrogr.ModelGr4j(dict(zip(NAMES, map(float, parameters), strict=True)))
    simulated: Floats = model.run(inputs)["flow"].to_numpy()
    return simulated


def calibrate(inputs: pd.DataFrame, observed: Floats, evaluations: int = EVALUATIONS) -> Floats:
    """Return the parameters of the least squared error.

    Parameters
    ----------
    inputs
        Of T days, from `inputs_of`; the model's stores fill on the first `WARM_UP`.
    observed
        ``[T]`` mm/day, NaN on days that do not count.
    evaluations
        Runs of the model in the search, after those of the screening.
    """
    from scipy.optimize import minimize

    days = np.isfinite(observed)

    def error(values: Floats) -> float:
        return float(np.square(run(values, inputs)[days] - observed[days]).mean())

    start = min(np.stack(np.meshgrid(*SCREENED), -1).reshape(-1, len(NAMES)), key=error)
    options = {"maxfev": evaluations, "xatol": 1e-2, "fatol": 1e-5}
    best: Floats = minimize(error, start, method="Nelder-Mead", bounds=BOUNDS, options=options).x
    return best


def can_calibrate(weather: Floats, flow: Floats, train: slice) -> Flags:
    """Return which catchments ``[C]`` have weather, and enough flow on the training days.

    ``weather`` and ``flow`` are those of `calibrated`.
    """
    scored = slice(max(train.start, WARM_UP), train.stop)
    enough = np.isfinite(flow[:, scored]).sum(1) >= MIN_DAYS
    flags: Flags = enough & np.isfinite(weather).any(2).all(0)
    return flags


def calibrated(
    weather: Floats, times: pd.DatetimeIndex, flow: Floats, train: slice, gauges: Flags, last_days: int | None = None
) -> Floats:
    """Return the parameters ``[C, 4]`` of ``gauges`` ``[C]``, calibrated on the training days; NaN of all others.

    Parameters
    ----------
    weather
        Rain and potential evaporation, ``[2, C, T]``, mm/day, see `inputs_of`.
    times
        Of the T days.
    flow
        ``[C, T]`` mm/day, NaN where it may not be seen.
    gauges
        Some of those that `can_calibrate`.
    last_days
        Observed days of a gauge that count, the last ones; None: all.
    """
    parameters = np.full((len(flow), len(NAMES)), np.nan)
    days = slice(0, train.stop)  # The model's past does not know what comes later.
    observed = flow[:, days].copy()
    observed[:, : max(train.start, WARM_UP)] = np.nan
    for c in track(np.flatnonzero(gauges).tolist(), "GR4J"):
        known = np.flatnonzero(np.isfinite(observed[c]))
        first = int(known[-min(last_days or len(known), len(known))])
        observed[c, :first] = np.nan
        run_days = slice(max(first - SPIN_UP, 0), train.stop)
        inputs = inputs_of(weather[:, c, run_days], times[run_days])
        if inputs is not None:
            parameters[c] = calibrate(inputs, observed[c, run_days])
    return parameters


def with_donors(
    weather: Floats, times: pd.DatetimeIndex, parameters: Floats, donors: dict[int, NDArray[np.int64]]
) -> Floats:
    """Return the flow ``[C, T]`` in mm/day, the mean over the parameters of a catchment's donors; NaN without donors.

    Parameters
    ----------
    weather
        ``[2, C, T]``, mm/day; a catchment without any gets NaN.
    parameters
        ``[C, 4]``.
    donors
        Calibrated gauges by catchment.
    """
    simulated = np.full(weather.shape[1:], np.nan)
    for c, chosen in donors.items():
        inputs = inputs_of(weather[:, c], times)
        if len(chosen) and inputs is not None:
            simulated[c] = np.mean([run(parameters[donor], inputs) for donor in chosen], axis=0)
    return simulated


def inputs_of(weather: Floats, times: pd.DatetimeIndex) -> pd.DataFrame | None:
    """Return a catchment's ``[2, T]`` as hydrogr's table; None without any rain or evaporation.

    A missing day counts as a dry one, and as one with the catchment's mean evaporation.
    """
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


def forcing_of(context: Context) -> Floats | None:
    """Return rain and potential evaporation ``[2, C, days]``; None, with a warning, if there can be no GR4J."""
    config = context.checkpoint.config
    if config.modalities[context.target].units != "mm/day":
        log.warning("GR4J is left out: '%s' is not in mm/day", context.target)
        return None
    weather = forcing(context.store, config, context.checkpoint.scaling, context.embedder.modalities, context.days)
    if isinstance(weather, str):
        log.warning("GR4J is left out: %s", weather)
        return None
    return weather


def _parameters(context: Context, kind: str, weather: Floats, gauges: Flags) -> Floats:
    """Return the calibrated parameters ``[C, 4]`` of ``gauges`` ``[C]`` from the cache."""
    times, train = context.store.times[context.days], context.store.period("train")
    last_days = QUICK_DAYS if context.settings.quick else None

    def fill(array: Floats) -> None:
        array[:] = calibrated(weather, times, context.seen_flow[:, context.days], train, gauges, last_days)

    about = context.about(gauges=np.flatnonzero(gauges).tolist(), last_days=last_days)
    return context.cache.filled(f"{kind}_parameters", about, (len(context.flow), len(NAMES)), fill, np.float64)


def _by_nearness(context: Context) -> NDArray[np.int64]:
    """Return all gauges from the nearest to the farthest, ``[C, C]``, those whose flow may not be seen last."""
    km = distances(context.store) if context.has_neighbours else np.ones((len(context.flow),) * 2)
    return np.argsort(np.where(context.unseen, np.inf, km), axis=1, kind="stable")


def simulate(context: Context) -> Floats | None:
    """Return the flow ``[C, simulated_days]``, by own parameters or those of the nearest gauge."""
    return _simulate(context, "gr4j", np.ones(len(context.flow), dtype=bool))


def _simulate_scored(context: Context) -> Floats | None:
    """Return the flow ``[C, T]`` of the test days at the gauges that are scored."""
    if not context.ungauged:
        return context.of_test(simulate(context))
    return context.of_test(_simulate(context, "gr4j_at_held_out", context.unseen))


def _simulate(context: Context, kind: str, catchments: Flags) -> Floats | None:
    """Return the flow ``[C, simulated_days]`` of ``catchments`` ``[C]``; only what they need is calibrated."""
    weather = forcing_of(context)
    if weather is None:
        return None
    own_first = np.column_stack((np.arange(len(context.flow)), _by_nearness(context)))
    return _cached(context, kind, weather, own_first[catchments], catchments, 1)


def _simulate_by_donors(context: Context) -> Floats | None:
    weather = forcing_of(context)
    if weather is None or not context.has_neighbours:
        return None
    scored = context.unseen if context.ungauged else np.ones(len(context.flow), dtype=bool)
    others = np.stack([row[row != c] for c, row in enumerate(_by_nearness(context))])
    return context.of_test(_cached(context, "gr4j_donors", weather, others[scored], scored, GAUGES))


def _cached(
    context: Context, kind: str, weather: Floats, ordered: NDArray[np.int64], catchments: Flags, number: int
) -> Floats:
    """Return the flow ``[C, simulated_days]`` by the first ``number`` of the gauges ``ordered`` ``[catchments, C]``."""
    times, train = context.store.times[context.days], context.store.period("train")

    def simulated(days: slice) -> Floats:
        usable = can_calibrate(weather, context.seen_flow[:, context.days], train)
        numbers = np.flatnonzero(catchments).tolist()
        chosen = {c: row[usable[row]][:number] for c, row in zip(numbers, ordered, strict=True)}
        donors = np.isin(np.arange(len(catchments)), np.concatenate(list(chosen.values())))
        return with_donors(weather, times, _parameters(context, kind, weather, donors), chosen)[:, days]

    about = context.about(catchments=np.flatnonzero(catchments).tolist(), quick=context.settings.quick)
    return context.cached(kind, about, simulated)


def _saw(context: Context) -> str:
    own = f"on the gauge's own {context.target} of the training dates"
    last = f", its last {QUICK_DAYS:,} observed days" if context.settings.quick else ""
    return f"rain and potential evaporation; calibrated {DONOR if context.ungauged else own}{last}"


GR4J = Method(
    name="gr4j",
    label="GR4J",
    colour="#B58900",
    line="--",
    saw=_saw,
    simulate=_simulate_scored,
)
GR4J_DONORS = Method(
    name="gr4j_donors",
    label=f"GR4J with the parameters of {GAUGES} donors",
    colour="#8F6B00",
    line=":",
    saw=lambda context: (
        f"rain and potential evaporation; the mean of {GAUGES} simulations, calibrated for the nearest other gauges"
        f"{wording.held_out(context)}"
    ),
    simulate=_simulate_by_donors,
    in_distribution=False,
    in_summary=False,
    on_request=True,
)
