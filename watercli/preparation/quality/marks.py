"""Values that stand for missing ones and are not declared so: -9999, 1e20, or another impossible value, repeated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEAST_REPEATS = 3
"""Days on which one impossible value must come to look like a mark."""
OTHER_MARKS = (-32768.0, 32767.0, -2147483648.0, 2147483647.0)
"""Least and greatest integers of two and four bytes."""
NOISE = 1e-4
"""Share of the possible range by which a value may lie beyond it and be rounding noise, such as -4.5e-05 mm."""
FILL = 1e19
"""Size from which a number is a fill value: netCDF's own is 9.97e36, others write 1e20 or -1e30."""


def is_likely(value: float) -> bool:
    """Whether a number is one that people write for a missing value: -99, -999.9, 9999, 1e20."""
    digits = f"{abs(value):g}".replace(".", "")
    nines = set(digits) == {"9"} and len(digits) >= (3 if abs(value) < 99 else 2 if value < 0 else 4)
    return bool(abs(value) >= FILL or (nines and abs(value) > 9) or value in OTHER_MARKS)


def repeated(
    values: NDArray[np.floating], suspect: NDArray[np.bool_]
) -> Iterator[tuple[int, float, NDArray[np.bool_]]]:
    """Yield row, value and days ``[T]`` of each value among the ``suspect`` ones ``[N, T]`` that is repeated."""
    for row in np.flatnonzero(suspect.sum(axis=1) >= LEAST_REPEATS):
        numbers, counts = np.unique(values[row, suspect[row]], return_counts=True)
        # Where no value is possible, the units are wrong rather than the values marks.
        others = bool((~suspect[row] & ~np.isnan(values[row])).any())
        for number in numbers[counts >= LEAST_REPEATS]:
            if others or is_likely(number):
                yield int(row), float(number), values[row] == number


def suspects(
    values: NDArray[np.floating], limits: tuple[float, float] | None, source: tuple[float, float] | None
) -> NDArray[np.bool_]:
    """Return where ``[N, T]`` a value may be a mark: outside ``limits``, or, where those are not known, an extreme.

    ``source`` holds the least and the greatest value in units of the files, of which one must be a `is_likely` mark.
    """
    if limits is not None:
        margin = NOISE * (limits[1] - limits[0])
        return np.asarray((values < limits[0] - margin) | (values > limits[1] + margin))
    least, greatest = (source is not None and is_likely(extreme) for extreme in (source or (0.0, 0.0)))
    mask = np.zeros(values.shape, dtype=np.bool_)
    frame = pd.DataFrame(values)  # its extremes know of rows without a value
    if least:
        mask |= values == frame.min(axis=1).to_numpy()[:, None]
    if greatest:
        mask |= values == frame.max(axis=1).to_numpy()[:, None]
    return mask
