"""Simulation: the pretrained model itself says what a river did, from weather and attributes, its flow being hidden.

Shapes: B windows, C catchments, T days of a window, N days of the period.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.masking import show_all
from watercli.checkpoint import Checkpoint
from watercli.data.dataset import WindowReader
from watercli.data.windows import Indices
from watercli.log import progress
from watercli.store import Store

ROWS = 512
"""Catchment windows that go through the model at once."""


def window_starts(period: slice, days: int, overlap: int) -> Indices:
    """Return the starts of windows that cover a period, the last one ending with it.

    Each shares ``overlap`` days with the one before. The first may begin before the period, if the store does.
    """
    step = days - overlap
    first = max(period.start - overlap, 0)
    number = max(-(-(period.stop - first - days) // step), 0) + 1
    starts = np.minimum(first + step * np.arange(number), period.stop - days)
    return np.unique(starts.clip(min=0)).astype(np.int64)


@torch.inference_mode()
def simulate(
    checkpoint: Checkpoint, store: Store, target: str, period: slice, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Return ``[C, N]`` of a series in physical units, for every day of a period and every catchment of the store.

    The series is hidden wholly, its past too; all other modalities are shown. Windows overlap by half, and a day's
    value comes from the window in which more days lie before it: it sees half a window at least, and its memory.
    """
    config, structure = checkpoint.config, checkpoint.structure
    model = checkpoint.model(device)
    reader = WindowReader(store, checkpoint.config_for(store), checkpoint.scaling)
    scale, days = checkpoint.scaling.predicted(target), config.window
    overlap = days // 2
    found = np.full((reader.catchments, period.stop - period.start), np.nan, dtype=np.float32)
    everywhere = np.arange(reader.catchments)
    starts = window_starts(period, days, overlap)
    size = max(ROWS // max(reader.catchments, 1), 1)
    with progress() as display:
        for first in display.track(range(0, len(starts), size), description="simulate"):
            some = starts[first : first + size]
            batch = reader.read(some, np.broadcast_to(everywhere, (len(some), len(everywhere))).copy()).to(device)
            masks = show_all(batch, structure, hide=(target,), ask_for=(target,))
            predicted = model(batch, masks, names=(target,))[target].full(days)[..., 0]
            values = scale.inverse(predicted.unflatten(0, (len(some), -1)).cpu().numpy())
            for start, window in zip(some, values, strict=True):
                _lay(found, window, start - period.start, overlap)
    return found


def _lay(found: NDArray[Any], window: NDArray[Any], offset: int, overlap: int) -> None:
    """Write a window ``[C, T]`` at an offset; what earlier windows said of its first days stands."""
    skip = max(-offset, 0)
    here = found[:, offset + skip : offset + window.shape[1]]
    new = window[:, skip : skip + here.shape[1]]
    early = np.arange(skip, skip + here.shape[1]) < overlap
    here[:] = np.where(early & np.isfinite(here), here, new)
