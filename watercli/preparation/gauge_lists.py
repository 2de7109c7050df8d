"""Gauges that a recipe names by a file: ``recipe.catchments.gauges: camels_us/basins_531.txt``."""

from __future__ import annotations

from pathlib import Path

from watercli.config import Config
from watercli.errors import DataError
from watercli.preparation.readers.sources import Sources

SETTING = "recipe.catchments.gauges"
ENDING = ".txt"
"""What tells a file from a gauge id."""


def with_listed_gauges(config: Config, sources: Sources) -> Config:
    """Return the configuration in which gauge ids stand in place of the files that list them.

    A store so knows its gauges without the file.

    Raises
    ------
    ConfigError, DataError
        If a file is not there, is empty, or holds anything other than one gauge id a line.
    """
    catchments = config.recipe.catchments if config.recipe else None
    if config.recipe is None or catchments is None or not any(gauge.endswith(ENDING) for gauge in catchments.gauges):
        return config
    gauges: list[str] = []
    for gauge in catchments.gauges:
        gauges += _listed(gauge, sources) if gauge.endswith(ENDING) else [gauge]
    named = catchments.model_copy(update={"gauges": tuple(dict.fromkeys(gauges))})
    return config.model_copy(update={"recipe": config.recipe.model_copy(update={"catchments": named})})


def _listed(pattern: str, sources: Sources) -> list[str]:
    paths = sources.find([pattern], SETTING)
    sources.use(paths)
    return [gauge for path in paths for gauge in _ids(path, sources.name(path))]


def _ids(path: Path, name: str) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read as text; give a list with one gauge id a line") from error
    ids = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    torn = [line for line in ids if len(line.replace(",", " ").replace(";", " ").split()) != 1]
    if torn or not ids:
        problem = f"has '{torn[0][:40]}'" if torn else "lists no gauge"
        raise DataError(f"{name} {problem}; {SETTING} needs one gauge id a line")
    return ids
