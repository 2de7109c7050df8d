"""Prepare a store: read the sources of a recipe, bring them onto one grid and calendar, and write them.

Read -> align -> statistics -> write; each reader is a small module in `watercli.prepare.readers`.
"""

from __future__ import annotations

from pathlib import Path

from watercli import __version__
from watercli.config import Config
from watercli.errors import ConfigError, RunError
from watercli.log import log
from watercli.prepare import quality_report
from watercli.prepare.build import build, determining, inputs, requests
from watercli.prepare.resume import working
from watercli.prepare.sources import Sources
from watercli.prepare.write import target
from watercli.store import Store

__all__ = ["prepare"]


def prepare(config: Config, out: Path, *, data: Path | None, overwrite: bool = False, strict: bool = False) -> Store:
    """Build the store that a configuration's recipe describes.

    Parameters
    ----------
    config
        Configuration with a ``recipe`` and a source for each modality.
    out
        Where the store goes; it appears there only when it is whole.
    data
        Folder below which the source files lie; None serves recipes that need none.
    overwrite
        Replace a store of watercli at ``out``, once the new one is whole.
    strict
        Make no store if anything looks wrong in the data.

    Raises
    ------
    ConfigError
        If ``out`` may not be written, or a setting does not fit.
    DataError
        If a source file does not hold what is asked of it, or was changed meanwhile.
    RunError
        If the disk is full, or ``strict`` and there are findings; the same call goes on from there.
    """
    if config.recipe is None:
        raise ConfigError(f"Configuration '{config.name}' has no recipe, so nothing can be prepared; add one")
    place = target(out, overwrite)
    place.check()
    sources = Sources(data)
    asked = requests(config, sources)
    seen = inputs(config.recipe, asked, sources)
    # What a grid measures decides which values its blocks count as impossible.
    key = seen.key(__version__, determining(config), config.recipe.quality.quantities)
    with working(place, {"key": key, "out": str(out), "config": config.to_yaml()}) as work:
        quality = build(config, config.recipe, asked, sources, work)
        seen.check(sources.used, data)
        report = quality_report.save(quality, out)
        quality_report.tell(quality, report)
        if strict and quality.findings:
            raise RunError(
                f"--strict: {len(quality.findings)} findings on quality ({report}); mend the sources, set "
                "recipe.quality.ignore or recipe.quality.to_missing, or go on without --strict"
            )
    store = Store.open(out)
    log.info("Wrote %s (fingerprint %s)", out, store.fingerprint[:12])
    return store
