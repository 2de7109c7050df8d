"""Fusion through the decoders' keys: each decoder reads the encoder tokens of other modalities beside its own.

A catchment's decoder reads its own series and the weather of the patches that it drains; a grid's decoder reads all
grids. Grids are encoded once for a window, however many catchments read them, so that cost is linear in catchments.
Shapes: B windows, C catchments in each, R rows (B or B * C), T days, P patches, K patches drained, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.batch import Batch
from model.config import MAEConfig
from model.encoder import Features
from model.layers import gather
from model.masking import select


class KeyFusion(nn.Module):
    """Joins encoder tokens of several modalities, each marked by a learned token of its modality."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.names = list(config.modalities)
        self.modality = nn.Embedding(len(self.names), config.width)

    def forward(
        self, name: str, maps: Mapping[str, Sequence[Tensor]], features: Mapping[str, Features], batch: Batch
    ) -> tuple[list[Tensor], Features]:
        """Return what the decoder of ``name`` reads: one ``[R, L, D]`` for each of its layers, and its features.

        ``maps`` and ``features`` are those of all modalities; the first tokens returned are those of ``name`` itself.
        """
        kind = self.config.modalities[name].kind
        joined = [self._marked(name, maps[name], features[name])]
        for other, modality in self.config.modalities.items():
            if other == name or (kind == "grid" and modality.kind == "series"):
                continue
            part = self._marked(other, maps[other], features[other])
            if kind == "series" and modality.kind == "grid":
                part = self._drained(*part, batch)
            joined.append(part)
        index, valid = (torch.cat([getattr(one, what) for _, one in joined], dim=1) for what in ("index", "valid"))
        together = [torch.cat(layer, dim=1) for layer in zip(*(layers for layers, _ in joined), strict=True)]
        return together, Features(tuple(together), index, valid)

    def _marked(self, name: str, maps: Sequence[Tensor], features: Features) -> tuple[list[Tensor], Features]:
        mark = self.modality(torch.tensor(self.names.index(name), device=features.index.device))
        return [one + mark for one in maps], features

    def _drained(self, maps: list[Tensor], features: Features, batch: Batch) -> tuple[list[Tensor], Features]:
        """Pick the visible tokens of the patches that each catchment drains, ``[R, L', D]`` of ``[B, L, D]``."""
        assert self.config.grid is not None
        if batch.drains is None:
            raise ValueError("drains: fusion needs the patches that each catchment drains")
        b, c, k = batch.drains.shape
        t, p = batch.days, self.config.grid.patches
        # Where each token of a window stands among its visible ones; -1: not visible. Padding goes to an extra column.
        place = features.index.new_full((b, t * p + 1), -1)
        column = torch.where(features.valid, features.index, t * p)
        place.scatter_(1, column, torch.arange(column.shape[1], device=column.device).expand_as(column))
        day = torch.arange(t, device=column.device)[:, None] * p
        token = torch.where(batch.drains[:, :, None] >= 0, day + batch.drains[:, :, None], t * p).flatten(2)
        wanted = place[:, :-1].gather(1, token.clamp_max(t * p - 1).flatten(1)).unflatten(1, (c, t * k))
        wanted = torch.where(token < t * p, wanted, -1).flatten(0, 1)
        chosen = select(wanted >= 0)
        index = wanted.gather(1, chosen.index).clamp_min(0)
        row = torch.arange(b, device=index.device).repeat_interleave(c)[:, None].expand_as(index)
        picked = [one[row, index] for one in maps]
        tokens = gather(features.index[..., None], index.unflatten(0, (b, c)).flatten(1))[..., 0]
        return picked, replace(
            features, layers=tuple(picked), index=tokens.unflatten(1, (c, -1)).flatten(0, 1), valid=chosen.valid
        )
