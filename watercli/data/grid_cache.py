"""A grid of a store, standardised: decoded into memory once if it fits, otherwise read window by window.

Shapes: T days of a window, D days of the store, Y X cells, L land patches.
"""

from __future__ import annotations

import numpy as np
import torch
import zarr
from multimodal_mae.layers import patchify
from numpy.typing import NDArray
from torch.nn.functional import pad

from watercli.data.scaling import Scale
from watercli.log import log
from watercli.output.sizes import in_bytes
from watercli.store import Store

TOLD_BYTES = 2**30
"""A grid that is larger takes long to read, which is said before."""
DAYS_AT_ONCE = 360
"""Days over which means of patches are taken at a time."""
FIRST_DAY, KNOWN_DAYS = "first_day", "known_days"
"""Attributes of a grid of which a store shows a part: the first day in the file that it shows, and how many are known
from there on; the others are missing."""


class GridCache:
    """The daily fields of one grid modality, in standardised values, NaN where missing."""

    def __init__(self, store: Store, name: str, scale: Scale, limit_gib: float) -> None:
        attributes = store.dataset[name].attrs
        array = zarr.open_group(store.path, mode="r")[attributes.get("stored_name", name)]
        assert isinstance(array, zarr.Array)
        self._array, self._scale = array, scale
        self._units = attributes.get("stored_scale", 1.0), attributes.get("stored_offset", 0.0)
        self._first = int(attributes.get(FIRST_DAY, 0))
        self._known = int(attributes.get(KNOWN_DAYS, array.shape[0] - self._first))
        self._days = len(store.times)
        self._fields: NDArray[np.float32] | None = None
        if array.size * 4 <= limit_gib * 2**30:
            if array.size * 4 > TOLD_BYTES:
                log.info("Reading '%s' into memory: %s", name, in_bytes(array.size * 4))
            self._fields = self._standardised(slice(0, self._known))

    @property
    def held_bytes(self) -> int:
        """Bytes held in memory."""
        return 0 if self._fields is None else self._fields.nbytes

    def _standardised(self, days: slice) -> NDArray[np.float32]:
        """Read shown days; a store that a model reads in its own units says how, see `watercli.run.view`."""
        values = np.asarray(self._array[self._first + days.start : self._first + days.stop])
        factor, offset = self._units
        return self._scale.forward(values if (factor, offset) == (1.0, 0.0) else values * factor + offset)

    def window(self, start: int, days: int) -> torch.Tensor:
        """Return ``[T, Y, X]``; NaN beyond the last known day."""
        span = slice(min(start, self._known), min(start + days, self._known))
        fields = self._standardised(span) if self._fields is None else self._fields[span]
        window = torch.from_numpy(fields)
        beyond = days - len(window)
        return window if not beyond else pad(window, (0, 0, 0, 0, 0, beyond), value=torch.nan)

    def patch_means(self, store: Store) -> torch.Tensor:
        """Return daily means of the land patches, ``[L, D]``; NaN where no cell is observed."""
        land, last = torch.from_numpy(store.land_patches), self._days
        means = []
        for first in range(0, last, DAYS_AT_ONCE):
            fields = self.window(first, min(DAYS_AT_ONCE, last - first))
            means.append(patchify(fields[None], store.patch_size)[0][:, land].nanmean(-1))
        return torch.cat(means).T.contiguous()
