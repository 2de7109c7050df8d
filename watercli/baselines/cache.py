"""Arrays that took long to compute, kept beside the run under names made of all that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli.log import log
from watercli.output.atomic import written_file
from watercli.run.checkpoint import versions

SCHEMA_VERSION = 2
"""Raised whenever an array of the same name is computed in another way."""

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Cache:
    """A folder of arrays. Each is written whole or not at all, and the newest of each kind replaces the one before."""

    folder: Path

    def filled(
        self,
        kind: str,
        depends_on: Mapping[str, Any],
        shape: tuple[int, ...],
        fill: Callable[[Array], None],
        dtype: type[np.floating[Any]] = np.float32,
    ) -> Array:
        """Return the array of this kind, read-only and mapped from its file; ``fill`` makes it where there is none.

        Parameters
        ----------
        kind
            Begins the file's name.
        depends_on
            All that the array depends on, as JSON types; versions are added.
        shape
            Of the array that ``fill`` gets, all NaN.
        dtype
            Of its numbers.
        """
        key = {"schema": SCHEMA_VERSION, **versions(), "shape": list(shape), "dtype": dtype.__name__, **depends_on}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:20]
        path = self.folder / f"{kind}-{digest}.npy"
        if path.is_file():
            log.info("Kept from before: %s", kind.replace("_", " "))
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_file(path) as partial:
                array = np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
                array[:] = np.nan
                fill(array)
                array.flush()
                del array
                for old in self.folder.glob(f"{kind}-*.npy"):
                    old.unlink()
        kept: Array = np.load(path, mmap_mode="r")
        return kept
