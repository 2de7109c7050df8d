"""A study: variants of one configuration; each is pretrained and evaluated, where that is not done yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from watercli.config import Config, Section, config_folder, load, with_overrides
from watercli.config.base import Strings
from watercli.config.loading import read_text
from watercli.errors import ConfigError
from watercli.evaluation.evaluate import evaluate
from watercli.evaluation.results import is_evaluation, is_of
from watercli.log import log
from watercli.run.directory import all_checkpoints, open_run
from watercli.store import Store
from watercli.training.launch import Processes
from watercli.training.pretrain import CONFIG, THIS_PROCESS, another_experiment, pretrain
from watercli.training.size import fitted

FOLDER = "comparisons"


class Study(Section):
    """Variants of a configuration."""

    description: str = ""
    """What is compared, in words."""
    config: str | None = None
    """The configuration that all vary, by shipped name or path; by default the one that the store was prepared for."""
    common: Strings = ()
    """Settings of all variants, as ``key=value``."""
    variants: dict[str, Strings] = Field(min_length=2)
    """Settings of each, by name; the others are compared with the first."""

    def configs(self, prepared: Config) -> dict[str, Config]:
        """Return the configuration of each variant; ``prepared`` is that of the store.

        Raises
        ------
        ConfigError
            If a variant is no valid configuration, or the same as another.
        """
        base = load(self.config) if self.config else prepared
        configs: dict[str, Config] = {}
        for name, changes in self.variants.items():
            config = with_overrides(base, [*self.common, *changes])
            if twins := [variant for variant in configs if configs[variant] == config]:
                raise ConfigError(f"Variants '{twins[0]}' and '{name}' of {base.name} are the same; leave one out")
            configs[name] = config
        return configs


def shipped_studies() -> dict[str, Path]:
    """Return the shipped studies by name."""
    return {path.stem: path for path in sorted((config_folder() / FOLDER).glob("*.yaml"))}


def find_study(name: str) -> Path | None:
    """Return the file of a shipped study, or the YAML file of that path; None if it is neither."""
    known, path = shipped_studies(), Path(name).expanduser()
    if name in known and not path.is_dir():
        return known[name]
    return path if path.is_file() and path.suffix in (".yaml", ".yml") else None


def load_study(file: Path, settings: Sequence[str] = (), config: str | None = None) -> Study:
    """Read a study; ``settings`` (``key=value``) are added to those of all variants, ``config`` replaces its own.

    Raises
    ------
    ConfigError
        If the file is no study.
    """
    try:
        study = Study.model_validate(yaml.safe_load(read_text(file)))
    except (yaml.YAMLError, ValueError) as error:
        reason = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "it is no YAML"}
        where = ".".join(map(str, reason["loc"])) or "the file"
        raise ConfigError(
            f"{file} is no study of variants ({where}: {reason['msg']}); see docs/guide/comparison.md"
        ) from error
    return study.model_copy(update={"common": (*study.common, *settings), "config": config or study.config})


def run_study(
    study: Study, store: Store, folder: Path, device: str = "cpu", processes: Processes = THIS_PROCESS
) -> list[Path]:
    """Pretrain and evaluate the variants where that is not done yet; return their run directories, ``folder/VARIANT``.

    A variant that was interrupted is continued. ``processes`` train it, and ``device`` evaluates it.

    Raises
    ------
    ConfigError
        If a run directory holds another experiment.
    RunError
        If training fails or is interrupted.
    """
    runs = []
    configs = {name: fitted(config, store) for name, config in study.configs(store.config).items()}
    begun = [name for name in configs if (folder / name / CONFIG).is_file()]
    for name in begun:
        if reason := another_experiment(configs[name], store, folder / name):
            raise ConfigError(f"{reason}; move {folder} away, or work in another folder")
    for name, config in configs.items():
        run = folder / name
        log.info("Variant %s", name)
        if not finished(run, config):
            pretrain(config, store, run, resume=name in begun, processes=processes)
        _evaluate(run, store, config, device)
        runs.append(run)
    return runs


def finished(run: Path, config: Config) -> bool:
    """Return whether a run has all the steps of a configuration."""
    checkpoints = all_checkpoints(run)
    return bool(checkpoints) and checkpoints[-1].step >= config.train.steps


def _evaluate(run: Path, store: Store, config: Config, device: str) -> None:
    """Evaluate a run, unless that was done with the same weights and settings."""
    checkpoint, out = open_run(run), run / "evaluation"
    if not is_of(out, checkpoint, config.evaluate):
        evaluate(checkpoint, store, out, config, run=run, overwrite=True, device=device)


def ensure_evaluated(run: Path, store: Store, settings: Sequence[str] = (), *, device: str = "cpu") -> None:
    """Evaluate a run where that is not done yet; its model works on ``device``.

    With ``settings`` (``key=value``), an evaluation with different ones is made anew.
    """
    if settings or not is_evaluation(run / "evaluation"):
        _evaluate(run, store, with_overrides(open_run(run).config, settings), device)
