"""Invertible transforms that bring a skewed quantity nearer to a normal one before it is standardised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TransformName = Literal["identity", "log", "log1p", "sqrt"]
Array = NDArray[np.floating]

LOG_OFFSET = 0.01
"""Added before the logarithm; 0.01 mm/day is the resolution of the specific discharge that CAMELS-GB publishes."""


@dataclass(frozen=True)
class Transform:
    """A monotone function and its inverse, both elementwise; NaN stays NaN."""

    forward: Callable[[Array], Array]
    inverse: Callable[[Array], Array]


def _identity(x: Array) -> Array:
    return x


def _log(x: Array) -> Array:
    return np.log(np.maximum(x, 0) + LOG_OFFSET)


def _unlog(x: Array) -> Array:
    return np.maximum(np.exp(x) - LOG_OFFSET, 0)


def _log1p(x: Array) -> Array:
    return np.log1p(np.maximum(x, 0))


def _unlog1p(x: Array) -> Array:
    return np.maximum(np.expm1(x), 0)


def _sqrt(x: Array) -> Array:
    return np.sqrt(np.maximum(x, 0))


def _unsqrt(x: Array) -> Array:
    return np.square(np.maximum(x, 0))


TRANSFORMS: dict[TransformName, Transform] = {
    "identity": Transform(_identity, _identity),
    "log": Transform(_log, _unlog),
    "log1p": Transform(_log1p, _unlog1p),
    "sqrt": Transform(_sqrt, _unsqrt),
}
