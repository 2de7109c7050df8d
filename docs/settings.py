"""MkDocs hook: writes the tables of settings out of the typed configuration, so that they cannot go stale.

A line ``<!-- settings: CLASS PREFIX -->`` becomes a table of the fields of a section of ``watercli.config``.
"""

from __future__ import annotations

import re
from typing import Any

from watercli import config
from watercli.inspection.settings import settings_of

PLACE = re.compile(r"^<!-- settings: (\w+) ?(\S*) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every place of a table by the table."""
    return PLACE.sub(lambda match: table(getattr(config, match[1]), match[2]), markdown)


def table(section: type, prefix: str) -> str:
    """Return the Markdown table of a section's settings, whose dotted names begin with ``prefix``."""
    rows = ["| setting | value | default | meaning |", "|---|---|---|---|"]
    for setting in settings_of(section, prefix):
        meaning = setting.meaning.replace("|", "\\|")
        rows.append(f"| `{setting.name}` | {setting.value} | {setting.default} | {meaning} |")
    return "\n".join(rows)
