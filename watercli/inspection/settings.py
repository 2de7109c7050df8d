"""The settings of a configuration in words: what may be given, what holds where nothing is, and what it means.

Meanings are the docstrings below the settings. ``watercli config`` prints them, and the documentation is built of them.
"""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from watercli.config import Config, fields_of, is_section, section_in
from watercli.config.defaults import EVERY_STORE, SIZES, by_modalities
from watercli.errors import ConfigError, nearest

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
COLUMNS = 100


@dataclass(frozen=True)
class Setting:
    """A setting, in words with ``code`` in backticks."""

    name: str
    """Dotted; ``NAME`` stands for a name of the user's choice."""
    value: str
    """What may be given."""
    default: str
    meaning: str


def settings_of(section: type, prefix: str) -> Iterator[Setting]:
    """Yield the settings of a section, whose dotted names begin with ``prefix``."""
    meanings = docstrings(section)
    for name, field in fields_of(section).items():
        dotted = f"{prefix}.{name}" if prefix else name
        limits = [f"{LIMITS[kind]} {getattr(limit, kind):g}" for limit in field.metadata
                  for kind in LIMITS if hasattr(limit, kind)]  # fmt: skip
        value = ", ".join((words(field.annotation), *limits))
        yield Setting(dotted, value, default(dotted, field), meanings.get(name, ""))


def show(path: str | None) -> str:
    """Return a section in words, for a terminal: that of a dotted name, or the top of a configuration.

    Raises
    ------
    ConfigError
        If there is no such section or setting.
    """
    section, prefix, name = section_at(path or "")
    chosen = [setting for setting in settings_of(section, prefix) if name in (None, setting.name)]
    title = [] if name else [f"{prefix or 'configuration'}: {inspect.getdoc(section) or ''}".split("\n")[0], ""]
    return "\n".join([*title, *(_in_lines(setting) for setting in chosen)])


def _in_lines(setting: Setting) -> str:
    head = f"{setting.name}: {setting.value}; default {setting.default}"
    indented = textwrap.fill(setting.meaning, COLUMNS, initial_indent="    ", subsequent_indent="    ")
    return textwrap.fill(head, COLUMNS, subsequent_indent="    ") + (f"\n{indented}" if setting.meaning else "")


def section_at(path: str) -> tuple[type, str, str | None]:
    """Return the section at a dotted name, its own dotted name, and the setting's if the name is that of one.

    Raises
    ------
    ConfigError
        If there is none.
    """
    section: type = Config
    prefix: list[str] = []
    parts = [part for part in path.split(".") if part]
    while parts:
        part, known = parts.pop(0), fields_of(section)
        if part not in known:
            of = f" of {'.'.join(prefix)}" if prefix else ""
            raise ConfigError(f"No setting '{part}'{of}{nearest(part, known)}")
        annotation = known[part].annotation
        inner = section_in(annotation)
        prefix.append(part)
        if inner is None:
            return section, ".".join(prefix[:-1]), ".".join(prefix)
        if get_origin(annotation) is dict:  # the next part is a name of the user's choice
            prefix.append("NAME")
            parts = parts[1:]
        elif get_origin(annotation) is tuple and parts and (parts[0] == "N" or parts[0].isdigit()):
            prefix.append("N")
            parts = parts[1:]
        section = inner
    return section, ".".join(prefix), None


def words(annotation: Any) -> str:
    """Return what may be given for a type, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join("`null`" if argument is type(None) else words(argument) for argument in arguments)
    if origin is tuple:
        of = words(arguments[0])
        return f"list of {of}s" if Ellipsis in arguments and of in ("whole number", "number") else (
            "list" if Ellipsis in arguments else f"list of {len(arguments)}")  # fmt: skip
    if origin is dict:
        return f"mapping from names to {words(arguments[1])}s"
    if is_section(annotation):
        return "section"
    return WORDS[annotation] if annotation in WORDS else words(arguments[0])


def default(dotted: str, field: FieldInfo) -> str:
    """Return what holds for a setting that is left out: by the modalities and by the store, if it depends on them."""
    cases = by_modalities(dotted)
    if cases and set(cases) != EVERY_STORE:
        cases["otherwise"] = field.default
    text = ", ".join(f"{_written(value)} ({case})" for case, value in cases.items()) or _written(field.default)
    return f"{text}, fitted to the store" if dotted in SIZES else text


def _written(value: Any) -> str:
    """Return a value as YAML writes it."""
    if value is PydanticUndefined:
        return "required"
    if is_section(type(value)):
        return "as below"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(f'{item:g}' if isinstance(item, float) else str(item) for item in value)}]`"
    if isinstance(value, dict) and value:
        return f"`{{{', '.join(f'{key}: {item}' for key, item in value.items())}}}`"
    if value == "":
        return "empty"
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"


def docstrings(section: type) -> dict[str, str]:
    """Return the sentences under the fields of a section, and of the sections that it extends."""
    meanings: dict[str, str] = {}
    sections = [base for base in section.__mro__ if is_section(base) and base is not BaseModel]
    for base in reversed(sections):
        statement = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(statement, ast.ClassDef)
        for field, below in pairwise(statement.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    meanings[name] = " ".join(text.split()).replace("``", "`")
    return meanings
