"""Whether pretraining pays at gauges that a model never saw: `transfer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from watercli.api.arguments import Settings, StrPath, as_overrides
from watercli.api.run import Pretrained, resolve_store
from watercli.api.training import parent_for
from watercli.evaluation.transfer.methods import METHODS
from watercli.evaluation.transfer.study import TransferStudy
from watercli.evaluation.transfer.table import markdown, summary
from watercli.output.atomic import write_text
from watercli.run.view import as_read_by
from watercli.store import Store

TABLE, SCORES = "transfer.md", "scores.csv"


@dataclass(frozen=True)
class Transfer:
    """The result of a study of transfer."""

    scores: pd.DataFrame
    """NSE and KGE of every judged gauge: ``method, gauges, years, seed, gauge_id, nse, kge``; 0 years are all."""

    @property
    def table(self) -> pd.DataFrame:
        """Medians by method and record, with intervals, and paired differences against from scratch and as it is."""
        return summary(self.scores)

    def write(self, out: StrPath) -> Path:
        """Write scores and table to a folder, and return the file of the table."""
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / SCORES, self.scores.to_csv(index=False))
        write_text(folder / TABLE, markdown(self.table))
        return folder / TABLE


def transfer(
    model: Pretrained | StrPath,
    store: Store | StrPath | None = None,
    out: StrPath = "transfer",
    *,
    gauges: Sequence[int] = (0, 4, 8, 16, 32),
    years: Sequence[int | None] = (None,),
    seeds: int = 2,
    methods: Sequence[str] = tuple(METHODS),
    names: Mapping[str, str] | None = None,
    settings: Settings = (),
    period: str = "test",
    parent_store: Store | StrPath | None = None,
) -> Transfer:
    """Measure what a trained model is worth at gauges that it never saw, by the number of local gauges to learn from.

    Local gauges are drawn anew by each seed; all other gauges that the model never saw are judged. What is done is
    kept in ``out``, and the same call goes on from there.

    Parameters
    ----------
    model
        The parent: what `load_model` or `open_run` return, a model's name, folder or URL, or a run directory.
    store
        A store with gauges that the model never saw; by default ``store.zarr``.
    out
        The study's folder, which also gets the table.
    gauges
        Numbers of local gauges.
    years
        Lengths of the local record, the last years of the training period; None is all of it.
    seeds
        Repetitions, with other local gauges and other random numbers.
    methods
        Rows of the table: ``as_is``, ``as_is_informed``, ``finetuned``, ``finetuned_informed``, ``from_scratch``,
        ``lstm``, ``lstm_finetuned``, ``gr4j_donors``.
    names
        The store's name of a modality or an attribute, by the model's: ``{"precip": "rain"}``.
    settings
        Changes of the fine-tuning's settings, as in ``{"finetune.layers": "last"}``.
    period
        The split that is judged, ``test`` or ``validation``. Choose settings by validation.
    parent_store
        A store with the flow of the parent's gauges, which ``lstm_finetuned`` is pretrained on.

    Raises
    ------
    ConfigError
        If model, store and settings do not fit each other, or ``out`` holds another study.
    RunError
        If a training fails or is interrupted.
    """
    parent, read = parent_for(model, store, names)
    checkpoint = parent.checkpoint
    study = TransferStudy(
        parent,
        read,
        Path(out),
        checkpoint.config.evaluate.target,
        tuple(gauges),
        tuple(years),
        seeds,
        tuple(methods),
        tuple(as_overrides(settings)),
        period,
        None if parent_store is None else as_read_by(checkpoint, resolve_store(parent_store)),
    )
    result = Transfer(study.run())
    result.write(out)
    return result
