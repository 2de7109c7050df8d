"""Forecasts: flow of the coming days, from flow up to the day of issue, beside methods that need no model.

Shapes: B windows, C catchments, F forecasts, L lead times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from watercli.baselines.boosted_trees import BOOSTED_TREES
from watercli.baselines.climatology import CLIMATOLOGY
from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.correction import error_updating
from watercli.baselines.evidence import EVIDENCE
from watercli.baselines.method import Curve
from watercli.baselines.neighbours import NEIGHBOUR_CORRECTION
from watercli.baselines.persistence import PERSISTENCE
from watercli.baselines.probes import PROBE, PROBE_REGIONAL
from watercli.baselines.simulation import SIMULATION
from watercli.data.blocks import series_blocks
from watercli.data.windows import Indices
from watercli.evaluation.model_forecasts import ModelForecasts
from watercli.evaluation.protocol import Case, Protocol
from watercli.hydrology.climatology import Climatology
from watercli.hydrology.scores import nse
from watercli.inference.forecast import Weather
from watercli.log import log

MOST_FORECASTS = 250
"""Forecasts of a gauge, unless a stride is given: more tell little, and take long at hundreds of gauges."""


@dataclass(frozen=True, kw_only=True)
class ForecastMethod(Curve):
    """A way to forecast."""

    saw: str
    """In words."""


FORECASTS = {
    method.name: method
    for method in (
        ForecastMethod(
            name="known_weather",
            label="forecast by the model, coming weather known",
            colour=PROBE.colour,
            saw="flow up to the day of issue, and observed weather up to the day that is forecast: an upper bound, as "
            "if the weather forecast were perfect",
        ),
        ForecastMethod(
            name="forecast_weather",
            label="forecast by the model, with forecast weather",
            colour=BOOSTED_TREES.colour,
            line="-.",
            saw="flow and weather up to the day of issue, and of the days after it the latest forecast product of the "
            "store that was issued by then",
        ),
        ForecastMethod(
            name="unknown_weather",
            label="forecast by the model, coming weather unknown",
            colour=PROBE_REGIONAL.colour,
            line="--",
            saw="flow and weather up to the day of issue",
        ),
        ForecastMethod(
            name="forecast_evidence",
            label="forecast by the evidence head, as simulate --init-time",
            colour=EVIDENCE.colour,
            saw="flow of the gauge itself and of others up to the day of issue, and weather: of the days after it the "
            "store's forecast product, or the observed weather where the store has none of the test days",
        ),
        ForecastMethod(
            name="simulation",
            label="simulation by the model, without any flow",
            colour=SIMULATION.colour,
            line=SIMULATION.line,
            saw="weather up to the day itself, no flow",
        ),
        ForecastMethod(
            name="error_updating",
            label="the simulation after error updating",
            colour=NEIGHBOUR_CORRECTION.colour,
            saw="the same, and flow up to the day of issue: a share of the simulation's last error, chosen on the "
            "validation dates for each lead time",
        ),
        ForecastMethod(
            name="persistence",
            label="persistence of the day of issue",
            colour=PERSISTENCE.colour,
            line=PERSISTENCE.line,
            saw="the last observed flow up to the day of issue",
        ),
        ForecastMethod(
            name="climatology",
            label=CLIMATOLOGY.label,
            colour=CLIMATOLOGY.colour,
            line=CLIMATOLOGY.line,
            saw="the gauge's own flow of the training dates, 15-day circular mean",
        ),
    )
}
"""In the order of the tables."""


@dataclass(frozen=True)
class Forecast:
    """Forecasts and their efficiencies, at gauges that training saw."""

    data: xr.Dataset
    """``observed``, ``scored`` (lead_time, catchment, init_time), ``forecast`` (method, lead_time, catchment,
    init_time), ``nse`` (method, lead_time, catchment)."""
    units: str

    def medians(self) -> dict[str, list[float]]:
        """Return the median efficiency over catchments of each method, by lead time."""
        nse = self.data["nse"].median("catchment")
        return {str(name): nse.sel({"method": name}).values.tolist() for name in nse["method"].values}

    @property
    def catchments(self) -> int:
        """Catchments that have a score."""
        return int((self.data["nse"].count(("method", "lead_time")) > 0).sum())


def judge_forecasts(context: Context, notes: list[str]) -> Forecast | None:
    """Forecast from days of the test period; None, with a note, of fewer than two.

    Every method is scored on the same days: those that are observed, and that all methods have forecast.
    """
    settings, store = context.settings, context.store
    lead_times = min(settings.max_lead_time, context.embedder.days - 1)
    test = store.period("test")
    gauged = np.flatnonzero(~context.unseen & np.isfinite(context.flow[:, test]).any(1))
    init_time = days_of_issue(max(test.start, context.embedder.days), test.stop - lead_times, settings.forecast_stride)
    if not len(gauged) or len(init_time) < 2:
        notes.append(
            "Forecasts are left out: the test period is too short, or has no flow of a gauge that training saw"
        )
        return None
    log.info("Forecasting from %d days at %d gauges", len(init_time), len(gauged))
    days = init_time + np.arange(1, lead_times + 1)[:, None]  # [L, F]
    by_model = ModelForecasts(context, init_time, gauged, lead_times)
    of_product = _with_forecast_weather(by_model, notes)
    forecasts = {
        "known_weather": by_model.with_observed_weather(),
        **of_product,
        "unknown_weather": by_model.without_weather(),
        **_with_evidence(by_model, "product" if of_product else "observed"),
        **_without_model_forecast(context, init_time, gauged, days),
    }
    observed = context.flow[gauged][:, days].swapaxes(0, 1)
    scored = np.isfinite(observed) & _answered(list(forecasts.values()))
    units = context.checkpoint.config.modalities[context.target].units
    return Forecast(_dataset(context, gauged, init_time, observed, forecasts, scored, units), units)


def days_of_issue(first: int, stop: int, stride: int | None = None) -> Indices:
    """Return every ``stride``-th day; by default every third, or as many as there are at most `MOST_FORECASTS` of."""
    return np.arange(first, stop, stride or max(-(-(stop - first) // MOST_FORECASTS), 3))


def _without_model_forecast(context: Context, init_time: Indices, gauged: Indices, days: Indices) -> dict[str, Floats]:
    """Return the forecasts ``[L, C, F]`` of the methods that need no forecast by the model."""
    store, flow = context.store, context.flow[gauged]
    last_observed = pd.DataFrame(flow.T).ffill().to_numpy().T
    means = Climatology.of(series_blocks(store, context.target, store.period("train")), len(store.gauge_ids))
    simulated, span = context.simulated[gauged], context.simulated_days
    validation = context.of_simulated(store.period("validation"))
    return {
        "simulation": simulated[:, days - span.start].swapaxes(0, 1),
        "error_updating": error_updating(simulated, flow[:, span], days - span.start, validation),
        "persistence": np.broadcast_to(last_observed[:, init_time], (len(days), len(gauged), len(init_time))),
        "climatology": means.at(store.times)[:, gauged].T[:, days].swapaxes(0, 1),
    }


def _with_forecast_weather(by_model: ModelForecasts, notes: list[str]) -> dict[str, Floats]:
    """Return the forecasts with the store's forecast product, if it has any of the test days; notes say of which."""
    if not by_model.products:
        return {}
    products = ", ".join(by_model.products)
    forecasts = by_model.with_forecast_weather()
    issued: Flags = np.logical_or.reduce(np.isfinite(forecasts), axis=(0, 1))
    if not issued.any():
        notes.append(f"The store's forecast product ({products}) has no test day: forecasts with it are left out")
        return {}
    if not issued.all():
        notes.append(
            f"Forecasts are scored from the {issued.sum()} of {len(issued)} days of issue for whose days to come the "
            f"store's forecast product ({products}) has values"
        )
    return {"forecast_weather": forecasts}


def _with_evidence(by_model: ModelForecasts, weather: Weather) -> dict[str, Floats]:
    """Return the forecasts of the run's evidence head, if it has one."""
    forecasts = by_model.with_evidence(weather)
    return {} if forecasts is None else {"forecast_evidence": forecasts}


def _answered(forecasts: Sequence[Floats]) -> Flags:
    """Return which forecasts ``[L, C, F]`` all methods have made, but for those that never reach a lead time."""
    made = [np.isfinite(forecast) for forecast in forecasts]
    answered: Flags = np.logical_and.reduce([flags | ~flags.any((1, 2), keepdims=True) for flags in made])
    return answered


def _dataset(
    context: Context,
    gauged: Indices,
    init_time: Indices,
    observed: Floats,
    forecasts: dict[str, Floats],
    scored: Flags,
    units: str,
) -> xr.Dataset:
    data = xr.Dataset(
        {
            "observed": (("lead_time", "catchment", "init_time"), observed.astype(np.float32), {"units": units}),
            "forecast": (
                ("method", "lead_time", "catchment", "init_time"),
                np.stack(list(forecasts.values())).astype(np.float32),
                {"units": units, "long_name": f"forecast {context.target}"},
            ),
            "scored": (("lead_time", "catchment", "init_time"), scored, {"long_name": "day is part of the scores"}),
        },
        coords={
            "method": np.array(list(forecasts), dtype=object),
            "lead_time": ("lead_time", np.arange(1, len(observed) + 1), {"units": "day"}),
            "catchment": np.array(context.store.gauge_ids, dtype=object)[gauged],
            "init_time": ("init_time", context.store.times[init_time], {"long_name": "last day whose flow is known"}),
        },
    )
    # An efficiency is taken over the forecasts of one lead time.
    observations = data["observed"].where(data["scored"]).astype(np.float64).rename(init_time="time")
    data["nse"] = nse(data["forecast"].astype(np.float64).rename(init_time="time"), observations)
    return data


def _run(case: Case) -> Forecast | None:
    return judge_forecasts(case.context, case.notes)


FORECAST = Protocol(name="forecast", run=_run, slow=True)
