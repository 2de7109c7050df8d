"""Forecasts: flow of the coming days, from flow up to the day of issue, beside what needs no model.

Shapes: B windows, C catchments, F forecasts, L leads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from multimodal_mae.masking import Question, Questions, ask, draw_noise, show_all

from watercli.baselines.context import Flags, Floats, Scene
from watercli.baselines.correction import updated
from watercli.data.blocks import series_blocks
from watercli.data.dataset import WindowReader
from watercli.data.windows import Indices
from watercli.hydrology.climatology import Climatology
from watercli.hydrology.scores import nse
from watercli.inference.simulator import ROWS
from watercli.log import log, track

FORECASTS = {
    "known_weather": "forecast by the model, coming weather known",
    "blind": "forecast by the model, coming weather unknown",
    "simulation": "simulation by the model, without any flow",
    "updated": "the simulation, updated by its latest error",
    "persistence": "persistence of the day of issue",
    "climatology": "day-of-year climatology",
}
SAW = {
    "known_weather": "flow up to the day of issue, and observed weather up to the day that is forecast: an upper bound "
    "of what a perfect weather forecast would give",
    "blind": "flow and weather up to the day of issue",
    "simulation": "weather up to the day itself, no flow",
    "updated": "the same, and flow up to the day of issue: a share of the simulation's latest error, chosen on the "
    "validation dates for each lead",
    "persistence": "the latest observed flow up to the day of issue",
    "climatology": "the gauge's own flow of the training dates, 15-day circular mean",
}


@dataclass(frozen=True)
class Forecast:
    """What came out of the forecasts, at gauges that training saw."""

    data: xr.Dataset
    """``observed`` (lead, catchment, issued), ``forecast`` (predictor, lead, catchment, issued), ``scored`` (lead,
    catchment, issued), ``nse`` (predictor, lead, catchment)."""
    units: str

    def medians(self) -> dict[str, list[float]]:
        """Return the median efficiency over catchments of each method, by lead."""
        middle = self.data["nse"].median("catchment")
        return {str(name): [float(x) for x in middle.sel(predictor=name).values] for name in middle["predictor"].values}

    @property
    def catchments(self) -> int:
        """Catchments that have a score."""
        return int((self.data["nse"].count(("predictor", "lead")) > 0).sum())


def judge_forecasts(scene: Scene, notes: list[str]) -> Forecast | None:
    """Forecast from every ``forecast_stride``-th day of the test period, or note why it cannot be done.

    Every method is scored on the same days: those that are observed, and for which all have an answer.
    """
    settings, store = scene.settings, scene.store
    leads = min(settings.longest_lead, scene.embedder.days - 1)
    test = store.period("test")
    gauged = np.flatnonzero(~scene.unseen & np.isfinite(scene.flow[:, test]).any(1))
    issued = np.arange(max(test.start, scene.embedder.days), test.stop - leads, settings.forecast_stride)
    if not len(gauged) or not len(issued):
        notes.append(
            "Forecasts are left out: the test period is too short, or has no flow of a gauge that training saw"
        )
        return None
    log.info("Forecasting from %d days at %d gauges", len(issued), len(gauged))
    known, blind = (_by_model(scene, issued, gauged, leads, question)
                    for question in (Question.FORECAST, Question.BLIND_FORECAST))  # fmt: skip
    days = issued + np.arange(1, leads + 1)[:, None]  # [L, F]
    flow = scene.flow[gauged]
    latest = pd.DataFrame(flow.T).ffill().to_numpy().T
    own = Climatology.of(series_blocks(store, scene.target, store.period("train")), len(store.gauge_ids))
    usual = own.at(store.times)[:, gauged].T
    simulated, span = scene.simulated[gauged], scene.simulated_days
    found = {
        "known_weather": known,
        "blind": blind,
        "simulation": simulated[:, days - span.start].swapaxes(0, 1),
        "updated": updated(simulated, flow[:, span], days - span.start, scene.of_simulated(store.period("validation"))),
        "persistence": np.broadcast_to(latest[:, issued], (leads, len(gauged), len(issued))),
        "climatology": usual[:, days].swapaxes(0, 1),
    }
    observed = flow[:, days].swapaxes(0, 1)
    scored = np.isfinite(observed) & np.logical_and.reduce([np.isfinite(one) for one in found.values()])
    units = scene.checkpoint.config.modalities[scene.target].units
    return Forecast(_dataset(scene, gauged, issued, observed, found, scored, units), units)


@torch.inference_mode()
def _by_model(scene: Scene, issued: Indices, gauged: Indices, leads: int, question: Question) -> Floats:
    """Return the model's forecasts ``[L, C, F]`` in physical units; NaN where the day is not observed."""
    config, structure = scene.checkpoint.config, scene.checkpoint.structure
    model, scale = scene.checkpoint.model(scene.device), scene.checkpoint.scaling.predicted(scene.target)
    reader = WindowReader(scene.store, scene.checkpoint.config_for(scene.store), scene.checkpoint.scaling)
    starts = issued + leads + 1 - config.window
    shape = (len(issued), len(gauged), leads)

    def fill(array: Floats) -> None:
        size = max(ROWS // len(gauged), 1)
        for first in track(range(0, len(starts), size), question.name.lower()):
            some = starts[first : first + size]
            batch = reader.read(some, np.broadcast_to(gauged, (len(some), len(gauged))).copy()).to(scene.device)
            everywhere = torch.ones(len(some), dtype=torch.int64)
            asked = Questions(
                everywhere * int(question),
                everywhere * list(config.modalities).index(scene.target),
                everywhere * leads,
            )
            noise = draw_noise(
                structure,
                windows=len(some),
                catchments=len(gauged),
                days=config.window,
                generator=torch.Generator().manual_seed(0),
            )
            masks = ask(batch, structure, show_all(batch, structure), asked, noise)
            predicted = model(batch, masks, names=(scene.target,))[scene.target].full(config.window)[..., 0]
            values = scale.inverse(predicted.unflatten(0, (len(some), -1)).cpu().numpy())
            array[first : first + len(some)] = values[..., -leads:]

    about = scene.about_model(issued=issued.tolist(), gauged=gauged.tolist())
    kind = f"forecast_{'blind' if question is Question.BLIND_FORECAST else 'known'}"
    return scene.cache.filled(kind, about, shape, fill).transpose(2, 1, 0)


def _dataset(
    scene: Scene,
    gauged: Indices,
    issued: Indices,
    observed: Floats,
    found: dict[str, Floats],
    scored: Flags,
    units: str,
) -> xr.Dataset:
    data = xr.Dataset(
        {
            "observed": (("lead", "catchment", "issued"), observed.astype(np.float32), {"units": units}),
            "forecast": (
                ("predictor", "lead", "catchment", "issued"),
                np.stack(list(found.values())).astype(np.float32),
                {"units": units, "long_name": f"forecast {scene.target}"},
            ),
            "scored": (("lead", "catchment", "issued"), scored, {"long_name": "day is part of the scores"}),
        },
        coords={
            "predictor": np.array(list(found), dtype=object),
            "lead": ("lead", np.arange(1, len(observed) + 1), {"units": "day"}),
            "catchment": np.array(scene.store.gauge_ids, dtype=object)[gauged],
            "issued": ("issued", scene.store.times[issued], {"long_name": "last day whose flow is known"}),
        },
    )
    # An efficiency is taken over the forecasts of one lead.
    there = data["observed"].where(data["scored"]).astype(np.float64).rename(issued="time")
    data["nse"] = nse(data["forecast"].astype(np.float64).rename(issued="time"), there)
    return data
