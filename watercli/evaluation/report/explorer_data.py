"""The series that the page's script draws: observed and simulated flow of every catchment, small enough for a page.

Values are 16-bit numbers, of each catchment between its least and its greatest value: finer than a screen can show.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli.baselines.registry import METHODS
from watercli.evaluation.diagnostics import Insight
from watercli.evaluation.report.figures import OBSERVED
from watercli.evaluation.simulation import Flow

Floats = NDArray[np.floating[Any]]

MAX_BYTES, LEAST_BYTES, ROW_BYTES = 1_400_000, 200_000, 300
"""Of all series, before they become text, less what each catchment's row in the table and its points take: so a page of
a thousand catchments stays below 3 MB. Beyond it methods are left out, and then catchments."""
MISSING = 2**16 - 1
LOWER, UPPER = "lower", "upper"
SCORED = "scored"
"""Key of the observed flow of the scored days alone."""
AT_FIRST = 2
"""Methods that are drawn before the reader chooses: the main one and the next."""
STROKES = {"-": "", "--": "6 3", "-.": "7 3 2 3", ":": "2 3"}


@dataclass(frozen=True)
class _Series:
    key: str
    label: str
    values: Floats
    """``[C, T]``"""
    colour: str
    dash: str = ""
    band: float | None = None
    """Probability of the interval whose end it is."""
    drawn: bool = True

    def about(self, shown: bool) -> dict[str, Any]:
        return {
            "key": self.key, "label": self.label, "colour": self.colour, "dash": self.dash, "band": self.band,
            "drawn": self.drawn, "shown": shown,
        }  # fmt: skip


def payload(flow: Flow, insight: Insight | None) -> dict[str, Any]:
    """Return what the script needs, as JSON types; ``left_out`` says in words what did not fit."""
    nse = flow.data["score"].sel({"metric": "nse", "method": flow.main}).values
    ranked = sorted(np.flatnonzero(flow.data["days"].values > 0), key=lambda c: -_or_lowest(float(nse[c])))
    series = _all_series(flow, insight)
    days = flow.data.sizes["time"]
    methods, catchments = series, ranked
    most = max(MAX_BYTES - ROW_BYTES * len(ranked), LEAST_BYTES)
    while len(methods) > 3 and 2 * len(methods) * days * len(ranked) > most:
        methods = methods[:-1]
    if methods[-1].band is not None and methods[-1].key.startswith(LOWER):  # half an interval is none
        methods = methods[:-1]
    room = max(most // (2 * len(methods) * days), 3)
    if len(ranked) > room:
        catchments = [ranked[i] for i in np.unique(np.linspace(0, len(ranked) - 1, room).round().astype(int))]
    chosen = np.array(catchments)
    stacked = np.stack([curve.values[chosen] for curve in methods], axis=1).astype(np.float64)  # [C, series, T]
    low, step, codes = _encode(stacked)
    drawn_first = [curve.key for curve in methods if curve.drawn and curve.band is None][: 1 + AT_FIRST]
    return {
        "units": flow.units,
        "main": flow.main,
        "start": str(np.datetime_as_string(flow.data["time"].values[0], unit="D")),
        "days": days,
        "series": [curve.about(curve.key in drawn_first or curve.band == 0.9) for curve in methods],
        "gauges": [_gauge(flow, c, low[i], step[i]) for i, c in enumerate(chosen)],
        "values": base64.b64encode(codes.astype("<u2").tobytes()).decode("ascii"),
        "left_out": _left_out(len(series) - len(methods), len(ranked) - len(catchments)),
    }


def as_script(content: dict[str, Any]) -> str:
    """Return JSON that may stand inside a ``script`` element."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _all_series(flow: Flow, insight: Insight | None) -> list[_Series]:
    """Return all series, the ones to keep first in front."""
    others = [METHODS[name] for name in flow.methods if name != flow.main]
    order = [flow.main_method, *sorted(others, key=lambda method: not (method.in_distribution and method.in_summary))]
    observed = flow.data["observed"].values
    scored = np.where(flow.data["scored"].values, observed, np.nan)
    observations = [
        _Series("observed", "observed", observed, OBSERVED),
        _Series(SCORED, "observed, scored", scored, OBSERVED, drawn=False),
    ]
    simulated = flow.data["simulated"]
    lines = [
        _Series(method.name, method.label, simulated.sel({"method": method.name}).values, method.colour,
                STROKES[method.line])
        for method in order
    ]  # fmt: skip
    bands = []
    if insight is not None and insight.intervals is not None:
        for level in sorted((float(level) for level in insight.intervals["shown"].values), reverse=True):
            for end in (LOWER, UPPER):
                values = insight.intervals[end].sel(shown=level).values
                bands.append(
                    _Series(f"{end}{level:g}", f"{level:.0%} interval", values, flow.main_method.colour, "", level)
                )
    return [*observations, lines[0], *bands, *lines[1:]]


def _encode(values: Floats) -> tuple[Floats, Floats, NDArray[np.uint16]]:
    """Return the least value and the step of each catchment ``[C]``, and 16-bit codes of ``[C, series, T]``."""
    flat = np.where(np.isfinite(values), values, 0).reshape(len(values), -1)
    low = np.minimum(flat.min(1), 0)
    step = np.maximum((flat.max(1) - low) / (MISSING - 1), 1e-12)
    codes = (np.where(np.isfinite(values), values, 0) - low[:, None, None]) / step[:, None, None]
    return low, step, np.where(np.isfinite(values), np.rint(codes), MISSING).astype(np.uint16)


def _gauge(flow: Flow, c: int, low: float, step: float) -> dict[str, Any]:
    here = flow.data.isel(catchment=c)
    nse = {method: _number(float(here["score"].sel({"metric": "nse", "method": method}))) for method in flow.methods}
    return {
        "id": str(here["catchment"].item()),
        "name": str(here["gauge_name"].item()) if "gauge_name" in here.coords else "",
        "area": _number(float(here["area"])) if "area" in here.coords else None,
        "nse": nse,
        "low": float(low),
        "step": float(step),
    }


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _or_lowest(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _left_out(methods: int, catchments: int) -> str:
    parts = [f"{number} {what}" for number, what in ((methods, "series"), (catchments, "catchments")) if number]
    if not parts:
        return ""
    return f"To keep this page small, it holds no curves of {' and '.join(parts)}; results.zarr has them all"
