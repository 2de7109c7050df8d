"""Forecasts by the model: with the observed weather of the days to come, with that of a forecast product, and without.

Shapes: B windows, C catchments, T days of a window, F days of issue, L lead times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import TokenMask, show_all
from multimodal_mae.tasks import Task, WindowTasks, mask_windows
from torch import Tensor

from watercli.baselines.context import Context, Floats
from watercli.config import Simulate
from watercli.data.reader import WindowReader
from watercli.data.simulation import ROWS, SimulationWindows
from watercli.data.windows import Indices
from watercli.inference.archive import ForecastArchive
from watercli.inference.forecast import Weather, from_day, in_memory, known_at, latest_forecast
from watercli.log import track
from watercli.run.simulator import Simulator
from watercli.store import Store


@dataclass(frozen=True)
class ModelForecasts:
    """Forecasts by the model, ``[L, C, F]`` in physical units; NaN where there is none."""

    context: Context
    init_time: Indices
    """Days of issue, ``[F]``: the last whose flow is known."""
    gauged: Indices
    """Catchments, ``[C]``."""
    lead_times: int

    def with_observed_weather(self) -> Floats:
        """Return the forecasts that know the weather of the days to come."""
        return self._kept("forecast_known_weather", lambda: self._forecasts("observed"))

    def without_weather(self) -> Floats:
        """Return the forecasts that know nothing of the days to come."""
        return self._kept("forecast_unknown_weather", lambda: self._forecasts("none"))

    @property
    def products(self) -> list[str]:
        """Inputs of the model that the store has a forecast product of."""
        read = self.context.checkpoint.structure.read_by(self.context.target)
        return [name for name in self.context.store.forecasts if name in read]

    def with_forecast_weather(self) -> Floats:
        """Return the forecasts whose weather of the days to come is the latest product that was issued by then.

        What it lacks is missing to the model, as in `watercli simulate`. NaN on days of which it has no value at all.
        """
        return self._kept("forecast_weather_of_product", lambda: self._forecasts("product"))

    def with_evidence(self, weather: Weather) -> Floats | None:
        """Return the forecasts that ``watercli simulate --init-time`` writes; None without an evidence head.

        They are the simulation, corrected by flow of the gauge itself and of others up to the day of issue.
        """
        context, fitted = self.context, self.context.fitted_evidence
        if fitted is None:
            return None
        first, last = (f"{context.store.times[day]:%Y-%m-%d}" for day in self.init_time[[0, -1]])
        stride = int(self.init_time[1] - self.init_time[0])
        settings = Simulate(
            target=context.target, init_time=f"{first}..{last}", stride=stride, lead_time=self.lead_times,
            forecast_weather=weather,
        )  # fmt: skip
        gauges = tuple(context.store.gauge_ids[catchment] for catchment in self.gauged)

        def forecasts() -> Iterator[Floats]:
            simulator = Simulator(context.checkpoint, context.store, context.target, context.device, gauges)
            archive = ForecastArchive.of(simulator, settings, fitted)
            for block in track(range(archive.layout.blocks), "forecast with the evidence head"):
                yield archive(block)[context.target].swapaxes(0, 1)

        return self._kept("forecast_evidence", forecasts, evidence=context.fingerprint_of_evidence, weather=weather)

    def _forecasts(self, weather: Weather) -> Iterator[Floats]:
        """Return the forecasts of some days of issue at a time, ``[F, C, L]``."""
        if self.context.checkpoint.structure.recurrence is not None:
            return self._continued(weather)
        if weather == "product":
            return self._of_product()
        return self._of_task(Task.FORECAST if weather == "observed" else Task.FORECAST_WITHOUT_FORCING)

    @torch.inference_mode()
    def _continued(self, weather: Weather) -> Iterator[Floats]:
        """Go on from the states of the days of issue, window by window.

        With the weather of a product, NaN on days of which it has no value at all.
        """
        context, checkpoint = self.context, self.context.checkpoint
        reader = self._reader(context.store)
        windows = SimulationWindows.of(checkpoint.config.window_days, checkpoint.structure)
        starts = windows.starts(self.init_time)
        for start in track(np.unique(starts).tolist(), f"forecast, weather: {weather}"):
            issues = self.init_time[starts == start]
            days = windows.needed(issues)
            batch = reader.read(np.array([start]), self.gauged[None], with_grids=False, days=days).to(context.device)
            ahead = self._ahead(reader, issues, weather)
            predicted = self._model.forecast(
                batch, show_all(batch, checkpoint.structure), context.target,
                torch.from_numpy(issues - start).to(context.device),
                {name: values.to(context.device) for name, values in ahead.items()},
            )[0]  # fmt: skip
            values = checkpoint.scaling.predicted(context.target).inverse(predicted.cpu().numpy())  # [C, F, L]
            if weather == "product":
                known = torch.stack([ahead[name][0] for name in self.products]).isfinite().any(0)
                values = np.where(known.numpy(), values, np.nan)
            yield values.swapaxes(0, 1)

    def _ahead(self, reader: WindowReader, issues: Indices, weather: Weather) -> dict[str, Tensor]:
        """Return what is known of the days after the issues, ``[1, C, F, L]``, standardised, by input of the model."""
        context = self.context
        observed = reader.ahead(self.gauged, issues[:, None] + np.arange(1, self.lead_times + 1))
        unknown = torch.full_like(observed[context.target], torch.nan)
        if weather == "observed":
            return observed | {context.target: unknown}
        ahead = dict.fromkeys(observed, unknown)
        for name in self.products if weather == "product" else ():
            of_issue = [
                latest_forecast(context.store.forecasts[name], context.store.times[issued], self.lead_times)
                for issued in issues
            ]
            scale = context.checkpoint.scaling.modalities[name]
            ahead[name] = torch.from_numpy(scale.forward(np.stack(of_issue, axis=1)[self.gauged]))[None]
        return ahead

    def _of_task(self, task: Task) -> Iterator[Floats]:
        reader, size = self._reader(self.context.store), max(ROWS // len(self.gauged), 1)
        starts = self.init_time + self._first_day
        for first in track(range(0, len(starts), size), task.name.lower()):
            yield self._predicted(reader, starts[first : first + size], task)

    def _of_product(self) -> Iterator[Floats]:
        store = in_memory(self.context.store)
        for issued in track(self.init_time.tolist(), "forecast with forecast weather"):
            yield self._from_issue(store, issued)

    def _from_issue(self, store: Store, issued: int) -> Floats:
        """Return the forecasts of one day of issue, ``[1, C, L]``, from the store as it was known then."""
        start = issued + self._first_day
        first = max(start - self.context.checkpoint.structure.past_days, 0)
        known = known_at(from_day(store, first), issued - first, self.lead_times, self.context.target, "product")
        ahead = [known.dataset[name].values[self.gauged, -self.lead_times :] for name in self.products]
        has_weather = np.isfinite(ahead).any(0)
        if not has_weather.any():
            return np.full((1, *has_weather.shape), np.nan)
        return np.where(
            has_weather, self._predicted(self._reader(known), np.array([start - first]), Task.FORECAST), np.nan
        )

    @property
    def _first_day(self) -> int:
        """Days from a day of issue to the first day of the window that ends with its forecasts."""
        return self.lead_times + 1 - self.context.checkpoint.config.window_days

    @cached_property
    def _model(self) -> MultiModalMAE:
        return self.context.checkpoint.model(self.context.device)

    def _reader(self, store: Store) -> WindowReader:
        checkpoint = self.context.checkpoint
        return WindowReader(store, checkpoint.config_for(store), checkpoint.scaling)

    @torch.inference_mode()
    def _predicted(self, reader: WindowReader, starts: Indices, task: Task) -> Floats:
        """Return what a task predicts of the last days of windows, ``[B, C, L]``."""
        checkpoint, target = self.context.checkpoint, self.context.target
        gauged = np.tile(self.gauged, (len(starts), 1))
        batch = reader.read(starts, gauged).to(self.context.device)
        number = list(checkpoint.config.modalities).index(target)
        tasks = WindowTasks.same(task, len(starts), target=number, lead_time=self.lead_times)
        masks = mask_windows(batch, checkpoint.structure, tasks)
        masks[target] = self._all_predicted(masks[target])
        predicted = self._model(batch, masks, names=(target,)).predictions[target].full(batch.days)[..., 0]
        values = checkpoint.scaling.predicted(target).inverse(predicted.unflatten(0, gauged.shape).cpu().numpy())
        return values[..., -self.lead_times :]

    def _all_predicted(self, mask: TokenMask) -> TokenMask:
        """Return a mask with every day that is forecast as a target: whether it was observed is not known then."""
        is_forecast = torch.zeros_like(mask.target)
        is_forecast[:, -self.lead_times :] = True
        return replace(mask, target=is_forecast)

    def _kept(self, kind: str, forecasts: Callable[[], Iterator[Floats]], **depends_on: str) -> Floats:
        """Return forecasts, made for some days of issue at a time, ``[B, C, L]``, or kept from before."""
        shape = len(self.init_time), len(self.gauged), self.lead_times

        def fill(array: Floats) -> None:
            first = 0
            for block in forecasts():
                array[first : first + len(block)] = block
                first += len(block)

        about = self.context.about_model(init_time=self.init_time.tolist(), gauged=self.gauged.tolist(), **depends_on)
        return self.context.cache.filled(kind, about, shape, fill).transpose(2, 1, 0)
