"""Which gauges lie on one river: one is up- or downstream of the other.

Shapes: C gauges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def downstream_of(gauge: str, next_downstream: Mapping[str, str]) -> list[str]:
    """Return all gauges downstream of a gauge, the next one first; each gauge has one next downstream at most.

    Raises
    ------
    ValueError
        If the river flows back to a gauge; the error names the gauges of the cycle.
    """
    path = [gauge]
    while following := next_downstream.get(path[-1]):
        if following in path:
            raise ValueError(" -> ".join([*path[path.index(following) :], following]))
        path.append(following)
    return path[1:]


def on_one_river(gauges: Sequence[str], downstream_ids: Sequence[str]) -> NDArray[np.bool_]:
    """Return which pairs of gauges lie on one river, ``[C, C]``; an empty id means none downstream."""
    following = dict(zip(gauges, downstream_ids, strict=True))
    position = {gauge: number for number, gauge in enumerate(gauges)}
    connected = np.zeros((len(gauges), len(gauges)), dtype=bool)
    for gauge in gauges:
        below = [position[name] for name in downstream_of(gauge, following) if name in position]
        connected[position[gauge], below] = True
    return connected | connected.T
