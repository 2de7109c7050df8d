"""Cross-modal attention: each decoder reads the encoder tokens of other modalities beside its own as its keys.

With `cross_modal_attention: joint`, transformer layers mix the joined tokens first.
A catchment's decoder reads its own series and the weather of the patches that it overlaps; a grid's decoder reads all
grids. Grids are encoded once for a window, however many catchments read them, so that cost is linear in catchments.
Shapes: B windows, C catchments in each, R rows (B or B * C), T days, P patches, K patches of a catchment, L tokens, D
width.
"""

from __future__ import annotations

from collections.abc import Mapping
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

    def forward(self, name: str, features: Mapping[str, Features], batch: Batch) -> Features:
        """Return what the decoder of ``name`` reads: its own tokens first, then those of others that it may see.

        ``features`` are those of all modalities that it reads, ``[R, L, D]`` each.
        """
        kind = self.config.modalities[name].kind
        parts = [self._marked(name, features[name])]
        for other in self.config.read_by(name):
            if other == name:
                continue
            part = self._marked(other, features[other])
            if kind == "series" and self.config.modalities[other].kind == "grid":
                part = self._overlapping(part, batch)
            parts.append(part)
        joined = Features(
            layers=(),
            index=torch.cat([part.index for part in parts], dim=1),
            valid=torch.cat([part.valid for part in parts], dim=1),
            day=torch.cat([part.day for part in parts], dim=1),
            maps=tuple(torch.cat(maps, dim=1) for maps in zip(*(part.maps for part in parts), strict=True)),
        )
        if kind not in self.shared:
            return joined
        mixed = self.shared[kind](joined.maps[-1], joined)
        return replace(joined, maps=tuple(feature_map + mixed for feature_map in joined.maps))

    def _marked(self, name: str, features: Features) -> Features:
        mark = self.modality(torch.tensor(self.names.index(name), device=features.index.device))
        return replace(features, maps=tuple(feature_map + mark for feature_map in features.maps))

    def _overlapping(self, features: Features, batch: Batch) -> Features:
        """Pick the visible tokens of the patches that each catchment overlaps, ``[R, L', D]`` of ``[B, L, D]``."""
        assert self.config.grid is not None
        if batch.patch_index is None:
            raise ValueError("patch_index: cross-modal attention needs the patches that each catchment overlaps")
        b, c, k = batch.patch_index.shape
        t, p = batch.grid_days, self.config.grid.patches
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
        return Features(
            layers=(),
            index=features.index[row, index],
            valid=chosen.valid,
            day=features.day[row, index],
            maps=tuple(feature_map[row, index] for feature_map in features.maps),
        )
