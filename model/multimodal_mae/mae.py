"""MultiModalMAE: an encoder and a decoder for each modality; masked tokens are predicted from visible ones.

Shapes: R rows (B windows for grids, B * C for series), N tokens of a row, Q queries, V values of a token, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from multimodal_mae.antecedent_state import Antecedent, AntecedentState
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.cross_modal import CrossModalKeys
from multimodal_mae.decoder import CrossDecoder, Decoder, StandardDecoder
from multimodal_mae.encoder import Features, GridEncoder, SeriesEncoder
from multimodal_mae.feature_maps import WeightedFeatureMaps
from multimodal_mae.layers import gather, initialise, patchify
from multimodal_mae.masking import Selection, TokenMask, select, show_all


@dataclass(frozen=True)
class Prediction:
    """What was predicted of one modality, and how far off it is."""

    values: Tensor
    """``[R, Q, V]``, in the space of the targets: standardised, as a rule."""
    queries: Selection
    squared_error: Tensor
    """Sum over the observed values of the target tokens, a scalar that carries the gradient."""
    count: Tensor
    """Number of those values."""

    def full(self, tokens: int) -> Tensor:
        """Return ``[R, N, V]`` for N = ``tokens``, NaN where nothing was predicted."""
        r, _, v = self.values.shape
        # Padding is written to one extra token, which is then dropped.
        index = torch.where(self.queries.valid, self.queries.index, tokens)[..., None].expand(-1, -1, v)
        filled = self.values.new_full((r, tokens + 1, v), torch.nan)
        return filled.scatter(1, index, self.values)[:, :tokens]


class MultiModalMAE(nn.Module):
    """A masked autoencoder over any number of grid and series modalities."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict()
        self.feature_maps = nn.ModuleDict()
        self.decoders = nn.ModuleDict()
        for name, modality in config.modalities.items():
            patches, values = 1, 1
            if modality.kind == "grid":
                assert config.grid is not None
                patches, values = config.grid.patches, config.grid.values
                self.encoders[name] = GridEncoder(config, config.grid)
            else:
                self.encoders[name] = SeriesEncoder(config)
            if config.use_weighted_fm:
                layers = len(config.map_layers(modality.kind)) + config.use_input
                self.feature_maps[name] = WeightedFeatureMaps(layers, config.decoder_layers, config.width)
            decoder = CrossDecoder if config.use_cross_attn else StandardDecoder
            self.decoders[name] = decoder(config, patches, values, modality.non_negative)
        self.cross_modal = None if config.cross_modal_attention == "none" else CrossModalKeys(config)
        self.antecedent_state = AntecedentState(config) if config.antecedent_state else None
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise every parameter; as `multimodal_mae.layers.initialise` says; mask tokens are N(0, 0.02)."""
        self.apply(initialise)
        for decoder in self.decoders.values():
            assert isinstance(decoder, Decoder)
            nn.init.normal_(decoder.mask_token, std=0.02)
        for maps in self.feature_maps.values():
            assert isinstance(maps, WeightedFeatureMaps)
            maps.reset()

    def values(self, batch: Batch, name: str) -> Tensor:
        """Return a modality's token values ``[R, N, V]``: N = T * P, V = cells of a patch; or N = T, V = 1."""
        if self.config.modalities[name].kind == "series":
            return batch.series[name].flatten(0, 1)[..., None]
        assert self.config.grid is not None
        return patchify(batch.grids[name], self.config.grid.patch_size).flatten(1, 2)

    def antecedent(self, batch: Batch, masks: Mapping[str, TokenMask]) -> dict[str, Antecedent]:
        """Return what each modality's tokens know of the days before them; empty without a antecedent."""
        found: dict[str, Antecedent] = self.antecedent_state(batch, masks) if self.antecedent_state is not None else {}
        return found

    def encode(
        self,
        batch: Batch,
        masks: Mapping[str, TokenMask] | None = None,
        names: Iterable[str] | None = None,
        antecedent: Mapping[str, Antecedent] | None = None,
    ) -> dict[str, Features]:
        """Return per-layer features of the visible tokens of all modalities, or of those named.

        Without ``masks``, whatever the batch holds is visible.
        ``antecedent`` is what `antecedent` returned, if that was called before.
        """
        masks = show_all(batch, self.config) if masks is None else masks
        known = self.antecedent(batch, masks) if antecedent is None else antecedent
        return {
            name: self._encode(batch, name, masks[name], known.get(name)) for name in names or self.config.modalities
        }

    def _encode(self, batch: Batch, name: str, mask: TokenMask, known: Antecedent | None) -> Features:
        values = self.values(batch, name)
        encoder = self.encoders[name]
        if isinstance(encoder, SeriesEncoder):
            features: Features = encoder(values[..., 0], batch.static.flatten(0, 1), mask.visible, known)
        else:
            features = encoder(values.unflatten(1, (batch.days, -1)), mask.visible, known)
        return features

    def maps(self, name: str, features: Features) -> list[Tensor]:
        """Return what the decoder layers of a modality read, ``[R, L, D]`` each.

        One weighted feature map for each decoder layer; without weighted maps a single one, the last layer.
        """
        if name not in self.feature_maps:
            return [features.layers[-1]]
        maps: list[Tensor] = self.feature_maps[name](features.layers)
        return maps

    def forward(
        self, batch: Batch, masks: Mapping[str, TokenMask], names: Iterable[str] | None = None
    ) -> dict[str, Prediction]:
        """Predict every target token, of every modality or of those named, from what is visible."""
        masks = self._read_masks(masks, names or self.config.modalities, batch.windows)
        antecedent = self.antecedent(batch, masks)
        read = {other for name in names or self.config.modalities for other in self.config.read_by(name)}
        features = self.encode(batch, masks, [name for name in self.config.modalities if name in read], antecedent)
        maps = {name: self.maps(name, one) for name, one in features.items()}
        return {
            name: self._decode(batch, name, masks[name], maps, features, antecedent.get(name))
            for name in names or self.config.modalities
        }

    def _read_masks(self, masks: Mapping[str, TokenMask], names: Iterable[str], windows: int) -> dict[str, TokenMask]:
        """Return masks that show nothing of a modality in windows in which nothing that reads it is asked for.

        A simulation of river flow, say, spares its windows the encoding of a grid that no catchment reads.
        """
        asked = {name: masks[name].target.unflatten(0, (windows, -1)).flatten(1).any(1) for name in names}
        found = {}
        for name, mask in masks.items():
            needed = mask.visible.new_zeros(windows)
            for reader, one in asked.items():
                if name in self.config.read_by(reader):
                    needed = needed | one
            rows = needed.repeat_interleave(len(mask.visible) // windows)
            found[name] = replace(mask, visible=mask.visible & rows[:, None])
        return found

    def _decode(
        self,
        batch: Batch,
        name: str,
        mask: TokenMask,
        maps: Mapping[str, Sequence[Tensor]],
        features: Mapping[str, Features],
        known: Antecedent | None,
    ) -> Prediction:
        queries = select(mask.target)
        keys, read = self._read(name, maps, features, batch)
        predicted: Tensor = self.decoders[name](keys, read, queries, batch.days, known)
        target = gather(self.targets(batch, name), queries.index)
        scored = torch.isfinite(target) & queries.valid[..., None]
        error = torch.where(scored, predicted - torch.where(scored, target, 0), 0).float()
        if name in batch.basin_std:
            error = error / batch.basin_std[name].flatten()[:, None, None]
        return Prediction(predicted, queries, error.square().sum(), scored.sum())

    def _read(
        self, name: str, maps: Mapping[str, Sequence[Tensor]], features: Mapping[str, Features], batch: Batch
    ) -> tuple[Sequence[Tensor], Features]:
        """Return what the decoder of a modality reads: its own tokens, and those of others that it may see."""
        if self.cross_modal is None:
            return maps[name], features[name]
        joined: tuple[list[Tensor], Features] = self.cross_modal(name, maps, features, batch)
        return joined

    def states(
        self,
        name: str,
        batch: Batch,
        masks: Mapping[str, TokenMask],
        features: Mapping[str, Features],
        antecedent: Mapping[str, Antecedent],
    ) -> Tensor:
        """Return what the head of a modality's decoder reads at its target tokens, ``[R, Q, E]``.

        ``features`` are those of all modalities that the decoder reads, ``antecedent`` is what `antecedent` returned.
        """
        decoder = self.decoders[name]
        assert isinstance(decoder, Decoder)
        maps = {other: self.maps(other, one) for other, one in features.items()}
        keys, read = self._read(name, maps, features, batch)
        return decoder.states(keys, read, select(masks[name].target), batch.days, antecedent.get(name))

    def targets(self, batch: Batch, name: str) -> Tensor:
        """Return what predictions of a modality are compared with, ``[R, N, V]``."""
        return batch.targets[name].flatten(0, 1)[..., None] if name in batch.targets else self.values(batch, name)


def total_loss(predictions: Mapping[str, Prediction], config: MAEConfig, counts: Tensor | None = None) -> Tensor:
    """Return the weighted sum of the modalities' mean squared errors, a scalar.

    Parameters
    ----------
    predictions
        What the model returned.
    config
        Holds the weights.
    counts
        Observed target values of each modality, ``[modalities]``, where the batch is a part of a larger one (another
        process has the rest): the parts' losses then add up to the whole's. None: the batch is whole. A modality
        without a target has no part in the sum.
    """
    if counts is None:
        counts = torch.stack([one.count for one in predictions.values()])
    total = torch.zeros((), device=counts.device)
    for count, (name, one) in zip(counts, predictions.items(), strict=True):
        total = total + config.modalities[name].loss_weight * one.squared_error / count.clamp_min(1)
    return total.float()
