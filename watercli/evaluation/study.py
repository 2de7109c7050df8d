"""A study: variants of one configuration, each pretrained and evaluated where that is not done yet, then compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from watercli.checkpoint import all_checkpoints, open_run
from watercli.config import Config, Section, Strings, config_folder, load, with_overrides
from watercli.errors import ConfigError
from watercli.evaluation.protocol import evaluate
from watercli.evaluation.results import is_evaluation
from watercli.log import log
from watercli.store import Store
from watercli.training.launch import Processes
from watercli.training.pretrain import CONFIG, ONE, pretrain

FOLDER = "comparisons"


class Study(Section):
    """Variants of a configuration."""

    description: str = ""
    """What is compared, in words."""
    config: str
    """The configuration that all vary, by shipped name or path."""
    common: Strings = ()
    """Settings of all variants, as ``key=value``."""
    variants: dict[str, Strings] = Field(min_length=2)
    """Settings of each, by name; the first is the one that the others are held against."""

    def configs(self) -> dict[str, Config]:
        """Return the configuration of each variant."""
        return {name: load(self.config, [*self.common, *changes]) for name, changes in self.variants.items()}


def shipped_studies() -> dict[str, Path]:
    """Return the shipped studies by name."""
    return {path.stem: path for path in sorted((config_folder() / FOLDER).glob("*.yaml"))}


def find_study(name: str) -> Path | None:
    """Return the file of a shipped study, or the YAML file of that path; None if it is neither."""
    known, path = shipped_studies(), Path(name).expanduser()
    if name in known and not path.is_dir():
        return known[name]
    return path if path.is_file() and path.suffix in (".yaml", ".yml") else None


def load_study(file: Path, settings: Sequence[str] = ()) -> Study:
    """Read a study; ``settings`` (``key=value``) are added to those of all variants.

    Raises
    ------
    ConfigError
        If the file is no study, or a variant is no valid configuration.
    """
    try:
        found = Study.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        reason = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "it is no YAML"}
        where = ".".join(map(str, reason["loc"])) or "the file"
        raise ConfigError(
            f"{file} is no study of variants ({where}: {reason['msg']}); see docs/evaluation.md"
        ) from error
    found = found.model_copy(update={"common": (*found.common, *settings)})
    found.configs()
    return found


def run_study(study: Study, store: Store, folder: Path, device: str = "cpu", processes: Processes = ONE) -> list[Path]:
    """Pretrain and evaluate what is not there yet; return the run directories, ``folder/VARIANT``.

    A variant that was interrupted is continued. ``processes`` train it, and ``device`` evaluates it.
    """
    runs = []
    for name, config in study.configs().items():
        run = folder / name
        log.info("Variant %s", name)
        if not _finished(run, config):
            pretrain(config, store, run, resume=(run / CONFIG).is_file(), processes=processes)
        ensure_evaluated(run, store, device=device)
        runs.append(run)
    return runs


def _finished(run: Path, config: Config) -> bool:
    found = all_checkpoints(run)
    return bool(found) and found[-1].step >= config.train.steps and found[-1].config.train == config.train


def ensure_evaluated(run: Path, store: Store, settings: Sequence[str] = (), *, device: str = "cpu") -> None:
    """Evaluate a run with its own settings and others, if that has not been done; its model works on ``device``."""
    checkpoint = open_run(run)
    if not is_evaluation(run / "evaluation"):
        config = with_overrides(checkpoint.config, settings)
        evaluate(checkpoint, store, run / "evaluation", config, run=run, device=device)
