"""MultiModalMAE: an encoder and a decoder for each modality; masked tokens are predicted from visible ones.

Shapes: R rows (B windows for grids, B * C for series), N tokens of a row, Q queries, V values of a token,
D encoder width, E decoder width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from multimodal_mae.antecedent_state import Antecedent, AntecedentState
from multimodal_mae.attributes import read_attributes
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.cross_modal import CrossModalKeys
from multimodal_mae.decoder import CrossDecoder, Decoder, StandardDecoder
from multimodal_mae.encoder import Features, GridEncoder, SeriesEncoder
from multimodal_mae.feature_maps import WeightedFeatureMaps
from multimodal_mae.layers import among_patches, gather, initialise
from multimodal_mae.masking import Selection, TokenMask, select, show_all
from multimodal_mae.moving_averages import MovingAverages
from multimodal_mae.recurrence import Block, RecurrentEncoder, StateDecoder, features_of


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


@dataclass(frozen=True)
class ModelOutput:
    """What a pass through the model returns, by modality."""

    predictions: dict[str, Prediction]
    """Of the modalities that were predicted."""
    features: dict[str, Features]
    """Of the visible tokens of every modality that was read, or whose features were to be returned."""
    decoder_states: dict[str, Tensor]
    """What the head of a decoder reads at its target tokens, ``[R, Q, E]``, of the modalities that were predicted."""


class MultiModalMAE(nn.Module):
    """A masked autoencoder over any number of grid and series modalities."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict()
        self.feature_maps = nn.ModuleDict()
        self.decoders = nn.ModuleDict()
        self.recurrence = RecurrentEncoder(config) if config.recurrence and config.of_kind("series") else None
        for name, modality in config.modalities.items():
            if config.use_weighted_fm:
                layers = len(config.map_layers(modality.kind)) + config.use_input
                self.feature_maps[name] = WeightedFeatureMaps(layers, config.decoder_layers, config.width)
            if self.recurrence is not None and modality.kind == "series":
                self.decoders[name] = StateDecoder(config, modality.non_negative)
                continue
            patches, values = 1, 1
            if modality.kind == "grid":
                assert config.grid is not None
                patches, values = config.grid.patches, config.grid.values
                self.encoders[name] = GridEncoder(config, config.grid)
            else:
                self.encoders[name] = SeriesEncoder(config)
            decoder = CrossDecoder if config.use_cross_attn else StandardDecoder
            self.decoders[name] = decoder(config, patches, values, modality.non_negative)
        self.cross_modal = None if config.cross_modal_attention == "none" else CrossModalKeys(config)
        self.antecedent_state: AntecedentState | None = MovingAverages(config) if config.antecedent_state else None
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise every parameter; as `multimodal_mae.layers.initialise` says; mask tokens are N(0, 0.02)."""
        self.apply(initialise)
        for module in self.modules():
            if isinstance(module, Decoder):
                nn.init.normal_(module.mask_token, std=0.02)
            elif isinstance(module, Block):
                module.spread_time_constants()
        for module in self.modules():
            if isinstance(module, WeightedFeatureMaps):
                module.reset()

    def values(self, batch: Batch, name: str) -> Tensor:
        """Return a modality's token values ``[R, N, V]``: N = T * P, V = cells of a patch; or N = T, V = 1."""
        if self.config.modalities[name].kind == "series":
            return batch.series[name].flatten(0, 1)[..., None]
        assert self.config.grid is not None
        return among_patches(batch.grids[name], self.config.grid.land_patches, self.config.grid.patches).flatten(1, 2)

    def targets(self, batch: Batch, name: str) -> Tensor:
        """Return what predictions of a modality are compared with, ``[R, N, V]``."""
        return batch.targets[name].flatten(0, 1)[..., None] if name in batch.targets else self.values(batch, name)

    def encode(
        self, batch: Batch, masks: Mapping[str, TokenMask] | None = None, names: Iterable[str] | None = None
    ) -> dict[str, Features]:
        """Return the features of the visible tokens of all modalities, or of those named.

        Without ``masks``, whatever the batch holds is visible.
        """
        masks = show_all(batch, self.config) if masks is None else masks
        output: ModelOutput = self(batch, masks, names=(), features=self.config.modalities if names is None else names)
        return output.features

    def forward(
        self,
        batch: Batch,
        masks: Mapping[str, TokenMask],
        names: Iterable[str] | None = None,
        features: Iterable[str] = (),
    ) -> ModelOutput:
        """Predict target tokens from visible ones.

        Parameters
        ----------
        batch, masks
            The windows, and which tokens of each modality are visible and predicted.
        names
            Modalities that are predicted; None: all.
        features
            Modalities whose features are returned beside those that the predictions are made from.
        """
        predicted = list(self.config.modalities if names is None else names)
        encoded_masks = self._without_unread(masks, predicted, features := list(features), batch.windows)
        antecedent: Mapping[str, Antecedent] = {}
        if self.antecedent_state is not None:
            antecedent = self.antecedent_state(batch, encoded_masks)
        read = {*features, *(other for name in predicted for other in self.config.attended_by(name))}
        encoded = self._encode_series(batch, masks, [name for name in read if name in batch.series], features)
        encoded |= {
            name: self._encode(batch, name, encoded_masks[name], antecedent.get(name))
            for name in self.config.modalities
            if name in read and name not in encoded
        }
        predictions, states = {}, {}
        for name in predicted:
            predictions[name], states[name] = self._decode(batch, name, masks[name], encoded, antecedent.get(name))
        return ModelOutput(predictions, encoded, states)

    def forecast(
        self, batch: Batch, masks: Mapping[str, TokenMask], name: str, issued: Tensor, ahead: Mapping[str, Tensor]
    ) -> Tensor:
        """Predict a series on the days after each of some days, from the recurrence's state of that day.

        One pass over the window serves all days of issue.

        Parameters
        ----------
        batch, masks
            The windows, and what is visible of them: on a day of issue, what is visible up to it.
        name
            The series.
        issued
            ``[F]``: days of the window.
        ahead
            ``[B, C, F, L]`` of every modality that the recurrence reads: what is known of the L days after each day of
            issue, NaN where nothing is.

        Returns
        -------
        Tensor
            ``[B, C, F, L]``, in the space of the targets.

        Raises
        ------
        ValueError
            If the model has no recurrence of series.
        """
        decoder = self.decoders[name]
        if self.recurrence is None or not isinstance(decoder, StateDecoder):
            raise ValueError("forecast: goes on from the state of a recurrence; this model has none")
        layers = self.recurrence.forecast(batch, masks, issued, ahead)
        day = torch.arange(layers[0].shape[1], device=layers[0].device).expand(layers[0].shape[:2])
        predicted, _ = decoder(
            layers, Selection(day, torch.ones_like(day, dtype=torch.bool)), partial(self._maps, name)
        )
        forecast: Tensor = predicted.view(batch.windows, -1, *ahead[name].shape[2:])
        return forecast

    def _without_unread(
        self, masks: Mapping[str, TokenMask], predicted: Sequence[str], features: Sequence[str], windows: int
    ) -> dict[str, TokenMask]:
        """Return masks that show nothing of a modality in windows in which no decoder that reads it has a target.

        A simulation of river flow, say, spares its windows the encoding of a grid that no catchment reads. Those in
        ``features`` are needed in every window.
        """
        needed = {name: masks[name].target.unflatten(0, (windows, -1)).flatten(1).any(1) for name in predicted}
        needed |= {name: torch.ones(windows, dtype=torch.bool, device=masks[name].visible.device) for name in features}
        shown = {}
        for name, mask in masks.items():
            read = mask.visible.new_zeros(windows)
            for reader, in_window in needed.items():
                if name in self.config.attended_by(reader):
                    read = read | in_window
            rows = read.repeat_interleave(len(mask.visible) // windows)
            shown[name] = replace(mask, visible=mask.visible & rows[:, None])
        return shown

    def _encode_series(
        self, batch: Batch, masks: Mapping[str, TokenMask], names: Sequence[str], mapped: Sequence[str]
    ) -> dict[str, Features]:
        """Return the features of series that a recurrence encodes together; their maps for those in ``mapped`` only."""
        if self.recurrence is None or not names:
            return {}
        layers = self.recurrence(batch, masks)
        return {
            name: features_of(layers, masks[name], self._maps(name, layers) if name in mapped else ()) for name in names
        }

    def _encode(self, batch: Batch, name: str, mask: TokenMask, antecedent: Antecedent | None) -> Features:
        values = self.values(batch, name)
        encoder = self.encoders[name]
        if isinstance(encoder, SeriesEncoder):
            features: Features = encoder(values[..., 0], read_attributes(batch, self.config), mask.visible, antecedent)
        else:
            features = encoder(values.unflatten(1, (batch.grid_days, -1)), mask.visible, antecedent)
        return replace(features, maps=self._maps(name, features.layers))

    def _maps(self, name: str, layers: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return what the decoder layers of a modality read: weighted maps of encoder layers, or the last layer."""
        return tuple(self.feature_maps[name](layers)) if name in self.feature_maps else tuple(layers[-1:])

    def _decode(
        self,
        batch: Batch,
        name: str,
        mask: TokenMask,
        features: Mapping[str, Features],
        antecedent: Antecedent | None,
    ) -> tuple[Prediction, Tensor]:
        """Return the prediction of a modality, and what the head of its decoder reads ``[R, Q, E]``."""
        queries = select(mask.target)
        decoder = self.decoders[name]
        if isinstance(decoder, StateDecoder):
            predicted, states = decoder(features[name].layers, queries, partial(self._maps, name))
        else:
            read = features[name] if self.cross_modal is None else self.cross_modal(name, features, batch)
            days = batch.days_of(self.config.modalities[name].kind)
            predicted, states = decoder(read, queries, days, antecedent)
        target = gather(self.targets(batch, name), queries.index)
        scored = torch.isfinite(target) & queries.valid[..., None]
        error = torch.where(scored, predicted - torch.where(scored, target, 0), 0).float()
        if name in batch.basin_std:
            error = error / batch.basin_std[name].flatten()[:, None, None]
        return Prediction(predicted, queries, error.square().sum(), scored.sum()), states


def total_loss(predictions: Mapping[str, Prediction], config: MAEConfig, counts: Tensor | None = None) -> Tensor:
    """Return the weighted sum of the modalities' mean squared errors, a scalar.

    Parameters
    ----------
    predictions
        Of all modalities, as the model returned them.
    config
        Holds the weights.
    counts
        Observed target values of each modality, ``[modalities]``, where the batch is a part of a larger one (another
        process has the rest): the parts' losses then add up to the whole's. None: the batch is whole. A modality
        without a target has no part in the sum.
    """
    if counts is None:
        counts = torch.stack([prediction.count for prediction in predictions.values()])
    total = torch.zeros((), device=counts.device)
    for count, (name, prediction) in zip(counts, predictions.items(), strict=True):
        total = total + config.modalities[name].loss_weight * prediction.squared_error / count.clamp_min(1)
    return total.float()
