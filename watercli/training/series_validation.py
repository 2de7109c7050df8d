"""Validation as a hydrologist judges: whole series of the validation period, an efficiency for each catchment.

Shapes: C catchments, N days of the validation period.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from multimodal_mae.config import MAEConfig
from numpy.typing import NDArray

from watercli.config import Config
from watercli.data.held_out import held_out_catchments
from watercli.data.reader import WindowReader
from watercli.data.simulation import SimulationWindows, simulate_windows
from watercli.data.windows import Indices
from watercli.hydrology.scores import kge, nse
from watercli.training.engine import Engine

Floats = NDArray[np.floating[Any]]
DAYS_IN_YEAR = 365.25
NSE, KGE = "nse/", "kge/"
"""What the names of the medians in ``metrics.jsonl`` begin with; the series follows."""


@dataclass(frozen=True)
class SeriesValidation:
    """Simulates a series of the catchments that are trained on, over the last years of the validation period."""

    reader: WindowReader
    structure: MAEConfig
    target: str
    catchments: Indices
    """Positions in the store, ``[C]``."""
    dates: Indices
    """Days, positions in the store, ``[N]``."""

    @classmethod
    def of_run(cls, reader: WindowReader, config: Config, structure: MAEConfig) -> list[SeriesValidation]:
        """Return a validation for each series that the run's tasks predict and its model can simulate.

        The list is empty where decoders read their own modality alone, or no validation day is observed.
        """
        if not config.train.validation_catchments:
            return []
        period = reader.store.period("validation")
        first = max(period.start, period.stop - round(config.train.validation_years * DAYS_IN_YEAR))
        dates, validations = np.arange(first, period.stop), []
        for target in config.train.tasks.targets:
            if target in config.of_kind("series") and structure.reads_others(target):
                catchments = _sample(reader, config, target, dates)
                if len(catchments):
                    validations.append(cls(reader, structure, target, catchments, dates))
        return validations

    @property
    def windows(self) -> SimulationWindows:
        """The windows that the dates are simulated in."""
        return SimulationWindows.of(self.reader.days, self.structure)

    @property
    def parts(self) -> list[Indices]:
        """The dates of each pass through the model."""
        return self.windows.passes(self.dates, len(self.catchments))

    @cached_property
    def observed(self) -> Floats:
        """Observed values in physical units, ``[C, N]``."""
        values: Floats = self.reader.store.dataset[self.target].values[self.catchments][:, self.dates]
        return values.astype(np.float64)

    def scores(self, engine: Engine) -> dict[str, float]:
        """Return the median efficiencies over the catchments, ``nse/SERIES`` and ``kge/SERIES``.

        Every process simulates all, as all must go through the model together where weights are spread.
        """
        simulated = np.concatenate([self.simulate(engine, dates) for dates in self.parts], axis=1)
        flow, observed = (xr.DataArray(values, dims=("catchment", "time")) for values in (simulated, self.observed))
        efficiencies = {NSE: nse(flow, observed), KGE: kge(flow, observed)["kge"]}
        return {name + self.target: _median(values.values) for name, values in efficiencies.items()}

    @torch.no_grad()
    def simulate(self, engine: Engine, dates: Indices) -> Floats:
        """Return the simulation of some dates in physical units, ``[C, dates]``: those of one of the `parts`."""
        engine.model.eval()
        groups = self.windows.groups(self.catchments)
        return np.concatenate([self._pass(engine, dates, group) for group in groups])

    def _pass(self, engine: Engine, dates: Indices, group: Indices) -> Floats:
        """Return the same of some catchments, by one pass through the model."""
        batch, window, day = self.windows.read(self.reader, dates, group)
        predicted, _ = simulate_windows(engine.model, batch.to(engine.device), self.structure, self.target)
        flow = predicted.float().cpu().numpy()[window, :, day].T
        return self.reader.scaling.predicted(self.target).inverse(flow).astype(np.float64)


def _sample(reader: WindowReader, config: Config, target: str, dates: Indices) -> Indices:
    """Return at most ``train.validation_catchments`` gauges, spread over those that are trained on and vary."""
    store = reader.store
    values = store.dataset[target].values[:, dates].astype(np.float64)
    varies = np.array([np.ptp(row[np.isfinite(row)]) > 0 if np.isfinite(row).any() else False for row in values])
    settings = config.train.held_out_gauges
    if settings is not None and settings.target == target:
        varies &= ~held_out_catchments(store, config)
    usable = np.flatnonzero(varies)
    number = min(config.train.validation_catchments, len(usable))
    sample: Indices = usable[np.linspace(0, len(usable) - 1, number).round().astype(np.int64)]
    return sample


def _median(values: Floats) -> float:
    """Return the median of the values that are numbers, NaN of none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def chosen_by(scores: dict[str, float]) -> float | None:
    """Return what the best checkpoint is chosen by: the mean over series of their median NSE; None without any."""
    medians = [value for name, value in scores.items() if name.startswith(NSE)]
    return float(np.mean(medians)) if medians and np.isfinite(medians).all() else None
