"""Several runs, or the variants of a study, beside each other: `compare`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from watercli.api.arguments import RUNS, Settings, StrPath, as_overrides
from watercli.api.run import Run, resolve_store
from watercli.errors import ConfigError, nearest
from watercli.evaluation import study as studies
from watercli.evaluation.comparison import Compared, compare_runs
from watercli.evaluation.report import comparison as pages
from watercli.inference.processes import choose_device
from watercli.store import Store
from watercli.training.launch import Processes


@dataclass(frozen=True)
class Comparison:
    """The scores of several runs on the days that all of them scored."""

    compared: Compared
    """Everything that was computed."""
    description: str = ""
    """What is compared, in words."""

    @property
    def scores(self) -> xr.Dataset:
        """``score`` ``(metric, method, catchment)``: methods are the runs, and the baselines of the first run."""
        return self.compared.scores.to_dataset(name="score")

    def report(self, path: StrPath) -> Path:
        """Write the report, one HTML page, to a file, and return its path."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(pages.page(self.compared, self.description), encoding="utf-8")
        return file

    def write(self, out: StrPath, *, overwrite: bool = False) -> Path:
        """Write the report and the tables to a folder, as the command does, and return its path.

        Raises
        ------
        ConfigError
            If ``out`` may not be written.
        """
        pages.write(self.compared, pages.target_of(Path(out), overwrite=overwrite), self.description)
        return Path(out)


def compare(
    runs: Run | StrPath | Sequence[Run | StrPath],
    store: Store | StrPath | None = None,
    *,
    config: StrPath | None = None,
    settings: Settings = (),
    out: StrPath | None = None,
    overwrite: bool = False,
    gpus: int = 0,
) -> Comparison:
    """Compare runs on the same days of the same catchments; folds of one experiment make one row.

    Parameters
    ----------
    runs
        Runs, run directories, or a study: the name of a shipped study, or a YAML file. The variants of a study are
        pretrained in ``runs/NAME``. Variants and runs are evaluated, unless they already are.
    store
        The store, or its path; by default each run's own, for a study ``store.zarr``.
    config
        Of a study: the configuration that is varied; by default the study's own, otherwise the store's.
    settings
        Changes of single settings: of a study's variants, or of the runs' evaluations. An evaluation of different
        settings is made anew.
    out
        Where report and tables go; None writes nothing beyond runs and evaluations.
    overwrite
        Replace the comparison at ``out``.
    gpus
        1: training and evaluation work on a GPU of this machine.

    Raises
    ------
    ConfigError
        If there are no such runs, they cannot be compared, or ``out`` may not be written.
    RunError
        If a variant's training fails or is interrupted; the same call goes on from there.
    """
    names = _as_list(runs)
    file = _study(names)
    if file is None:
        _check_runs(names, config)
    if out is not None:
        pages.target_of(Path(out), overwrite=overwrite).check()
    device, changes = choose_device(0, gpus), as_overrides(settings)
    if file is not None:
        study = studies.load_study(file, changes, None if config is None else os.fspath(config))
        folders = studies.run_study(study, resolve_store(store), study_folder(file), device, Processes(gpus))
        result = Comparison(compare_runs(folders), study.description)
    else:
        folders = [_path(name) for name in names]
        for folder in folders:
            studies.ensure_evaluated(folder, resolve_store(store, folder), changes, device=device)
        result = Comparison(compare_runs(folders))
    if out is not None:
        result.write(out, overwrite=overwrite)
    return result


def default_folder(runs: Sequence[StrPath]) -> Path:
    """Return where the command writes the comparison of runs, or of a study."""
    file = _study(list(runs))
    return Path("comparison") if file is None else study_folder(file) / "comparison"


def study_folder(file: Path) -> Path:
    """Return the folder of a study's runs."""
    return RUNS / file.stem


def _as_list(runs: Run | StrPath | Sequence[Run | StrPath]) -> list[Run | StrPath]:
    return [runs] if isinstance(runs, Run | str | os.PathLike) else list(runs)


def _path(run: Run | StrPath) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def _study(names: Sequence[Run | StrPath]) -> Path | None:
    """Return the file of the study that is named; None if runs are named."""
    if not names:
        raise ConfigError(f"compare needs runs, or a study ({', '.join(studies.shipped_studies())})")
    name = names[0] if len(names) == 1 else None
    return None if name is None or isinstance(name, Run) else studies.find_study(os.fspath(name))


def _check_runs(names: Sequence[Run | StrPath], config: StrPath | None) -> None:
    if config is not None:
        raise ConfigError("--config is for a study; runs have their own")
    for path in map(_path, names):
        if not path.is_dir():
            known = nearest(str(path), studies.shipped_studies())
            raise ConfigError(f"{path} is neither a run directory nor a study{known}")
