"""``watercli evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watercli.cli.options import (
    RUNS,
    DebugOption,
    OverwriteOption,
    RunOption,
    SetOption,
    StoreOption,
    find_run,
    find_store,
    note_idle_gpus,
)


def evaluate(
    compared: Annotated[
        list[str] | None,
        typer.Argument(
            help="With --compare: run directories, or a study (ungauged, ungauged-regions, rivers, report, or a YAML "
            "file).",
            metavar="[RUN...|STUDY]",
            show_default=False,
        ),
    ] = None,
    run: RunOption = None,
    store: StoreOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; by default RUN/evaluation, or comparison/ with --compare.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Put several runs into one report; folds of one experiment make one row.")
    ] = False,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Reproduce the stored numbers of a tiny case on this machine.")
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            help="Of a study: a shipped configuration's name or a YAML file; by default the study's own, else the "
            "one that the store was prepared for.",
            metavar="NAME|FILE",
        ),
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, max=1, help="1: the model works on a GPU of this machine.")] = 0,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Say how good a run is: reconstruction and river flow on the test period, beside baselines."""
    from watercli.errors import ConfigError

    if self_check:
        from watercli.evaluation.self_check import self_check as check

        check()
        return
    if compare:
        _compare(compared or [], store, out, config, settings or [], overwrite=overwrite, gpus=gpus)
        return
    if config is not None:
        raise ConfigError("--config is for a study, with --compare; a run has its own, which --set changes")
    if compared:
        raise ConfigError(f"'{compared[0]}' is one too many; give --run {compared[0]}, or --compare several runs")
    _evaluate(run, store, out, settings or [], overwrite=overwrite, gpus=gpus)


def _evaluate(
    run: Path | None, store: Path | None, out: Path | None, settings: list[str], *, overwrite: bool, gpus: int
) -> None:
    from watercli.config import with_overrides
    from watercli.evaluation.evaluate import evaluate as judge
    from watercli.inference.processes import choose_device
    from watercli.log import log
    from watercli.run.directory import open_run
    from watercli.store import Store

    device = choose_device(0, gpus)
    place = find_run(run)
    checkpoint = open_run(place)
    config = with_overrides(checkpoint.config, settings)
    opened = Store.open(find_store(store, place))
    note_idle_gpus(gpus)
    folder = judge(
        checkpoint, opened, out or place / "evaluation", config, run=place, overwrite=overwrite, device=device
    )
    log.info("Done: open %s", folder / "report.html")


def _compare(
    names: list[str],
    store: Path | None,
    out: Path | None,
    config: str | None,
    settings: list[str],
    *,
    overwrite: bool,
    gpus: int,
) -> None:
    from watercli.errors import ConfigError, nearest
    from watercli.evaluation.comparison import compare_runs
    from watercli.evaluation.report.comparison import PAGE, target_of, write
    from watercli.evaluation.study import ensure_evaluated, find_study, load_study, run_study, shipped_studies
    from watercli.inference.processes import choose_device
    from watercli.log import log
    from watercli.store import Store
    from watercli.training.launch import Processes

    if not names:
        raise ConfigError(f"--compare needs runs, or a study ({', '.join(shipped_studies())})")
    device = choose_device(0, gpus)
    file = find_study(names[0]) if len(names) == 1 else None
    description = ""
    if file is not None:
        study = load_study(file, settings, config)
        place = RUNS / file.stem
        target = target_of(out or place / "comparison", overwrite=overwrite)
        target.check()
        runs = run_study(study, Store.open(find_store(store)), place, device, Processes(gpus))
        description = study.description
    else:
        if config is not None:
            raise ConfigError("--config is for a study; runs have their own")
        runs = [Path(name) for name in names]
        for one in runs:
            if not one.is_dir():
                raise ConfigError(f"{one} is neither a run directory nor a study{nearest(str(one), shipped_studies())}")
        target = target_of(out or Path("comparison"), overwrite=overwrite)
        target.check()
        for one in runs:
            ensure_evaluated(one, Store.open(find_store(store, one)), settings, device=device)
    write(compare_runs(runs), target, description)
    log.info("Done: open %s", target.path / PAGE)
