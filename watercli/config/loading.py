"""YAML in: names, files, overrides; unknown keys refused with the nearest known key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from watercli.config.base import GIVEN
from watercli.config.config import Config
from watercli.errors import ConfigError, nearest, of_the_machine

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls an unknown key of a model, and of a dataclass."""

SECTION_TYPES = ("dataclass_type", "model_type")
"""What pydantic calls a value that stands where a section must."""


class Guess(yaml.MarkedYAMLError):
    """YAML would read a text as another number than it shows."""


class PlainLoader(yaml.SafeLoader):
    """YAML in which a number is the one that is written: an id such as 01001 is no octal number, 12:30 is not 750."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return a whole number.

        Raises
        ------
        Guess
            If it is written as octal or in base 60.
        """
        number = int(super().construct_yaml_int(node))
        if ":" in node.value or re.fullmatch(r"[-+]?0[0-9_]+", node.value):
            problem = f"{node.value}, which YAML reads as the number {number}"
            raise Guess(problem=problem, problem_mark=node.start_mark)
        return number


PlainLoader.add_constructor("tag:yaml.org,2002:int", PlainLoader.construct_yaml_int)


def config_folder() -> Path:
    """Return the folder of the shipped configurations (inside the wheel, or beside the sources)."""
    here = Path(__file__).resolve().parents[1]
    inside = here / "configs"
    return inside if inside.is_dir() else here.parent / "configs"


def shipped() -> dict[str, Path]:
    """Return the shipped configurations by name."""
    return {path.stem: path for path in sorted(config_folder().glob("*.yaml"))}


def find(name: str) -> Path:
    """Return the file of a shipped configuration's name or of a path.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    known = shipped()
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if path.is_file():
        return path
    raise ConfigError(f"No configuration '{name}': neither a shipped name nor a file{nearest(name, known)}")


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration by shipped name or path and apply ``key.path=value`` overrides.

    Raises
    ------
    ConfigError
        If there is no such file, it is no YAML mapping, or a setting is unknown or out of range.
    """
    path = find(name)
    return parse(read_text(path), origin=str(path), overrides=overrides, given=True)


def read_text(path: Path) -> str:
    """Return the text of a configuration's file.

    Raises
    ------
    ConfigError
        If it cannot be read, or is no text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not in UTF-8 (byte {error.start}); save it in that encoding") from None
    except OSError as error:
        raise ConfigError(of_the_machine(error) or f"{path} cannot be read ({error.strerror})") from error


def parse(text: str, *, origin: str, overrides: Sequence[str] = (), given: bool = False) -> Config:
    """Parse a configuration's YAML text; ``origin`` names it in errors.

    ``given``: by a user, not by a store or a run; readers, methods and protocols must then be known on this machine.
    """
    try:
        raw = yaml.load(text, Loader=PlainLoader)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        if isinstance(error, Guess):
            raise ConfigError(f"{origin} has {error.problem},{line}; write it in quotes") from None
        raise ConfigError(f"{origin} is not valid YAML{line}; mend its syntax") from error
    except (ValueError, RecursionError) as error:  # of values that are written like dates or numbers, and are none
        raise ConfigError(f"{origin} holds a value that YAML cannot read ({error}); mend it, or quote it") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{origin} holds no settings; it must be a YAML mapping")
    return _validate(raw, origin, [_apply(raw, override) for override in overrides], given)


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """Return the configuration with ``key.path=value`` overrides applied."""
    if not overrides:
        return config
    raw = config.to_dict()
    return _validate(raw, "--set", [_apply(raw, override) for override in overrides], given=True)


def _apply(raw: dict[str, Any], override: str) -> str:
    """Apply ``key.path=value`` and return the key."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override} is not of the form key.path=value")
    try:
        value = yaml.load(text, Loader=PlainLoader)
    except Guess as error:
        raise ConfigError(f"--set {override}: the value has {error.problem}; write it in quotes") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--set {override}: YAML cannot read the value ({error}); mend it, or quote it") from error
    *parents, last = key.strip().split(".")
    node = raw
    for parent in parents:
        child = node.setdefault(parent, {})
        if child is None:
            child = node[parent] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"--set {key}: '{parent}' is a value, not a section")
        node = child
    node[last] = value
    return key.strip()


def _validate(raw: dict[str, Any], origin: str, changed: Sequence[str], given: bool) -> Config:
    try:
        return Config.model_validate(raw, context=GIVEN if given else None)
    except ValidationError as error:
        # A misspelt key explains a missing one, so it is named first.
        first = min(error.errors(), key=lambda mistake: mistake["type"] not in UNKNOWN)
        # A union's branches put their type names into the location; settings are lower-case words.
        location = [part for part in first["loc"] if isinstance(part, int) or (part.islower() and "[" not in part)]
        location = _as_written(raw, location)
        dotted = _dotted(location)
        if any(f"{dotted}.".startswith(f"{key}.") or key.startswith(f"{dotted}.") for key in changed):
            origin = "--set"
        message = first["msg"].removeprefix("Value error, ")
        setting, colon, rest = message.partition(": ")
        if colon and setting in _known_keys(Config, location):
            # What a section says of settings that do not go together begins with the one to change.
            dotted, message = _dotted([*location, setting]), rest
        if first["type"] in UNKNOWN:
            known = _known_keys(Config, location[:-1])
            raise ConfigError(f"Unknown setting '{dotted}' in {origin}{nearest(str(location[-1]), known)}") from None
        if first["type"] == "missing":
            raise ConfigError(f"Setting '{dotted}' is missing in {origin}; add it") from None
        given = first.get("input")
        shown = f" (is {given!r})" if isinstance(given, str | int | float | bool) else ""
        if first["type"] in ("string_type", "string_sub_type") and isinstance(given, bool | int | float):
            guess = " (YAML takes no, yes, on and off for true and false)" if isinstance(given, bool) else ""
            message = f"must be text; write it in quotes{guess}"
        if first["type"] in SECTION_TYPES:
            message = "must be a mapping of settings"
        if first["type"] == "literal_error" and isinstance(given, str):
            message = "no such choice" + nearest(given, re.findall(r"'([^']+)'", first["ctx"]["expected"]))
        raise ConfigError(f"Setting '{dotted}' in {origin}{shown}: {message[:1].lower()}{message[1:]}") from None


def _as_written(raw: Any, location: Iterable[str | int]) -> list[str | int]:
    """Return a location without the numbers of lists of one that are written without a list."""
    written: list[str | int] = []
    for part in location:
        if isinstance(part, int) and not isinstance(raw, list):
            continue
        written.append(part)
        within = isinstance(raw, dict) or (isinstance(raw, list) and isinstance(part, int) and part < len(raw))
        raw = (raw.get(part) if isinstance(raw, dict) else raw[part]) if within else None
    return written


def _dotted(location: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in location)


def _known_keys(section: Any, location: Iterable[str | int]) -> list[str]:
    """Return the keys of the section found by following ``location`` from ``section``."""
    for part in location:
        if get_origin(section) is tuple:
            section = section.__args__[0]
            if isinstance(part, int):
                continue
        if get_origin(section) is dict:  # this part is a mapping's key
            section = section.__args__[-1]
        elif part in (settings := fields_of(section_in(section))):
            section = settings[str(part)].annotation
    return list(fields_of(section_in(section)))


def is_section(annotation: Any) -> bool:
    """Return whether a type is a section: a pydantic model, or a dataclass that stands for one."""
    return isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation))


def fields_of(section: Any) -> dict[str, FieldInfo]:
    """Return the settings of a section by name, as pydantic describes them; none if it is no section."""
    if not is_section(section):
        return {}
    if issubclass(section, BaseModel):
        return dict(section.model_fields)
    types = get_type_hints(section, include_extras=True)
    return {
        setting.name: FieldInfo.from_annotated_attribute(types[setting.name], setting.default)
        for setting in fields(section)
    }


def section_in(annotation: Any) -> Any:
    """Return the section class inside ``X | None``, ``dict[str, X]`` or ``tuple[X, ...]``."""
    if is_section(annotation):
        return annotation
    inner = (section_in(argument) for argument in get_args(annotation))
    return next((section for section in inner if section is not None), None)


def difference(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted settings in which two dumped configurations differ, as ``key: before -> after``."""
    changes: list[str] = []
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += difference(old, new, f"{prefix}{key}.")
        elif old != new:
            changes.append(f"{prefix}{key}: {old} -> {new}")
    return changes
