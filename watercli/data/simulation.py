"""Simulation of a series, window by window: it is masked, its past too, and all other modalities are shown.

Shapes: B windows, C catchments, T days of a window, N dates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import TokenMask, show_all
from torch import Tensor

from watercli.data.reader import WindowReader
from watercli.data.windows import Indices

ROWS = 512
"""Catchment windows that go through the model at once."""
CPU_ROWS = 16
"""The same of a recurrence on processors. Arrays of more rows have fresh memory from the system each time, which takes
as long as the computation."""
LENGTHS = 4
"""Length of a recurrence's windows, as a multiple of those that it is trained with: fewer days are warm-up."""


@dataclass(frozen=True)
class SimulationWindows:
    """The windows that dates are simulated in.

    A recurrence has settled before its window begins, so that each window serves all of its dates, and may be longer
    than those of the training. Other models have windows of ``window_days`` that begin every half window from the
    store's first day and serve the dates of their second half. A date thus sees at least half a window, and the
    antecedent state; the first dates of the store see less.
    """

    days: int
    """T."""
    step: int
    """Days from the beginning of a window to that of the next."""
    rows: int
    """How many catchment windows go through the model at once."""
    recurrent: bool
    """Whether a recurrence reads them: nothing of other catchments, nor of the days that follow a date."""

    @classmethod
    def of(cls, window_days: int, structure: MAEConfig, device: torch.device | str = "cpu") -> SimulationWindows:
        """Return the windows of a model that was trained with windows of ``window_days`` and works on ``device``."""
        if structure.recurrence:
            days, rows = LENGTHS * window_days, CPU_ROWS if torch.device(device).type == "cpu" else ROWS // LENGTHS
            return cls(days, days, rows, recurrent=True)
        return cls(window_days, max(window_days // 2, 1), ROWS, recurrent=False)

    def starts(self, dates: Indices) -> Indices:
        """Return the first day of the window that each date is simulated in, ``[N]``."""
        starts: Indices = (dates - (self.days - self.step)) // self.step * self.step
        return np.maximum(starts, 0)

    def needed(self, dates: Indices) -> int:
        """Return how many days of their windows must be read to simulate some dates."""
        return int((dates - self.starts(dates)).max()) + 1 if self.recurrent else self.days

    def groups(self, catchments: Indices) -> list[Indices]:
        """Cut catchments into those that go through the model at once."""
        if not self.recurrent:
            return [catchments]
        return np.split(catchments, range(self.rows, len(catchments), self.rows))

    def read(self, reader: WindowReader, dates: Indices, catchments: Indices) -> tuple[Batch, Indices, Indices]:
        """Return the windows of some dates; and of each date its window and its day there, ``[N]`` both."""
        starts = self.starts(dates)
        unique, window = np.unique(starts, return_inverse=True)
        each = np.tile(catchments, (len(unique), 1))
        batch = reader.read(unique, each, with_grids=not self.recurrent, days=self.needed(dates))
        return batch, window, dates - starts

    def passes(self, dates: Indices, catchments: int) -> list[Indices]:
        """Cut ascending dates into those that go through the model at once, for a number of catchments."""
        unique, window = np.unique(self.starts(dates), return_inverse=True)
        size = max(self.rows // max(catchments, 1), 1)
        return [dates[(window >= first) & (window < first + size)] for first in range(0, len(unique), size)]


def simulate_windows(
    model: MultiModalMAE, batch: Batch, structure: MAEConfig, target: str
) -> tuple[Tensor, dict[str, TokenMask]]:
    """Return a series of the batch as the model predicts it, ``[B, C, T]``, and the masks of all modalities.

    The prediction is in the space of the target's scaling; the gradient is left to the caller.
    """
    masks = show_all(batch, structure, excluded=(target,), targets=(target,))
    predicted = model(batch, masks, names=(target,)).predictions[target].full(batch.days)[..., 0]
    return predicted.unflatten(0, (batch.windows, -1)), masks
