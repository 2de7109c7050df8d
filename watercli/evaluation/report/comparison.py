"""Writes a comparison: ``comparison.html``, ``comparison.csv``, ``comparison.json``, and of folds ``intervals.csv``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from watercli.baselines.registry import METHODS
from watercli.evaluation.comparison import SUMMARISED, Compared, Row, to_dict
from watercli.evaluation.report import figures
from watercli.evaluation.report.formatting import DASH, interval, number, with_minus
from watercli.evaluation.report.tables import interval_heads, interval_rows, interval_scores, interval_sentence
from watercli.evaluation.report.templating import render
from watercli.evaluation.results import finite
from watercli.hydrology.scores import Comparison
from watercli.log import log
from watercli.output.atomic import Target
from watercli.output.csv_cells import plain

PAGE = "comparison.html"
JSON = "comparison.json"


def is_comparison(path: Path) -> bool:
    """Return whether a folder is one that a comparison was written to."""
    return (path / JSON).is_file() and (path / PAGE).is_file()


def target_of(out: Path, *, overwrite: bool) -> Target:
    """Return the folder to be written."""
    return Target(out, overwrite, "comparison", is_comparison)


def page(compared: Compared, description: str = "") -> str:
    """Return the page as HTML."""
    return render("comparison.html.j2", _values(compared, description))


def write(compared: Compared, target: Target, description: str = "") -> None:
    """Write the page, the table and the numbers, and log the table."""
    with target.writing() as partial:
        partial.mkdir(parents=True)
        text = json.dumps(finite(to_dict(compared)), indent=1, ensure_ascii=False, allow_nan=False)
        (partial / JSON).write_text(text + "\n", encoding="utf-8")
        _write_csv(compared, partial / "comparison.csv")
        if any(row.intervals is not None for row in compared.rows):
            _write_intervals(compared, partial / "intervals.csv")
        (partial / PAGE).write_text(page(compared, description), encoding="utf-8")
    log.info("%s, %d catchments: median NSE, 25th percentile, median KGE", compared.target, compared.catchments)
    for label, scores in compared.summaries.items():
        log.info("  %s: %.2f, %.2f, %.2f", label, scores["nse"].median, scores["nse"].p25, scores["kge"].median)
    for row in compared.rows:
        if row.intervals is not None:
            log.info("%s, predictive intervals: %s", row.label, interval_sentence(row.intervals, compared.units))


def _values(compared: Compared, description: str) -> dict[str, Any]:
    first = compared.rows[0].label
    return {
        "title": f"{len(compared.rows)} experiments on the same days"
        if len(compared.rows) > 1
        else f"{first} and baselines",
        "description": description,
        "rows": [{"label": row.label, "about": _about(compared, row)} for row in compared.rows],
        "target": compared.target,
        "units": compared.units,
        "catchments": compared.catchments,
        "split": compared.split,
        "days": f"{compared.days:,}",
        "first": first,
        "sentences": _sentences(compared),
        "heads": [
            *("experiment", "NSE", "95\u00a0% interval", "25th\u00a0pct.", "KGE"),
            *(
                f"RMSE ({compared.units})",
                f"bias ({compared.units})",
                "better in",
                "median difference",
                "95\u00a0% interval",
            ),
        ],
        "score_rows": [_score_row(compared, label, label == first) for label in compared.summaries],
        "cdf": figures.experiments(compared),
        "intervals": [_intervals(compared, row) for row in compared.rows if row.intervals is not None],
    }


def _title(compared: Compared) -> str:
    if len(compared.rows) == 1:
        return f"{compared.rows[0].label} and baselines"
    return f"{len(compared.rows)} experiments on the same days"


def _intervals(compared: Compared, row: Row) -> dict[str, Any]:
    assert row.intervals is not None
    return {
        "label": row.label,
        "sentence": interval_sentence(row.intervals, compared.units),
        "heads": interval_heads(compared.units),
        "rows": interval_rows(row.intervals),
        "reliability": figures.reliability(row.intervals, METHODS[row.runs[0].main]),
    }


def _score_row(compared: Compared, label: str, main: bool) -> dict[str, Any]:
    scores, pair = compared.summaries[label], compared.against_first.get(label)
    nse = scores["nse"]
    cells = [label, number(nse.median), with_minus(interval(nse.low, nse.high)), number(nse.p25)]
    cells += [number(scores[name].median) for name in SUMMARISED[1:]]
    if pair is None:
        cells += [DASH] * 3
    else:
        gain = pair.difference
        cells += [
            f"{pair.better} of {pair.count}",
            number(gain.median),
            with_minus(interval(gain.low, gain.high)),
        ]
    return {"cells": cells, "main": main}


def _sentences(compared: Compared) -> list[str]:
    first = compared.rows[0].label
    labels = [row.label for row in compared.rows[1:]] or list(compared.against_first)
    return [_sentence(label, compared.against_first[label], first) for label in labels]


def _sentence(label: str, pair: Comparison, first: str) -> str:
    """Return how an experiment compares with the first."""
    gain = pair.difference
    return with_minus(
        f"{label[:1].upper()}{label[1:]} {pair.verdict} {first}: better in {pair.better} of {pair.count} catchments, "
        f"median difference in NSE {gain.median:+.3f} ({interval(gain.low, gain.high, '+.3f')})"
    )


def _about(compared: Compared, row: Row) -> str:
    runs = ", ".join(str(fold.run) for fold in row.runs)
    method = METHODS[row.runs[0].main].label + (", at held-out gauges" if row.ungauged else "")
    changes = compared.differences.get(row.label, [])
    return f"{method}; {runs}" + (f"; {'; '.join(changes)}" if changes else "")


def _write_intervals(compared: Compared, file: Path) -> None:
    """Write one row for each experiment with intervals, and catchment."""
    rows = [
        {"gauge_id": gauge, "experiment": row.label, **interval_scores(row.intervals.sel(catchment=gauge))}
        for row in compared.rows
        if row.intervals is not None
        for gauge in row.intervals["catchment"].values
    ]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {name: f"{value:.6g}" if isinstance(value, float) else plain(value) for name, value in row.items()}
            for row in rows
        )


def _write_csv(compared: Compared, file: Path) -> None:
    """Write one row for each experiment or method and catchment."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["gauge_id", "experiment", *SUMMARISED])
        for gauge in compared.scores["catchment"].values:
            for label in compared.summaries:
                scores = compared.scores.sel({"catchment": gauge, "method": label})
                numbers = [f"{float(scores.sel(metric=name)):.6g}" for name in SUMMARISED]
                writer.writerow([plain(str(gauge)), plain(label), *numbers])
