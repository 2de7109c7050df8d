"""MkDocs hook: writes the tables of settings out of the typed configuration, so that they cannot go stale.

A line ``<!-- settings: CLASS PREFIX -->`` becomes a table of the fields of a section of ``watercli.config``.
"""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import re
import types
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from watercli import config

PLACE = re.compile(r"^<!-- settings: (\w+) ?(\S*) -->$", re.MULTILINE)
WORDS = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    dt.date: "date",
    Path: "path",
    Any: "value",
}
LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every place of a table by the table."""
    return PLACE.sub(lambda match: table(getattr(config, match[1]), match[2]), markdown)


def table(section: type, prefix: str) -> str:
    """Return the Markdown table of a section's settings, whose dotted names begin with ``prefix``."""
    meanings = docstrings(section)
    rows = ["| setting | value | default | meaning |", "|---|---|---|---|"]
    for name, field in config.fields_of(section).items():
        limits = [f"{LIMITS[kind]} {getattr(limit, kind):g}" for limit in field.metadata
                  for kind in LIMITS if hasattr(limit, kind)]  # fmt: skip
        value = ", ".join((words(field.annotation), *limits))
        dotted = f"{prefix}.{name}" if prefix else name
        rows.append(f"| `{dotted}` | {value} | {default(field)} | {meanings.get(name, '')} |")
    return "\n".join(rows)


def words(annotation: Any) -> str:
    """Return what may be given for a type, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join("`null`" if one is type(None) else words(one) for one in arguments)
    if origin is tuple:
        of = words(arguments[0])
        return f"list of {of}s" if Ellipsis in arguments and of in ("whole number", "number") else (
            "list" if Ellipsis in arguments else f"list of {len(arguments)}")  # fmt: skip
    if origin is dict:
        return f"mapping from names to {words(arguments[1])}s"
    if config.is_section(annotation):
        return "section"
    return WORDS[annotation] if annotation in WORDS else words(arguments[0])


def default(field: Any) -> str:
    """Return a field's default, as YAML writes it."""
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if config.is_section(type(value)):
        return "as below"
    if isinstance(value, tuple):
        return f"`[{', '.join(f'{one:g}' if isinstance(one, float) else str(one) for one in value)}]`"
    if value == "":
        return "empty"
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"


def docstrings(section: type) -> dict[str, str]:
    """Return the sentences under the fields of a section, and of the sections that it extends."""
    found: dict[str, str] = {}
    sections = [base for base in section.__mro__ if config.is_section(base) and base is not BaseModel]
    for base in reversed(sections):
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for field, after in pairwise(body):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split()).replace("``", "`").replace("|", "\\|")
    return found
