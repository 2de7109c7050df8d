"""The main figures on the terminal."""

from __future__ import annotations

from rich.table import Table

from watercli.baselines.registry import METHODS
from watercli.evaluation.forecast import FORECASTS
from watercli.evaluation.reconstruction import BASELINES
from watercli.evaluation.report.summary_text import flow_sentences, insight_sentences
from watercli.evaluation.results import Outcome
from watercli.evaluation.short_records import LABELS, in_words
from watercli.log import console, log, shows_bars


def show(outcome: Outcome) -> None:
    """Print two small tables; plain log lines where standard error is no terminal."""
    for table in (_reconstruction(outcome), _flow(outcome), _forecast(outcome), _few_labels(outcome)):
        if table is None:
            continue
        if shows_bars():
            console.print(table)
        else:
            _log(table)
    for sentence in (*flow_sentences(outcome), *insight_sentences(outcome)):
        log.info(sentence)


def _reconstruction(outcome: Outcome) -> Table | None:
    if not outcome.reconstruction.windows:
        return None
    table = Table(title="Masked reconstruction, test period: RMSE", title_justify="left")
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
    title = f"{outcome.flow.target}, test period, medians of {outcome.flow.counts['catchments']} catchments"
    table = Table(title=title, title_justify="left")
    for name in ("method", "NSE", "95 % interval", "KGE", f"RMSE ({outcome.flow.units})"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for method, scores in outcome.summaries().items():
        nse = scores["nse"]
        table.add_row(
            METHODS[method],
            f"{nse.median:.2f}",
            f"{nse.low:.2f} to {nse.high:.2f}",
            f"{scores['kge'].median:.2f}",
            f"{scores['rmse'].median:.2f}",
        )
    return table


def _forecast(outcome: Outcome) -> Table | None:
    if outcome.forecast is None:
        return None
    leads = [int(lead) for lead in outcome.forecast.data["lead_time"].values]
    table = Table(
        title=f"Forecasts, test period: median NSE over {outcome.forecast.catchments} catchments, by lead in days",
        title_justify="left",
    )
    table.add_column("method")
    for lead in leads:
        table.add_column(f"{lead}", justify="right")
    for method, medians in outcome.forecast.medians().items():
        table.add_row(FORECASTS[method], *(f"{one:.2f}" for one in medians))
    return table


def _few_labels(outcome: Outcome) -> Table | None:
    found = outcome.short_records
    if found is None:
        return None
    gauges = "hidden in training" if found.hidden else "seen in training"
    table = Table(title=f"Probes fitted to short records, gauges {gauges}: median NSE", title_justify="left")
    table.add_column("head")
    for one in found.years:
        table.add_column(in_words(one), justify="right")
    for head, scores in found.scores.items():
        table.add_row(LABELS[head], *(f"{one.median:.2f}" for one in scores))
    return table


def _log(table: Table) -> None:
    log.info("%s", table.title)
    names = [str(column.header) for column in table.columns]
    cells = [list(column.cells) for column in table.columns]
    for row in zip(*cells, strict=True):
        parts = [f"{name} {cell}" for name, cell in zip(names[1:], row[1:], strict=True)]
        log.info("  %s: %s", row[0], ", ".join(parts))
