"""The main figures on the terminal."""

from __future__ import annotations

from rich.table import Table

from watercli.baselines.registry import METHODS
from watercli.evaluation.forecast import FORECASTS
from watercli.evaluation.reconstruction import BASELINES
from watercli.evaluation.report.formatting import interval, number
from watercli.evaluation.report.summary_text import flow_sentences, insight_sentences
from watercli.evaluation.results import Outcome
from watercli.evaluation.short_records import in_words
from watercli.log import console, log, shows_bars

MOST_NAMED = 5
"""Catchments that are named for each reason."""


def show(outcome: Outcome) -> None:
    """Print two small tables; plain log lines where standard error is no terminal."""
    for table in (_reconstruction(outcome), _flow(outcome), _forecast(outcome), _short_records(outcome)):
        if table is None:
            continue
        if shows_bars():
            console.print(table)
        else:
            _log(table)
    _show_left_out(outcome)
    sections = (section.sentence for section in outcome.sections.values())
    for sentence in (*flow_sentences(outcome), *insight_sentences(outcome), *sections):
        log.info(sentence)


def _show_left_out(outcome: Outcome) -> None:
    """Name the catchments that are not scored, and why."""
    if outcome.flow is None or not outcome.flow.left_out:
        return
    by_reason: dict[str, list[str]] = {}
    for gauge, reason in outcome.flow.left_out.items():
        by_reason.setdefault(reason, []).append(gauge)
    parts = [
        f"{', '.join(gauges[:MOST_NAMED])}{', ...' if len(gauges) > MOST_NAMED else ''} ({reason})"
        for reason, gauges in by_reason.items()
    ]
    scored, left_out = outcome.flow.counts["catchments"], len(outcome.flow.left_out)
    log.warning("%d of %d catchments are not scored: %s", left_out, scored + left_out, "; ".join(parts))


def _reconstruction(outcome: Outcome) -> Table | None:
    if not outcome.reconstruction.windows:
        return None
    table = Table(title=f"Masked reconstruction, {outcome.split} period: RMSE", title_justify="left")
    for name in ("modality", "units", *BASELINES):
        table.add_column(name, justify="left" if name in ("modality", "units") else "right")
    for name, by_method in outcome.reconstruction.sums.items():
        table.add_row(
            name, outcome.config.modalities[name].units, *(f"{by_method[method].rmse:.3g}" for method in BASELINES)
        )
    return table


def _flow(outcome: Outcome) -> Table | None:
    if outcome.flow is None:
        return None
    title = f"{outcome.flow.target}, {outcome.split} period, medians of {outcome.flow.counts['catchments']} catchments"
    table = Table(title=title, title_justify="left")
    for name in ("method", "NSE", "95 % interval", "KGE", f"RMSE ({outcome.flow.units})"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for method, scores in outcome.summaries().items():
        nse = scores["nse"]
        table.add_row(
            METHODS[method].label,
            f"{nse.median:.2f}",
            interval(nse.low, nse.high),
            f"{scores['kge'].median:.2f}",
            f"{scores['rmse'].median:.2f}",
        )
    return table


def _forecast(outcome: Outcome) -> Table | None:
    if outcome.forecast is None:
        return None
    lead_times = [int(days) for days in outcome.forecast.data["lead_time"].values]
    table = Table(
        title=f"Forecasts, {outcome.split} period: median NSE over {outcome.forecast.catchments} catchments, by lead "
        "time in days",
        title_justify="left",
    )
    table.add_column("method")
    for days in lead_times:
        table.add_column(f"{days}", justify="right")
    for method, medians in outcome.forecast.medians().items():
        table.add_row(FORECASTS[method].label, *map(number, medians))
    return table


def _short_records(outcome: Outcome) -> Table | None:
    records = outcome.short_records
    if records is None:
        return None
    gauges = "held out in training" if records.held_out else "seen in training"
    table = Table(title=f"Probes fitted to short records, gauges {gauges}: median NSE", title_justify="left")
    table.add_column("method")
    for years in records.years:
        table.add_column(in_words(years), justify="right")
    for name, summaries in records.scores.items():
        table.add_row(METHODS[name].label, *(f"{summary.median:.2f}" for summary in summaries))
    return table


def _log(table: Table) -> None:
    log.info("%s", table.title)
    names = [str(column.header) for column in table.columns]
    cells = [list(column.cells) for column in table.columns]
    for row in zip(*cells, strict=True):
        parts = [f"{name} {cell}" for name, cell in zip(names[1:], row[1:], strict=True)]
        log.info("  %s: %s", row[0], ", ".join(parts))
