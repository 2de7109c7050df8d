"""The land patches of a stored grid, in standardised values.

Shapes: D days of the store, T of them that are read, L land patches, V cells of a patch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from watercli.data.blocks import to_patches
from watercli.data.scaling import Scale
from watercli.store import Store

Floats = NDArray[np.float32]
DAYS_AT_ONCE = 60
"""Days that are decoded at a time, so that a record needs no more memory than its land patches."""


@dataclass(frozen=True)
class LandPatches:
    """Reads the land patches of one grid; NaN where missing."""

    array: zarr.Array[Any]
    """The grid as the store holds it, ``[D, Y, X]``."""
    cells: NDArray[np.int64]
    """Positions of the cells among those of a field, ``[L, V]``."""
    scale: Scale
    units: tuple[float, float]
    """Factor and offset that bring values to the units of the scale."""
    fingerprint: str
    """That of the store itself, however it is viewed."""

    @classmethod
    def of(cls, store: Store, name: str, scale: Scale) -> LandPatches:
        """Return a modality's; a store that a model reads in its own units says how, see `watercli.run.view`."""
        attributes = store.dataset[name].attrs
        group = zarr.open_group(store.path, mode="r")
        array = group[attributes.get("stored_name", name)]
        assert isinstance(array, zarr.Array)
        units = attributes.get("stored_scale", 1.0), attributes.get("stored_offset", 0.0)
        return cls(array, land_cells(store), scale, units, str(group.attrs["fingerprint"]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """D, L and V."""
        return self.array.shape[0], *self.cells.shape

    @property
    def key(self) -> str:
        """A hash of all that the values depend on."""
        content: list[Any] = [self.fingerprint, self.array.name, self.shape, self.units, asdict(self.scale)]
        content.append(hashlib.sha256(self.cells.tobytes()).hexdigest())
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def read(self, days: slice) -> Floats:
        """Return stored days, ``[T, L, V]``."""
        fields = np.asarray(self.array[days])
        values = fields.reshape(len(fields), math.prod(fields.shape[1:])).take(self.cells, axis=1)
        factor, offset = self.units
        return self.scale.forward(values if (factor, offset) == (1.0, 0.0) else values * factor + offset)


def land_cells(store: Store) -> NDArray[np.int64]:
    """Return the positions of the land patches' cells among those of a field, ``[L, V]``."""
    assert store.grid_shape is not None
    return on_land(store, np.arange(math.prod(store.grid_shape)).reshape(store.grid_shape))


def on_land(store: Store, field: NDArray[Any]) -> NDArray[Any]:
    """Return the land patches ``[L, V]`` of a field ``[Y, X]``."""
    patches: NDArray[Any] = to_patches(field[None], store.patch_size)[0, store.land_patches]
    return patches


def blocks(days: slice) -> Iterator[slice]:
    """Yield consecutive ranges of days, short enough to be decoded at a time."""
    for first in range(days.start, days.stop, DAYS_AT_ONCE):
        yield slice(first, min(first + DAYS_AT_ONCE, days.stop))
