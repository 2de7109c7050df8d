"""Antecedent state: what a token knows of the days before it, beyond its window.

One kind is `multimodal_mae.moving_averages.MovingAverages`; another implements `AntecedentState` and is chosen in
`multimodal_mae.mae.MultiModalMAE`.
Shapes: R rows (B windows for grids, B * C for series with C catchments), K places, N tokens, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from multimodal_mae.batch import Batch
from multimodal_mae.masking import TokenMask


@dataclass(frozen=True)
class Antecedent:
    """One vector for each token of a modality: what is known there of the days before."""

    values: Tensor
    """``[R, K, W]`` of K places: all tokens of a series, those of land patches of a grid."""
    place: Tensor | None = None
    """``[N]``: the place of each token; None: its own number."""

    def at(self, row: Tensor, token: Tensor) -> Tensor:
        """Return ``[..., W]`` of tokens ``[...]`` in rows ``[...]``."""
        return self.values[row, token if self.place is None else self.place[token]]

    def rows(self, rows: Tensor) -> Antecedent:
        """Return some of the rows."""
        return Antecedent(self.values[rows], self.place)


class AntecedentState(ABC, nn.Module):
    """Makes the vectors that encoders and decoders add to their tokens; it never uses a later day."""

    @abstractmethod
    def forward(self, batch: Batch, masks: Mapping[str, TokenMask]) -> dict[str, Antecedent]:
        """Return the antecedent state at the tokens of every modality.

        Only visible tokens may have a part in it, and a past only where the mask's ``past`` says so.
        """

    @abstractmethod
    def standardise(self, windows: Iterable[tuple[Batch, Mapping[str, TokenMask]]]) -> None:
        """Take over the scale of what is read from some windows, before training begins."""
