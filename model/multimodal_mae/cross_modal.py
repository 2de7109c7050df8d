"""Fusion: each decoder reads the encoder tokens of other modalities beside its own as its keys.

With `cross_modal_attention: joint`, transformer layers mix the joined tokens first.
A catchment's decoder reads its own series and the weather of the patches that it overlaps; a grid's decoder reads all
grids. Grids are encoded once for a window, however many catchments read them, so that cost is linear in catchments.
Shapes: B windows, C catchments in each, R rows (B or B * C), T days, P patches, K patches of a catchment, L tokens, D
width.
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
            for _ in range(config.joint_layers)
        )

    def forward(self, x: Tensor, read: Features) -> Tensor:
        """Mix ``[R, L, D]`` along L; ``read`` says what the tokens are."""
        allowed = no_later(read.day, read.day, read.valid) if self.causal else read.padding
        for layer in self.layers:
            x = layer(x, allowed)
        return x


class CrossModalKeys(nn.Module):
    """Joins encoder tokens of several modalities, each marked by a learned token of its modality."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.names = list(config.modalities)
        self.modality = nn.Embedding(len(self.names), config.width)
        self.shared = nn.ModuleDict()
        if config.cross_modal_attention == "joint":
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
                part = self._overlapping(*part, batch)
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

    def _overlapping(self, maps: list[Tensor], features: Features, batch: Batch) -> tuple[list[Tensor], Features]:
        """Pick the visible tokens of the patches that each catchment overlaps, ``[R, L', D]`` of ``[B, L, D]``."""
        assert self.config.grid is not None
        if batch.patch_index is None:
            raise ValueError("patch_index: cross-modal attention needs the patches that each catchment overlaps")
        b, c, k = batch.patch_index.shape
        t, p = batch.days, self.config.grid.patches
        # Where each token of a window stands among its visible ones; -1: not visible. Padding goes to an extra column.
        place = features.index.new_full((b, t * p + 1), -1)
        column = torch.where(features.valid, features.index, t * p)
        place.scatter_(1, column, torch.arange(column.shape[1], device=column.device).expand_as(column))
        day = torch.arange(t, device=column.device)[:, None] * p
        token = torch.where(batch.patch_index[:, :, None] >= 0, day + batch.patch_index[:, :, None], t * p).flatten(2)
        place_of_token = place[:, :-1].gather(1, token.clamp_max(t * p - 1).flatten(1)).unflatten(1, (c, t * k))
        place_of_token = torch.where(token < t * p, place_of_token, -1).flatten(0, 1)
        chosen = select(place_of_token >= 0)
        index = place_of_token.gather(1, chosen.index).clamp_min(0)
        row = torch.arange(b, device=index.device).repeat_interleave(c)[:, None].expand_as(index)
        picked = [one[row, index] for one in maps]
        return picked, replace(
            features,
            layers=tuple(picked),
            index=features.index[row, index],
            valid=chosen.valid,
            day=features.day[row, index],
        )
