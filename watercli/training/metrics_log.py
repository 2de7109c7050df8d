"""``metrics.jsonl`` and TensorBoard: what a run tells, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"


class MetricsLog:
    """Appends rows to ``metrics.jsonl`` and TensorBoard events; on resume, rows after the checkpoint are dropped."""

    def __init__(self, run: Path, start: int) -> None:
        self._file = run / METRICS
        rows = [row for row in read_metrics(run) if row["step"] <= start]
        self._file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Write one row: ``step``, ``split``, then the values; NaN becomes null."""
        finite = {name: value if value == value else None for name, value in values.items()}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "split": split, **finite}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{name}/{split}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.close()


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
