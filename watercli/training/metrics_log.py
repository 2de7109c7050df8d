"""The metrics of a run, row by row: ``metrics.jsonl``, and the loggers that ``train.loggers`` names."""

from __future__ import annotations

import json
import os
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import torch

from watercli.config import Config, LoggerName
from watercli.errors import ConfigError
from watercli.output.atomic import write_text

METRICS = "metrics.jsonl"


class Logger(ABC):
    """Where the rows of ``metrics.jsonl`` go as well."""

    @abstractmethod
    def write(self, step: int, values: dict[str, float]) -> None:
        """Write values named ``NAME/SPLIT`` of a step."""

    @abstractmethod
    def close(self) -> None:
        """Flush what was written, and close."""


class TensorBoard(Logger):
    """Event files in ``tensorboard/``."""

    def __init__(self, run: Path, config: Config, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """See `Logger`."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Logger`."""
        self._board.close()


class WeightsAndBiases(Logger):
    """A Weights & Biases run in ``wandb/``: offline, unless ``WANDB_MODE`` says otherwise."""

    def __init__(self, run: Path, config: Config, start: int) -> None:
        wandb = imported("wandb")
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", config.name),
            name=run.name,
            id=_identity(run, "wandb"),
            resume="allow",
            dir=run,
            mode=mode,
            config=config.model_dump(mode="json"),
            settings=wandb.Settings(console="off", silent=True),
        )

    def write(self, step: int, values: dict[str, float]) -> None:
        """See `Logger`."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._run.finish()


class MLflow(Logger):
    """An MLflow run, in ``mlflow.db`` unless ``MLFLOW_TRACKING_URI`` names a server or another database."""

    def __init__(self, run: Path, config: Config, start: int) -> None:
        mlflow = imported("mlflow")
        elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = mlflow.MlflowClient(tracking_uri=elsewhere or f"sqlite:///{run.resolve() / 'mlflow.db'}")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", config.name)
        existing = self._client.get_experiment_by_name(name)
        files = None if elsewhere else (run / "mlflow-artifacts").resolve().as_uri()
        experiment = (
            existing.experiment_id if existing else self._client.create_experiment(name, artifact_location=files)
        )
        tag = {"watercli.run": _identity(run, "mlflow")}
        known = self._client.search_runs([experiment], f"tags.`watercli.run` = '{tag['watercli.run']}'")
        self._id = (known[0] if known else self._client.create_run(experiment, run_name=run.name, tags=tag)).info.run_id
        self._client.update_run(self._id, status="RUNNING")
        if not known:
            self._client.log_text(self._id, config.to_yaml(), "config.yaml")

    def write(self, step: int, values: dict[str, float]) -> None:
        """See `Logger`."""
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._client.set_terminated(self._id)


LOGGERS: dict[LoggerName, type[TensorBoard | WeightsAndBiases | MLflow]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def imported(package: str) -> ModuleType:
    """Return a package that only a logger needs.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"Setting 'train.loggers' names {package}, which is not installed; pip install 'watercli[{package}]', "
            "or leave it out"
        ) from error


def check_loggers(config: Config) -> None:
    """Raise a `ConfigError` if the package of a logger is missing."""
    for name in config.train.loggers:
        imported("torch.utils.tensorboard" if name == "tensorboard" else name)


def _identity(run: Path, logger: str) -> str:
    """Return by what name a logger knows this run when it is resumed."""
    file = run / f".{logger}-id"
    if not file.is_file():
        write_text(file, uuid.uuid4().hex[:12])
    return file.read_text(encoding="utf-8")


class MetricsLog:
    """Appends rows to ``metrics.jsonl`` and to loggers; on resume, rows after the checkpoint are dropped."""

    def __init__(self, run: Path, config: Config, start: int) -> None:
        self._file = run / METRICS
        rows = [row for row in read_metrics(run) if row["step"] <= start]
        write_text(self._file, "".join(json.dumps(row) + "\n" for row in rows))
        self._loggers = [LOGGERS[name](run, config, start) for name in config.train.loggers]

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Write one row: ``step``, ``split``, then the values; NaN becomes null."""
        finite = {name: value if value == value else None for name, value in values.items()}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "split": split, **finite}) + "\n")
        for logger in self._loggers:
            logger.write(step, {f"{name}/{split}": value for name, value in values.items() if value == value})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for logger in self._loggers:
            logger.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's ``metrics.jsonl``; a last line torn by a kill is passed over."""
    file = run / METRICS
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def by_modality(names: list[str], losses: torch.Tensor) -> dict[str, float]:
    """Return ``loss/<modality>`` entries of losses ``[modalities]``."""
    return {f"loss/{name}": float(loss) for name, loss in zip(names, losses, strict=True)}
