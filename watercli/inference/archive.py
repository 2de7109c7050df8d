"""An archive of forecasts: what `watercli simulate` would have forecast on each of many days, for scoring.

Shapes: C catchments, L lead times, N days of the store.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from watercli.config import Simulate
from watercli.data.windows import Indices
from watercli.inference import labels
from watercli.inference.evidence import InformedSimulator, gauges_read
from watercli.inference.export import Arrays
from watercli.inference.forecast import (
    Resimulation,
    Weather,
    about_weather,
    in_memory,
    known_at,
    weather_of,
    without_inputs,
)
from watercli.inference.known_flow import KnownFlow, position_of
from watercli.inference.layout import Layout
from watercli.inference.simulation_layout import arrays_from, arrays_of, labels_of
from watercli.run.evidence import FittedEvidence
from watercli.run.simulator import Simulator, simulate_all

BLOCK_ISSUES = 8
"""Forecasts of a block: what is written, and done anew after an interruption, at once."""


@dataclass(frozen=True)
class ForecastArchive:
    """Forecasts from many days of issue, block by block; see `watercli.inference.export.Blocks`.

    Each forecast knows what was known on its day of issue, as a single one does. Only the windows that hold later days
    are simulated for each of them.
    """

    simulator: Simulator
    layout: Layout
    settings: Simulate
    fitted: FittedEvidence
    weather: Weather

    @classmethod
    def of(cls, simulator: Simulator, settings: Simulate, fitted: FittedEvidence) -> ForecastArchive:
        """Return what computes the forecasts that the settings choose."""
        simulator = replace(simulator, store=in_memory(simulator.store))
        weather = weather_of(settings, simulator.store, simulator.inputs)
        issues = np.array([position_of(simulator.store, day) for day in settings.issues])
        layout = _lay_out(simulator, settings, fitted, issues)
        about = about_weather(simulator, issues, settings, weather)
        layout = replace(layout, labels=layout.labels.assign_attrs(about))
        return cls(simulator, layout, settings, fitted, weather)

    @cached_property
    def informed(self) -> InformedSimulator:
        """The simulation of the whole store, corrected: what tells one archive from another.

        It reads all gauges that any of the forecasts reads.
        """
        known = KnownFlow.of(self.simulator.store, self.simulator.target, self._issued_at(0))
        first_flow = np.where((flow := np.isfinite(known.observed)).any(1), flow.argmax(1), flow.shape[1])
        stages = np.unique(first_flow[:, None] <= self.layout.dates, axis=1).T
        read = [gauges_read(self.simulator, known.neighbours, has_flow) for has_flow in stages]
        gauges = np.unique(np.concatenate(read))
        return InformedSimulator(self.simulator, self.fitted, gauges, known.among(gauges))

    def __call__(self, number: int) -> Arrays:
        """Forecast from the days of issue of a block."""
        positions = range(len(self.layout.dates))[self.layout.block(number)]
        forecasts = [self._forecast(position) for position in positions]
        return {name: np.stack([arrays[name] for arrays in forecasts], axis=1) for name in forecasts[0]}

    def _issued_at(self, position: int) -> Simulate:
        """Return the settings of a single forecast."""
        return self.settings.model_copy(update={"init_time": self.settings.issues[position].isoformat()})

    @cached_property
    def _resimulation(self) -> Resimulation:
        simulator = self.informed.of_gauges
        stop = min(int(self.layout.dates[-1]) + 1 + self._same_days, len(simulator.store.times))
        return Resimulation(simulator, simulate_all(simulator, slice(0, stop)), self._same_days)

    @property
    def _same_days(self) -> int:
        """Days after an issue whose simulation is that of the whole store: all, if a recurrence knows their weather."""
        causal = self.simulator.checkpoint.structure.recurrence is not None
        return self.settings.lead_time if causal and self.weather == "observed" else 0

    def _forecast(self, position: int) -> Arrays:
        """Return the arrays of one forecast, ``[C, L, ...]``: those beyond the store's weather are missing."""
        issued, settings = int(self.layout.dates[position]), self._issued_at(position)
        known = known_at(self.simulator.store, issued, settings.lead_time, self.simulator.target, self.weather)
        simulated = self._resimulation(known, issued)
        simulator = replace(self.simulator, store=known)
        known_flow = KnownFlow.of(known, simulator.target, settings).among(self.informed.gauges)
        informed = replace(
            self.informed, simulator=simulator, known=known_flow, base=simulated, names_duplicates=position == 0
        )
        dates = np.arange(issued + 1, len(known.times))
        blind = without_inputs(simulated, informed.places, issued)
        arrays = arrays_from(informed.simulated_on(dates), informed(dates), blind, self.simulator, settings)
        return {name: _lengthened(values, settings.lead_time) for name, values in arrays.items()}


def _lengthened(values: np.ndarray, lead_time: int) -> np.ndarray:
    """Return values ``[C, n, ...]`` on all lead times: NaN, or zero of a whole number, after the first n."""
    lacking = lead_time - values.shape[1]
    fill = np.nan if values.dtype.kind == "f" else 0
    widths = [(0, 0), (0, lacking)] + [(0, 0)] * (values.ndim - 2)
    return np.pad(values, widths, constant_values=fill)


def _lay_out(simulator: Simulator, settings: Simulate, fitted: FittedEvidence, issues: Indices) -> Layout:
    store, ahead = simulator.store, np.arange(1, settings.lead_time + 1)
    sizes = {"catchment": len(simulator.catchments), "init_time": len(issues), "lead_time": len(ahead)}
    days = labels.of_dates(simulator.checkpoint, store, issues, "day of issue: the last whose flow is known")
    days["time"].attrs["standard_name"] = "forecast_reference_time"
    valid = store.times[issues].to_numpy()[:, None] + pd.to_timedelta(ahead, unit="D").to_numpy()
    about = labels_of(simulator, store, settings, fitted)
    about = about.merge(days.rename(time="init_time"), combine_attrs="override").assign_coords(
        lead_time=("lead_time", ahead, {"standard_name": "forecast_period", "units": "day"}),
        valid_time=(("init_time", "lead_time"), valid, {"standard_name": "time", "long_name": "day that is forecast"}),
    )
    return Layout(
        issues,
        BLOCK_ISSUES,
        about.assign_attrs(block_dates=BLOCK_ISSUES),
        arrays_of(simulator, settings, fitted, sizes),
    )
