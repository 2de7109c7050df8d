"""Forecasts: flow of the coming days, from flow up to the day of issue, beside what needs no model.

Shapes: B windows, C catchments, F forecasts, L leads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from multimodal_mae.tasks import Task, WindowTasks, mask_windows

from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.correction import updated
from watercli.data.blocks import series_blocks
from watercli.data.reader import WindowReader
from watercli.data.simulation import ROWS
from watercli.data.windows import Indices
from watercli.hydrology.climatology import Climatology
from watercli.hydrology.scores import nse
from watercli.log import log, track

FORECASTS = {
    "known_weather": "forecast by the model, coming weather known",
    "blind": "forecast by the model, coming weather unknown",
    "simulation": "simulation by the model, without any flow",
    "error_updating": "the simulation, updated by its latest error",
    "persistence": "persistence of the day of issue",
    "climatology": "day-of-year climatology",
}
SAW = {
    "known_weather": "flow up to the day of issue, and observed weather up to the day that is forecast: an upper bound "
    "of what a perfect weather forecast would give",
    "blind": "flow and weather up to the day of issue",
    "simulation": "weather up to the day itself, no flow",
    "error_updating": "the same, and flow up to the day of issue: a share of the simulation's latest error, chosen on "
    "the validation dates for each lead",
    "persistence": "the latest observed flow up to the day of issue",
    "climatology": "the gauge's own flow of the training dates, 15-day circular mean",
}


@dataclass(frozen=True)
class Forecast:
    """What came out of the forecasts, at gauges that training saw."""

    data: xr.Dataset
    """``observed`` (lead, catchment, init_time), ``forecast`` (method, lead, catchment, init_time), ``scored`` (lead,
    catchment, init_time), ``nse`` (method, lead, catchment)."""
    units: str

    def medians(self) -> dict[str, list[float]]:
        """Return the median efficiency over catchments of each method, by lead."""
        middle = self.data["nse"].median("catchment")
        return {str(name): [float(x) for x in middle.sel({"method": name}).values] for name in middle["method"].values}

    @property
    def catchments(self) -> int:
        """Catchments that have a score."""
        return int((self.data["nse"].count(("method", "lead_time")) > 0).sum())


def judge_forecasts(context: Context, notes: list[str]) -> Forecast | None:
    """Forecast from every ``forecast_stride``-th day of the test period, or note why it cannot be done.

    Every method is scored on the same days: those that are observed, and for which all have an answer.
    """
    settings, store = context.settings, context.store
    leads = min(settings.max_lead_time, context.embedder.days - 1)
    test = store.period("test")
    gauged = np.flatnonzero(~context.unseen & np.isfinite(context.flow[:, test]).any(1))
    init_time = np.arange(max(test.start, context.embedder.days), test.stop - leads, settings.forecast_stride)
    if not len(gauged) or not len(init_time):
        notes.append(
            "Forecasts are left out: the test period is too short, or has no flow of a gauge that training saw"
        )
        return None
    log.info("Forecasting from %d days at %d gauges", len(init_time), len(gauged))
    known, blind = (_by_model(context, init_time, gauged, leads, question)
                    for question in (Task.FORECAST, Task.FORECAST_WITHOUT_FORCING))  # fmt: skip
    days = init_time + np.arange(1, leads + 1)[:, None]  # [L, F]
    flow = context.flow[gauged]
    latest = pd.DataFrame(flow.T).ffill().to_numpy().T
    own = Climatology.of(series_blocks(store, context.target, store.period("train")), len(store.gauge_ids))
    usual = own.at(store.times)[:, gauged].T
    simulated, span = context.simulated[gauged], context.simulated_days
    found = {
        "known_weather": known,
        "blind": blind,
        "simulation": simulated[:, days - span.start].swapaxes(0, 1),
        "error_updating": updated(
            simulated, flow[:, span], days - span.start, context.of_simulated(store.period("validation"))
        ),
        "persistence": np.broadcast_to(latest[:, init_time], (leads, len(gauged), len(init_time))),
        "climatology": usual[:, days].swapaxes(0, 1),
    }
    observed = flow[:, days].swapaxes(0, 1)
    scored = np.isfinite(observed) & np.logical_and.reduce([np.isfinite(one) for one in found.values()])
    units = context.checkpoint.config.modalities[context.target].units
    return Forecast(_dataset(context, gauged, init_time, observed, found, scored, units), units)


@torch.inference_mode()
def _by_model(context: Context, init_time: Indices, gauged: Indices, leads: int, question: Task) -> Floats:
    """Return the model's forecasts ``[L, C, F]`` in physical units; NaN where the day is not observed."""
    config, structure = context.checkpoint.config, context.checkpoint.structure
    model, scale = context.checkpoint.model(context.device), context.checkpoint.scaling.predicted(context.target)
    reader = WindowReader(context.store, context.checkpoint.config_for(context.store), context.checkpoint.scaling)
    starts = init_time + leads + 1 - config.window_days
    shape = (len(init_time), len(gauged), leads)

    def fill(array: Floats) -> None:
        size = max(ROWS // len(gauged), 1)
        for first in track(range(0, len(starts), size), question.name.lower()):
            some = starts[first : first + size]
            batch = reader.read(some, np.broadcast_to(gauged, (len(some), len(gauged))).copy()).to(context.device)
            tasks = WindowTasks.same(
                question, len(some), target=list(config.modalities).index(context.target), lead_time=leads
            )
            masks = mask_windows(batch, structure, tasks)
            prediction = model(batch, masks, names=(context.target,)).predictions[context.target]
            predicted = prediction.full(config.window_days)[..., 0]
            values = scale.inverse(predicted.unflatten(0, (len(some), -1)).cpu().numpy())
            array[first : first + len(some)] = values[..., -leads:]

    about = context.about_model(init_time=init_time.tolist(), gauged=gauged.tolist())
    kind = f"forecast_{'blind' if question is Task.FORECAST_WITHOUT_FORCING else 'known'}"
    return context.cache.filled(kind, about, shape, fill).transpose(2, 1, 0)


def _dataset(
    context: Context,
    gauged: Indices,
    init_time: Indices,
    observed: Floats,
    found: dict[str, Floats],
    scored: Flags,
    units: str,
) -> xr.Dataset:
    data = xr.Dataset(
        {
            "observed": (("lead_time", "catchment", "init_time"), observed.astype(np.float32), {"units": units}),
            "forecast": (
                ("method", "lead_time", "catchment", "init_time"),
                np.stack(list(found.values())).astype(np.float32),
                {"units": units, "long_name": f"forecast {context.target}"},
            ),
            "scored": (("lead_time", "catchment", "init_time"), scored, {"long_name": "day is part of the scores"}),
        },
        coords={
            "method": np.array(list(found), dtype=object),
            "lead_time": ("lead_time", np.arange(1, len(observed) + 1), {"units": "day"}),
            "catchment": np.array(context.store.gauge_ids, dtype=object)[gauged],
            "init_time": ("init_time", context.store.times[init_time], {"long_name": "last day whose flow is known"}),
        },
    )
    # An efficiency is taken over the forecasts of one lead.
    there = data["observed"].where(data["scored"]).astype(np.float64).rename(init_time="time")
    data["nse"] = nse(data["forecast"].astype(np.float64).rename(init_time="time"), there)
    return data
