"""Simulation of a series, window by window: it is masked, its past too, and all other modalities are shown.

Shapes: B windows, C catchments, T days of a window, N dates.
"""

from __future__ import annotations

import numpy as np
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import TokenMask, show_all
from torch import Tensor

from watercli.data.windows import Indices

ROWS = 512
"""Catchment windows that go through the model at once."""


def window_starts(dates: Indices, days: int, structure: MAEConfig) -> Indices:
    """Return the first day of the window that each date is simulated in, ``[N]``.

    A window of ``days`` begins every half window from the store's first day, and serves the dates of its second half.
    A date thus sees at least half a window, and the antecedent state; the first dates of the store see less. A
    recurrence has settled before its window begins, so that each window serves all of its dates.
    """
    step = days if structure.recurrence else max(days // 2, 1)
    starts: Indices = (dates - (days - step)) // step * step
    return np.maximum(starts, 0)


def passes(dates: Indices, days: int, catchments: int, structure: MAEConfig) -> list[Indices]:
    """Cut ascending dates into those that go through the model at once, for a number of catchments."""
    unique, window = np.unique(window_starts(dates, days, structure), return_inverse=True)
    size = max(ROWS // max(catchments, 1), 1)
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
