"""Forecasts: flow of the coming days, from flow up to the day of issue, beside methods that need no model.

Shapes: B windows, C catchments, F forecasts, L lead times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from multimodal_mae.tasks import Task, WindowTasks, mask_windows

from watercli.baselines.climatology import CLIMATOLOGY
from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.correction import error_updating
from watercli.baselines.method import Curve
from watercli.baselines.neighbours import NEIGHBOUR_CORRECTION
from watercli.baselines.persistence import PERSISTENCE
from watercli.baselines.probes import PROBE, PROBE_REGIONAL
from watercli.baselines.simulation import SIMULATION
from watercli.data.blocks import series_blocks
from watercli.data.reader import WindowReader
from watercli.data.simulation import ROWS
from watercli.data.windows import Indices
from watercli.evaluation.protocol import Case, Protocol
from watercli.hydrology.climatology import Climatology
from watercli.hydrology.scores import nse
from watercli.log import log, track


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
            name="unknown_weather",
            label="forecast by the model, coming weather unknown",
            colour=PROBE_REGIONAL.colour,
            line="--",
            saw="flow and weather up to the day of issue",
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
    """Forecast from every ``forecast_stride``-th day of the test period; None, with a note, if there is no such day.

    Every method is scored on the same days: those that are observed, and that all methods have forecast.
    """
    settings, store = context.settings, context.store
    lead_times = min(settings.max_lead_time, context.embedder.days - 1)
    test = store.period("test")
    gauged = np.flatnonzero(~context.unseen & np.isfinite(context.flow[:, test]).any(1))
    init_time = np.arange(max(test.start, context.embedder.days), test.stop - lead_times, settings.forecast_stride)
    if not len(gauged) or not len(init_time):
        notes.append(
            "Forecasts are left out: the test period is too short, or has no flow of a gauge that training saw"
        )
        return None
    log.info("Forecasting from %d days at %d gauges", len(init_time), len(gauged))
    days = init_time + np.arange(1, lead_times + 1)[:, None]  # [L, F]
    forecasts = {
        "known_weather": _by_model(context, init_time, gauged, lead_times, Task.FORECAST),
        "unknown_weather": _by_model(context, init_time, gauged, lead_times, Task.FORECAST_WITHOUT_FORCING),
        **_without_model_forecast(context, init_time, gauged, days),
    }
    observed = context.flow[gauged][:, days].swapaxes(0, 1)
    answered = np.logical_and.reduce([np.isfinite(forecast) for forecast in forecasts.values()])
    scored = np.isfinite(observed) & answered
    units = context.checkpoint.config.modalities[context.target].units
    return Forecast(_dataset(context, gauged, init_time, observed, forecasts, scored, units), units)


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


@torch.inference_mode()
def _by_model(context: Context, init_time: Indices, gauged: Indices, lead_times: int, task: Task) -> Floats:
    """Return the model's forecasts ``[L, C, F]`` in physical units; NaN where the day is not observed."""
    config, structure = context.checkpoint.config, context.checkpoint.structure
    model, scale = context.checkpoint.model(context.device), context.checkpoint.scaling.predicted(context.target)
    reader = WindowReader(context.store, context.checkpoint.config_for(context.store), context.checkpoint.scaling)
    starts = init_time + lead_times + 1 - config.window_days
    shape = (len(init_time), len(gauged), lead_times)

    def fill(array: Floats) -> None:
        size = max(ROWS // len(gauged), 1)
        for first in track(range(0, len(starts), size), task.name.lower()):
            chosen = starts[first : first + size]
            batch = reader.read(chosen, np.broadcast_to(gauged, (len(chosen), len(gauged))).copy()).to(context.device)
            tasks = WindowTasks.same(
                task, len(chosen), target=list(config.modalities).index(context.target), lead_time=lead_times
            )
            masks = mask_windows(batch, structure, tasks)
            prediction = model(batch, masks, names=(context.target,)).predictions[context.target]
            predicted = prediction.full(config.window_days)[..., 0]
            values = scale.inverse(predicted.unflatten(0, (len(chosen), -1)).cpu().numpy())
            array[first : first + len(chosen)] = values[..., -lead_times:]

    about = context.about_model(init_time=init_time.tolist(), gauged=gauged.tolist())
    kind = f"forecast_{'unknown' if task is Task.FORECAST_WITHOUT_FORCING else 'known'}_weather"
    return context.cache.filled(kind, about, shape, fill).transpose(2, 1, 0)


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
