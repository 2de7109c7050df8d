"""Writes a comparison: ``comparison.html``, ``comparison.csv``, ``comparison.json``, and of folds ``intervals.csv``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from watercli.baselines.registry import METHODS
from watercli.evaluation.comparison import SHOWN, Compared, Row, to_dict
from watercli.evaluation.report import figures
from watercli.evaluation.report.formatting import DASH, number, with_minus
from watercli.evaluation.report.tables import interval_heads, interval_rows, interval_scores, interval_sentence
from watercli.evaluation.report.templating import render
from watercli.evaluation.results import finite
from watercli.log import log
from watercli.output.atomic import Target

PAGE = "comparison.html"
JSON = "comparison.json"


def is_comparison(path: Path) -> bool:
    """Return whether a folder is one that a comparison was written to."""
    return (path / JSON).is_file() and (path / PAGE).is_file()


def target_of(out: Path, *, overwrite: bool) -> Target:
    """Return the folder to be written."""
    return Target(out, overwrite, "comparison", is_comparison)


def write(found: Compared, target: Target, description: str = "") -> None:
    """Write the page, the table and the numbers, and log the table."""
    with target.writing() as partial:
        partial.mkdir(parents=True)
        text = json.dumps(finite(to_dict(found)), indent=1, ensure_ascii=False, allow_nan=False)
        (partial / JSON).write_text(text + "\n", encoding="utf-8")
        _write_csv(found, partial / "comparison.csv")
        if any(row.intervals is not None for row in found.rows):
            _write_intervals(found, partial / "intervals.csv")
        (partial / PAGE).write_text(render("comparison.html.j2", _values(found, description)), encoding="utf-8")
    log.info("%s, %d catchments: median NSE, 25th percentile, median KGE", found.target, found.catchments)
    for label, scores in found.summaries.items():
        log.info("  %s: %.2f, %.2f, %.2f", label, scores["nse"].median, scores["nse"].p25, scores["kge"].median)
    for row in found.rows:
        if row.intervals is not None:
            log.info("%s, predictive intervals: %s", row.label, interval_sentence(row.intervals, found.units))


def _values(found: Compared, description: str) -> dict[str, Any]:
    first = found.rows[0].label
    return {
        "title": f"{len(found.rows)} experiments on the same days" if len(found.rows) > 1 else f"{first} and baselines",
        "description": description,
        "rows": [{"label": row.label, "about": _about(found, row)} for row in found.rows],
        "target": found.target,
        "units": found.units,
        "catchments": found.catchments,
        "days": f"{found.days:,}",
        "first": first,
        "sentences": _sentences(found),
        "heads": [
            *("experiment", "NSE", "95\u00a0% interval", "25th\u00a0pct.", "KGE"),
            *(f"RMSE ({found.units})", f"bias ({found.units})", "better in", "median difference", "95\u00a0% interval"),
        ],
        "score_rows": [_score_row(found, label, number_ == 0) for number_, label in enumerate(found.summaries)],
        "cdf": figures.experiments(found),
        "intervals": [_intervals(found, row) for row in found.rows if row.intervals is not None],
    }


def _intervals(found: Compared, row: Row) -> dict[str, Any]:
    assert row.intervals is not None
    return {
        "label": row.label,
        "sentence": interval_sentence(row.intervals, found.units),
        "heads": interval_heads(found.units),
        "rows": interval_rows(row.intervals),
        "reliability": figures.reliability(row.intervals, METHODS[row.runs[0].main]),
    }


def _score_row(found: Compared, label: str, main: bool) -> dict[str, Any]:
    scores, pair = found.summaries[label], found.against_first.get(label)
    nse = scores["nse"]
    cells = [label, number(nse.median), f"{number(nse.low)} to {number(nse.high)}", number(nse.p25)]
    cells += [number(scores[name].median) for name in SHOWN[1:]]
    if pair is None:
        cells += [DASH] * 3
    else:
        one = pair.difference
        cells += [
            f"{pair.better} of {pair.count}",
            number(one.median),
            f"{number(one.low)} to {number(one.high)}",
        ]
    return {"cells": cells, "main": main}


def _sentences(found: Compared) -> list[str]:
    first = found.rows[0].label
    labels = [row.label for row in found.rows[1:]] or list(found.against_first)
    sentences = []
    for label in labels:
        one, gain = found.against_first[label], found.against_first[label].difference
        text = (
            f"{label[:1].upper()}{label[1:]} {one.verdict} {first}: better in {one.better} of {one.count} catchments, "
            f"median difference in NSE {gain.median:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        )
        sentences.append(with_minus(text))
    return sentences


def _about(found: Compared, row: Row) -> str:
    runs = ", ".join(str(one.run) for one in row.runs)
    how = METHODS[row.runs[0].main].label + (", at gauges hidden in training" if row.ungauged else "")
    changes = found.differences.get(row.label, [])
    return f"{how}; {runs}" + (f"; {'; '.join(changes)}" if changes else "")


def _write_intervals(found: Compared, file: Path) -> None:
    """Write one row for each experiment with intervals, and catchment."""
    rows = [
        {"gauge_id": gauge, "experiment": row.label, **interval_scores(row.intervals.sel(catchment=gauge))}
        for row in found.rows
        if row.intervals is not None
        for gauge in row.intervals["catchment"].values
    ]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {name: f"{one:.6g}" if isinstance(one, float) else one for name, one in row.items()} for row in rows
        )


def _write_csv(found: Compared, file: Path) -> None:
    """Write one row for each experiment or method and catchment."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["gauge_id", "experiment", *SHOWN])
        for gauge in found.scores["catchment"].values:
            for label in found.summaries:
                here = found.scores.sel({"catchment": gauge, "method": label})
                writer.writerow([gauge, label, *(f"{float(here.sel(metric=name)):.6g}" for name in SHOWN)])
