"""Findings for people: a table on the terminal, a CSV of every one and a page of Markdown beside the store."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from rich.table import Table

from watercli.config import CheckName
from watercli.log import console, log
from watercli.output.atomic import write_text, written_file
from watercli.output.csv_cells import plain
from watercli.preparation.quality.records import Finding, Quality

MEANINGS: dict[CheckName, str] = {
    "range": "a value that is physically impossible",
    "mark": "one impossible value again and again, as marks of missing values are that nobody declared",
    "units": "the mean of the record is not one of these units",
    "dates": "dates between the first and the last that no file holds",
    "flat": "one flow above zero, day after day: a gap filled with the last value, or a frozen gauge",
    "jump": "temperature leaps from one day to the next",
    "outlier": "flow far from that of the season (6 standard deviations of its logarithm)",
    "spike": "one day's flow that is a hundred times that of the days beside it",
    "factor": "a stretch that lies a factor above or below what like gauges and the rest of the record say",
    "shift": "years in which flow follows like gauges, or rain, days earlier or later than in other years",
    "repeat": "a field that equals that of the day before",
    "runoff": "more flow than rain over the record: groundwater, a wrong area or wrong units",
}


@dataclass(frozen=True)
class Row:
    """The findings of one check on one variable."""

    variable: str
    check: CheckName
    places: int
    days: int
    worst: Finding

    @property
    def example(self) -> str:
        """The place with the most days, in words."""
        worst = self.worst
        period = worst.first if worst.first == worst.last else f"{worst.first} to {worst.last}"
        return f"{worst.where}: {worst.days:,} {'day' if worst.days == 1 else 'days'}, {period}, {worst.detail}"


def rows(findings: Sequence[Finding]) -> list[Row]:
    """Group findings by variable and check, in the order in which they were found."""
    groups: dict[tuple[str, CheckName], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.variable, finding.check), []).append(finding)
    return [
        Row(
            variable,
            check,
            len(group),
            sum(finding.days for finding in group),
            max(group, key=lambda finding: finding.days),
        )
        for (variable, check), group in groups.items()
    ]


def log_findings(quality: Quality, report: Path) -> None:
    """Show the findings: a table on a terminal, elsewhere a line for each check and variable."""
    grouped = rows(quality.findings)
    if console.is_terminal and grouped:
        table = Table("variable", "check", "places", "days", "most of them", title="Quality", title_justify="left")
        for row in grouped:
            table.add_row(row.variable, row.check, str(row.places), f"{row.days:,}", row.example)
        console.print(table)
    else:
        for row in grouped:
            log.warning("Quality: %s, %s: %d places, %s days (%s)", row.variable, row.check, row.places,
                        f"{row.days:,}", row.example)  # fmt: skip
    for variable, dropped in quality.dropped.items():
        for check, number in dropped.items():
            log.warning("Quality: %s: %s values set to missing (%s)", variable, f"{number:,}", check)
    log.info("Quality: %s; see %s", f"{len(quality.findings)} findings" if grouped else "nothing found", report)


def paths(out: Path) -> tuple[Path, Path]:
    """Return where the reports of a store lie: CSV and Markdown."""
    return out.with_name(f"{out.name}.quality.csv"), out.with_name(f"{out.name}.quality.md")


def save(quality: Quality, out: Path) -> Path:
    """Write both reports beside a store, each whole or not at all; return the path of the page."""
    table, page = paths(out)
    with written_file(table) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([field.name for field in fields(Finding)])
        writer.writerows(map(plain, astuple(finding)) for finding in quality.findings)
    write_text(page, _page(quality, out, table))
    return page


def _page(quality: Quality, out: Path, table: Path) -> str:
    lines = [f"# Quality of {out.name}", ""]
    taken = ", ".join(f"{name} as {quantity.name}" for name, quantity in quality.quantities.items())
    period = f" Days from {quality.since:%Y-%m-%d} on, which were added." if quality.since is not None else ""
    lines += [f"Looked at: {taken or 'nothing, as no quantity is known'}.{period}", ""]
    grouped = rows(quality.findings)
    if not grouped:
        return "\n".join([*lines, "Nothing was found.", ""])
    lines += ["| variable | check | places | days | most of them |", "|---|---|---|---|---|"]
    lines += [f"| {row.variable} | {row.check} | {row.places} | {row.days:,} | {row.example} |" for row in grouped]
    lines += ["", f"Every finding, one a row: `{table.name}`.", ""]
    lines += [f"- **{check}**: {MEANINGS[check]}." for check in dict.fromkeys(row.check for row in grouped)]
    lines += ["", "Nothing was altered." if not quality.dropped else "Set to missing, as `recipe.quality` says:", ""]
    lines += [
        f"- {variable}: {number:,} values ({check})"
        for variable, dropped in quality.dropped.items()
        for check, number in dropped.items()
    ]
    return "\n".join(lines).rstrip() + "\n"
