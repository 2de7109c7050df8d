"""Pages that need nothing but themselves: templates, their style and their script in one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

HERE = Path(__file__).parent
SCRIPT = HERE / "static" / "report.js"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return the page of a template that extends ``page.html.j2``."""
    loader = jinja2.FileSystemLoader(HERE / "templates")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, loader=loader)
    return environment.get_template(template).render(values, script=SCRIPT.read_text(encoding="utf-8"))
