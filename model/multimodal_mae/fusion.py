"""Fusion: each decoder reads the encoder tokens of other modalities beside its own as its keys.

With `fusion: shared`, transformer layers mix the joined tokens first.
A catchment's decoder reads its own series and the weather of the patches that it drains; a grid's decoder reads all
grids. Grids are encoded once for a window, however many catchments read them, so that cost is linear in catchments.
Shapes: B windows, C catchments in each, R rows (B or B * C), T days, P patches, K patches drained, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.encoder import Features
from multimodal_mae.layers import EncoderLayer, no_later
from multimodal_mae.masking import select


class SharedLayers(nn.Module):
    """Transformer layers over the joined tokens of several modalities; their output is added to every map."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.causal = config.causal
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.mlp_ratio, config.dropout)
            for _ in range(config.fusion_layers)
        )

    def forward(self, x: Tensor, read: Features) -> Tensor:
        """Mix ``[R, L, D]`` along L; ``read`` says what the tokens are."""
        allowed = no_later(read.day, read.day, read.valid) if self.causal else read.padding
        for layer in self.layers:
            x = layer(x, allowed)
        return x


class KeyFusion(nn.Module):
    """Joins encoder tokens of several modalities, each marked by a learned token of its modality."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.names = list(config.modalities)
        self.modality = nn.Embedding(len(self.names), config.width)
        self.shared = nn.ModuleDict()
        if config.fusion == "shared":
            for kind in sorted({modality.kind for modality in config.modalities.values()}):
                self.shared[kind] = SharedLayers(config)

    def forward(
        self, name: str, maps: Mapping[str, Sequence[Tensor]], features: Mapping[str, Features], batch: Batch
    ) -> tuple[list[Tensor], Features]:
        """Return what the decoder of ``name`` reads: one ``[R, L, D]`` for each of its layers, and its features.

        ``maps`` and ``features`` are those of all modalities; the first tokens returned are those of ``name`` itself.
        """
        kind = self.config.modalities[name].kind
        joined = [self._marked(name, maps[name], features[name])]
        for other in self.config.read_by(name):
            if other == name:
                continue
            part = self._marked(other, maps[other], features[other])
            if kind == "series" and self.config.modalities[other].kind == "grid":
                part = self._drained(*part, batch)
            joined.append(part)
        index, valid, day = (
            torch.cat([getattr(one, what) for _, one in joined], dim=1) for what in ("index", "valid", "day")
        )
        together = [torch.cat(layer, dim=1) for layer in zip(*(layers for layers, _ in joined), strict=True)]
        read = Features(tuple(together), index, valid, day)
        if kind in self.shared:
            mixed = self.shared[kind](together[-1], read)
            together = [layer + mixed for layer in together]
        return together, read

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
        return picked, replace(
            features,
            layers=tuple(picked),
            index=features.index[row, index],
            valid=chosen.valid,
            day=features.day[row, index],
        )
