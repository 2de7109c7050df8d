"""Prepare a store: read the sources of a recipe, bring them onto one grid and calendar, and write them.

Read -> align -> statistics -> write; each reader is a small module in `watercli.preparation.readers.registry`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import Console

from watercli import __version__
from watercli.config import Config, Recipe, abilities
from watercli.errors import ConfigError, RunError
from watercli.hydrology.flow_attributes import check_attributes
from watercli.log import log
from watercli.output.resumable import working
from watercli.preparation import extend
from watercli.preparation.build import build, determining, requests, snapshot
from watercli.preparation.cluster import connected
from watercli.preparation.dry_run import plan, show
from watercli.preparation.gauge_lists import with_listed_gauges
from watercli.preparation.quality.records import Quality
from watercli.preparation.quality.report import log_findings, save
from watercli.preparation.readers.sources import Sources
from watercli.preparation.write import target
from watercli.store import Store


def prepare(
    config: Config,
    out: Path,
    *,
    data: Path | None,
    overwrite: bool = False,
    strict: bool = False,
    scheduler: str | None = None,
) -> Store:
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
    scheduler
        Address of a dask scheduler whose workers write the grids; None for the threads of this process.

    Raises
    ------
    ConfigError
        If ``out`` may not be written, or a setting does not fit.
    DataError
        If a source file does not hold what its source says, or was changed meanwhile.
    RunError
        If the disk is full, or ``strict`` and there are findings; the same call goes on from there.
    """
    _recipe(config)
    place = target(out, overwrite)
    place.check()
    for line in abilities(config):
        log.info(line)
    sources = Sources(data)
    config = with_listed_gauges(config, sources)
    recipe = _recipe(config)
    check_attributes(config, recipe.catchments)
    modality_requests = requests(config, sources)
    before = snapshot(config, recipe, modality_requests, sources)
    # What a grid measures decides which values its blocks count as impossible.
    key = before.key(__version__, determining(config), recipe.quality.quantities)
    state = {"key": key, "out": str(out), "config": config.to_yaml()}
    with working(place, state) as work, connected(scheduler, work.folder, *before.stamps):
        quality = build(config, recipe, modality_requests, sources, work)
        before.check(sources)
        _conclude(quality, out, strict)
    return _opened(out)


def _conclude(quality: Quality, out: Path, strict: bool) -> None:
    """Report what looks wrong, and refuse it if it is to be refused."""
    report = save(quality, out)
    log_findings(quality, report)
    if strict and quality.findings:
        raise RunError(
            f"--strict: {len(quality.findings)} findings on quality ({report}); mend the sources, set "
            "recipe.quality.ignore or recipe.quality.to_missing, or go on without --strict"
        )


def _opened(out: Path) -> Store:
    store = Store.open(out)
    log.info("Wrote %s (fingerprint %s)", out, store.fingerprint[:12])
    return store


def append(
    config: Config, out: Path, *, data: Path | None, strict: bool = False, scheduler: str | None = None
) -> Store:
    """Add to a store the days after its last one, up to the end of the recipe's period.

    Parameters are those of `prepare`. Earlier days and statistics stay as they are; the store's old fingerprint is the
    last of its attribute ``ancestry``. A store that ends with the period already is not changed.

    Raises
    ------
    ConfigError
        If there is no store, the recipe is not its own, or ends no later.
    DataError
        If a source file does not hold what its source says, or was changed meanwhile.
    RunError
        If the disk is full, or ``strict`` and there are findings.
    """
    _recipe(config)
    store = Store.open(out)
    sources = Sources(data)
    config = with_listed_gauges(config, sources)
    recipe = _recipe(config)
    new = extend.check(config, store)
    if new is None:
        log.info("%s ends on %s already: nothing to add; set recipe.period.end to a later day to append", out,
                 recipe.period.end)  # fmt: skip
        return store
    modality_requests = requests(config, sources)
    before = snapshot(config, recipe, modality_requests, sources)
    state = {"key": None, "out": str(out), "config": config.to_yaml()}
    with working(target(out, overwrite=True), state) as work, connected(scheduler, work.folder, *before.stamps):
        quality = Quality(config, since=pd.Timestamp(new.start))
        extend.Extension(config, store, new, work, quality).write(modality_requests, sources)
        before.check(sources)
        _conclude(quality, out, strict)
    return _opened(out)


def dry_run(config: Config, out: Path, *, data: Path | None, console: Console, overwrite: bool = False) -> None:
    """Print on ``console`` what `prepare` would read and make, with estimates of size, time and memory; write nothing.

    Raises
    ------
    ConfigError, DataError
        Those of `prepare` that can be met without reading the data.
    """
    target(out, overwrite).check()
    config = with_listed_gauges(config, Sources(data))
    show(plan(config, _recipe(config), data), out, console)


def _recipe(config: Config) -> Recipe:
    if config.recipe is None:
        raise ConfigError(f"Configuration '{config.name}' has no recipe, so nothing can be prepared; add one")
    return config.recipe
