"""Decoders: CrossMAE's, whose queries are the masked positions only, and the standard MAE's for comparison.

Shapes: R rows, L encoder tokens, Q queries, D encoder width, E decoder width, T days, P patches, V values of a token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.config import MAEConfig
from model.encoder import Features
from model.layers import DecoderBlock, SelfBlock, sincos
from model.masking import Selection


class Decoder(ABC, nn.Module):
    """What both decoders share: a mask token, positions, a final norm and a head.

    ``patches`` is 1 for series, which have no spatial position; ``values`` is V.
    """

    def __init__(self, config: MAEConfig, patches: int, values: int) -> None:
        super().__init__()
        width = config.decoder_width
        self.patches = patches
        self.mask_token = nn.Parameter(torch.empty(width))
        self.position = nn.Embedding(patches, width) if patches > 1 else None
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, values)

    def positions(self, index: Tensor, days: int) -> Tensor:
        """Return positions ``[R, Q, E]`` of tokens ``[R, Q]`` (day * P + patch); none for index -1 (static)."""
        day, patch = index // self.patches, index % self.patches
        found = sincos(days, self.mask_token.numel(), self.mask_token)[day.clamp_min(0)]
        if self.position is not None:
            found = found + self.position(patch.clamp_min(0))
        return found * (index >= 0)[..., None]

    @abstractmethod
    def forward(self, maps: Sequence[Tensor], features: Features, queries: Selection, days: int) -> Tensor:
        """Predict ``[R, Q, V]`` at the queries.

        ``maps`` holds what the decoder layers read: one ``[R, L, D]`` for each, or a single one for all.
        """


class CrossDecoder(Decoder):
    """CrossMAE: masked positions attend to encoder tokens, one feature map for each block."""

    def __init__(self, config: MAEConfig, patches: int, values: int) -> None:
        super().__init__(config, patches, values)
        self.blocks = nn.ModuleList(
            DecoderBlock(
                config.decoder_width,
                config.width,
                config.heads,
                config.mlp_ratio,
                config.dropout,
                config.decoder_self_attn,
            )
            for _ in range(config.decoder_layers)
        )

    def forward(self, maps: Sequence[Tensor], features: Features, queries: Selection, days: int) -> Tensor:
        """Predict ``[R, Q, V]``; see `Decoder.forward`."""
        x = self.mask_token + self.positions(queries.index, days)
        padding = features.padding
        for number, block in enumerate(self.blocks):
            x = block(x, queries.valid, maps[number if len(maps) > 1 else 0], padding)
        out: Tensor = self.head(self.norm(x))
        return out


class StandardDecoder(Decoder):
    """Standard MAE: self-attention over visible and masked tokens of the modality."""

    def __init__(self, config: MAEConfig, patches: int, values: int) -> None:
        super().__init__(config, patches, values)
        self.embed = nn.Linear(config.width, config.decoder_width)
        self.blocks = nn.ModuleList(
            SelfBlock(config.decoder_width, config.heads, config.mlp_ratio, config.dropout)
            for _ in range(config.decoder_layers)
        )

    def forward(self, maps: Sequence[Tensor], features: Features, queries: Selection, days: int) -> Tensor:
        """Predict ``[R, Q, V]``; see `Decoder.forward`."""
        seen = self.embed(maps[0]) + self.positions(features.index, days)
        x = torch.cat((seen, self.mask_token + self.positions(queries.index, days)), dim=1)
        valid = torch.cat((features.valid, queries.valid), dim=1)
        for block in self.blocks:
            x = block(x, None if bool(valid.all()) else valid)
        out: Tensor = self.head(self.norm(x[:, seen.shape[1] :]))
        return out
