"""The land patches of a grid: decoded into memory once if they fit, otherwise into a file that all processes share.

Where no file can be made they are read from the store, window by window. The values are the same in each case.

Shapes: B windows, T days of a window, D days that the store shows, L land patches, V cells of a patch.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np
import torch

from watercli.data import decoded_file
from watercli.data.decoded_file import DecodedFile
from watercli.data.land_patches import Floats, LandPatches, blocks
from watercli.data.scaling import Scale
from watercli.log import log
from watercli.output.sealed import Damaged
from watercli.output.sizes import in_bytes
from watercli.store import Store

TOLD_BYTES = 2**30
"""A grid that is larger takes long to read, which is said before."""
FIRST_DAY, KNOWN_DAYS = "first_day", "known_days"
"""Attributes of a grid of which a store shows a part: the first day in the file that it shows, and how many are known
from there on; the others are missing."""


class GridCache:
    """The daily land patches of one grid modality, in standardised values, NaN where missing.

    Parameters
    ----------
    store, name, scale
        The store, the modality and what standardises it.
    limit_gib
        Most that is held in memory.
    make_file
        Decode what exceeds the limit into a file, unless there is one already.
    """

    def __init__(self, store: Store, name: str, scale: Scale, limit_gib: float, *, make_file: bool = False) -> None:
        attributes = store.dataset[name].attrs
        self._source = LandPatches.of(store, name, scale)
        self._first = int(attributes.get(FIRST_DAY, 0))
        self._known = int(attributes.get(KNOWN_DAYS, self._source.shape[0] - self._first))
        self._days = len(store.times)
        self._held: Floats | None = None
        self._file: DecodedFile | None = None
        size = self._known * self._source.cells.size * 4
        if size <= limit_gib * 2**30:
            if size > TOLD_BYTES:
                log.info("Reading '%s' into memory: %s", name, in_bytes(size))
            self._held = self._decoded()
        else:
            self._file = decoded_file.opened(store.path, name, self._source, make=make_file)

    @property
    def held_bytes(self) -> int:
        """Bytes held in memory."""
        return 0 if self._held is None else self._held.nbytes

    def _decoded(self) -> Floats:
        decoded = np.empty((self._known, *self._source.cells.shape), np.float32)
        for days in blocks(slice(0, self._known)):
            decoded[days] = self._source.read(self._stored(days))
        return decoded

    def _stored(self, days: slice) -> slice:
        return slice(self._first + days.start, self._first + days.stop)

    def _read(self, days: slice, out: Floats) -> None:
        """Read known days into ``[T, L, V]``."""
        if self._held is not None:
            out[:] = self._held[days]
            return
        if self._file is not None:
            try:
                self._file.read(self._stored(days), out)
                return
            except (Damaged, OSError) as error:
                log.warning("%s; windows are read from the store, and the next training decodes it anew", error)
                with suppress(OSError):
                    self._file.path.unlink()
                self._file = None
        out[:] = self._source.read(self._stored(days))

    def windows(self, starts: Iterable[int], days: int) -> torch.Tensor:
        """Return the windows that start on the given days, ``[B, T, L, V]``; NaN beyond the last known day."""
        firsts = [min(int(start), self._known) for start in starts]
        batch = np.empty((len(firsts), days, *self._source.cells.shape), np.float32)
        for window, first in zip(batch, firsts, strict=True):
            last = min(first + days, self._known)
            if last > first:
                self._read(slice(first, last), window[: last - first])
            window[last - first :] = np.nan
        return torch.from_numpy(batch)

    def patch_means(self) -> torch.Tensor:
        """Return daily means of the patches, ``[L, D]``; NaN where no cell is observed."""
        spans = blocks(slice(0, self._days))
        means = [self.windows([days.start], days.stop - days.start)[0].nanmean(-1) for days in spans]
        return torch.cat(means).T.contiguous()
