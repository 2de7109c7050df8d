"""The table of a study of transfer: medians over judged gauges, and paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from watercli.evaluation.transfer.methods import METHODS
from watercli.hydrology.scores import compare, summarise

PAIRS = {"over_scratch": "from_scratch", "over_as_is": "as_is"}
"""Columns of differences, and the method that each is against."""
Record = tuple[str, int, int]
"""Method, local gauges, years."""


def summary(scores: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return a row for each method and record, from the scores of `watercli.evaluation.transfer.study.read_scores`.

    The score of a gauge is its mean over the seeds that judge it. ``nse``, with ``low`` and ``high``, is the median
    over gauges and its 95 % interval by bootstrap over gauges. ``over_scratch`` and ``over_as_is`` are medians of
    paired differences: against the same structure from scratch on the same record, and against the model as it is.
    """
    groups: dict[Record, pd.DataFrame] = {}
    for keys, part in scores.groupby(["method", "gauges", "years"]):
        method, gauges, years = map(str, keys)
        groups[method, int(gauges), int(years)] = part
    efficiencies = {record: part.groupby("gauge_id")["nse"].mean() for record, part in groups.items()}
    order = sorted(groups, key=lambda record: (*record[1:], list(METHODS).index(record[0])))
    rows = [_row(efficiencies, record, groups[record]["seed"].nunique(), seed) for record in order]
    return pd.DataFrame(rows)


def _row(efficiencies: Mapping[Record, pd.Series[float]], record: Record, seeds: int, seed: int) -> dict[str, Any]:
    method, gauges, years = record
    median = summarise(efficiencies[record].to_numpy(), seed)
    row = {"method": method, "gauges": gauges, "years": years, "seeds": seeds, "judged": median.count}
    row |= {"nse": median.median, "low": median.low, "high": median.high}
    for column, name in PAIRS.items():
        against = (name, 0, 0) if name == "as_is" else (name, gauges, years)
        row |= _difference(efficiencies, record, against, column, seed)
    return row


def _difference(
    efficiencies: Mapping[Record, pd.Series[float]], record: Record, against: Record, column: str, seed: int
) -> dict[str, float]:
    names = (column, f"{column}_low", f"{column}_high")
    if against not in efficiencies:
        return dict.fromkeys(names, np.nan)
    pairs = pd.concat({"first": efficiencies[record], "second": efficiencies[against]}, axis=1, join="inner")
    pair = compare(pairs["first"].to_numpy(), pairs["second"].to_numpy(), seed).difference
    return dict(zip(names, (pair.median, pair.low, pair.high), strict=True))


def markdown(table: pd.DataFrame) -> str:
    """Return the table of `summary` as Markdown."""
    has_years = bool((table["years"] > 0).any())
    head = ["local gauges", *(["years"] if has_years else []), "method", "median NSE", "over scratch", "over as it is"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in table.to_dict("records"):
        years = [str(row["years"] or "all")] if has_years else []
        score = f"{row['nse']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
        pairs = [_interval(row, column) if row["method"] != name else "" for column, name in PAIRS.items()]
        cells = [str(row["gauges"]), *years, METHODS[row["method"]].label, score, *pairs]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _interval(row: Mapping[Any, Any], column: str) -> str:
    value, low, high = (row[name] for name in (column, f"{column}_low", f"{column}_high"))
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})" if np.isfinite(value) else ""
