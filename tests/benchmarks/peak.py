"""Tasks timed in turn, and the rate of matrix products that the machine gives meanwhile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

SIDE = 2048
"""Of the matrices that are multiplied."""


def interleaved(tasks: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each task; one warm-up round, then all in turn."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def product_rate(dtype: torch.dtype, products: int = 3) -> float:
    """Return the rate of matrix products in GFLOP/s: the best of a few, as none can be too fast."""
    a, b = (torch.randn(SIDE, SIDE, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(products):
        start = time.perf_counter()
        _ = a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds) / 1e9
