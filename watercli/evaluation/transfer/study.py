"""The study: every cell that is not on disk yet is filled, and kept.

Folder: ``study.json`` (what all cells share), ``cells/NAME.json`` (scores of a cell by gauge), ``runs/NAME`` (run
directories), ``scores.csv`` and ``transfer.md`` (the table).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from watercli.errors import ConfigError, nearest
from watercli.evaluation.transfer.draw import Drawn, candidates, draw, with_record
from watercli.evaluation.transfer.methods import METHODS, Case, Cell
from watercli.hydrology.scores import kge, nse
from watercli.log import log
from watercli.output.atomic import write_text
from watercli.output.lock import locked
from watercli.run.parent import Parent
from watercli.store import Store

PERIODS = ("test", "validation")
ABOUT = "study.json"


@dataclass(frozen=True)
class TransferStudy:
    """What is to be measured."""

    parent: Parent
    store: Store
    """As the parent reads it."""
    folder: Path
    target: str
    gauges: tuple[int, ...]
    """Numbers of local gauges."""
    years: tuple[int | None, ...] = (None,)
    """Lengths of their record; None: the whole training period."""
    seeds: int = 2
    methods: tuple[str, ...] = tuple(METHODS)
    settings: tuple[str, ...] = ()
    """Changes of the fine-tuning's settings, ``key=value``."""
    period: str = "test"
    """The split that is judged."""
    parent_store: Store | None = None
    """A store with the flow of the parent's gauges, which the LSTM is pretrained on."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.methods if name not in METHODS]:
            raise ConfigError(f"No method '{unknown[0]}' of transfer{nearest(unknown[0], METHODS)}")
        if self.period not in PERIODS:
            raise ConfigError(f"--period is {self.period}, but must be one of {', '.join(PERIODS)}")
        if not self.gauges or min(self.gauges) < 0 or self.seeds < 1:
            raise ConfigError("--gauges needs numbers of 0 and more, and --seeds one of 1 and more")
        if any(years is not None and years < 1 for years in self.years):
            raise ConfigError("--years needs numbers of 1 and more")

    @property
    def cells(self) -> Iterator[Cell]:
        """The cells of the table, those of one seed after the other."""
        for seed in range(self.seeds):
            for name in self.methods:
                if not METHODS[name].learns:
                    yield Cell(name, 0, None, seed)
            for count in self.gauges:
                for years in self.years:
                    for name in self.methods:
                        if METHODS[name].learns and count:
                            yield Cell(name, count, years, seed)

    @property
    def about(self) -> dict[str, Any]:
        """What all cells share: with another of these, they would not be one table."""
        return {
            "parent": self.parent.record["weights_fingerprint"],
            "store": self.store.fingerprint,
            "target": self.target,
            "judged_period": self.period,
            "most_local_gauges": max(self.gauges),
            "settings": list(self.settings),
        }

    def run(self) -> pd.DataFrame:
        """Fill all cells that are not on disk, and return the scores of all, a row for each gauge of each cell.

        Raises
        ------
        ConfigError
            If the folder holds another study, or too few gauges are left to be judged.
        RunError
            If a training fails or is interrupted; the same call goes on from there.
        """
        gauges = candidates(self.parent.checkpoint, self.store, self.target, self.period)
        drawn = [draw(gauges, max(self.gauges), seed) for seed in range(self.seeds)]
        log.info("%d gauges never seen by the model, of which %d are judged", len(gauges), len(drawn[0].judged))
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            self._claim()
            cells = list(self.cells)
            for number, cell in enumerate(cells, start=1):
                self._fill(cell, drawn[cell.seed], f"{number} of {len(cells)}")
            return read_scores(self.folder, cells)

    def _claim(self) -> None:
        """Say in the folder which study it holds, or refuse to add to another."""
        file = self.folder / ABOUT
        if not file.is_file():
            if any(self.folder.iterdir()):
                raise ConfigError(f"{self.folder} holds no study of transfer; choose another --out")
            write_text(file, json.dumps(self.about, indent=1))
            return
        begun = json.loads(file.read_text(encoding="utf-8"))
        if changed := [name for name, value in self.about.items() if begun.get(name) != value]:
            raise ConfigError(
                f"{self.folder} holds a study of another {changed[0].replace('_', ' ')} "
                f"({begun.get(changed[0])}); choose another --out"
            )

    def _fill(self, cell: Cell, drawn: Drawn, place: str) -> None:
        file = self.folder / "cells" / f"{cell.name}.json"
        if file.is_file():
            return
        log.info("Cell %s: %s, %d local gauges, seed %d", place, METHODS[cell.method].label, cell.gauges, cell.seed)
        case = Case(
            cell, self.parent, self.parent_store, with_record(drawn.store_of(self.store, cell.gauges), cell.years),
            drawn.local[: cell.gauges], self.target, self.period, self.settings, self.folder,
        )  # fmt: skip
        simulated = METHODS[cell.method].simulate(case)
        file.parent.mkdir(exist_ok=True)
        write_text(file, json.dumps({} if simulated is None else _scores(case, simulated)))


def _scores(case: Case, simulated: np.ndarray[Any, np.dtype[Any]]) -> dict[str, dict[str, float]]:
    """Return the scores of the judged gauges: by name, then by gauge id."""
    judged = ~case.is_local
    observed = case.store.dataset[case.target].values[judged][:, case.days].astype(np.float64)
    flow, known = (
        xr.DataArray(values, dims=("catchment", "time")) for values in (simulated[judged].astype(np.float64), observed)
    )
    scores = {"nse": nse(flow, known).values, "kge": kge(flow, known)["kge"].values}
    return {name: dict(zip(case.judged, map(float, values), strict=True)) for name, values in scores.items()}


def read_scores(folder: Path, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return the scores of cells on disk: ``method, gauges, years, seed, gauge_id, nse, kge``; 0 years are all."""
    parts = []
    for cell in cells:
        scores = json.loads((folder / "cells" / f"{cell.name}.json").read_text(encoding="utf-8"))
        if scores:
            part = pd.DataFrame(scores).rename_axis("gauge_id").reset_index()
            parts.append(part.assign(method=cell.method, gauges=cell.gauges, years=cell.years or 0, seed=cell.seed))
    columns = ["method", "gauges", "years", "seed", "gauge_id", "nse", "kge"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
