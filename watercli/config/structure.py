"""The structure of the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from watercli.config.base import Positive, Section


class Shape(Section):
    """The domain's size where there is no store to read it from (``inspect`` of a configuration)."""

    grid: tuple[Positive, Positive]
    """Cells along y and x."""
    patch_size: tuple[Positive, Positive] = (10, 10)
    """Cells of a patch along y and x."""
    land_patches: Positive
    """Number of patches that are land."""
    attributes: Positive
    """Number of static attributes."""


class LayersByKind(Section):
    """Encoder layers that feed the weighted feature maps, for each kind."""

    grid: tuple[int, ...] | None = None
    series: tuple[int, ...] | None = None


class AntecedentState(Section):
    """What a token is told of the days before it, beyond the window; see ``docs/model.md``."""

    time_constants: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = tuple(
        float(2**k) for k in range(10)
    )
    """Days after which a value has faded to 1/e, one for each moving average."""
    recent_days: Positive = 7
    """Latest days that are kept one by one, the day itself included."""
    width: Positive = 256
    """Width of the network that reads the states."""


class ModelSection(Section):
    """Structure of the MultiModalMAE; see ``docs/model.md``."""

    width: Positive = 256
    """Width of the encoders."""
    decoder_width: Positive = 128
    """Width of the decoders."""
    heads: Positive = 8
    """Attention heads, in encoders and decoders."""
    mlp_ratio: Annotated[float, Field(ge=0.5)] = 4.0
    """Hidden width of an MLP over its width."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """On MLPs and projections; none inside attention, which would force its slow path."""
    grid_layers: Positive = 6
    """Layers of a grid encoder."""
    grid_attention_scope: Literal["window", "same_day"] = "window"
    """Which patches attend to each other: those of all days of the window, or those of a day; then the encoder's cost
    grows linearly with the window, and what came before reaches a day through the antecedent state."""
    grid_cross_attention_scope: Literal["window", "same_day"] = "window"
    """Which visible patches a masked one is predicted from: those of all days of the window, or those of its day; then
    the decoder's cost grows linearly too."""
    series_layers: Positive = 4
    """Layers of a series encoder."""
    decoder_layers: Positive = 4
    """Layers of a decoder, and so weighted feature maps."""
    use_cross_attn: bool = True
    """True: CrossMAE decoder; False: standard MAE decoder (self-attention over visible and masked tokens)."""
    use_weighted_fm: bool = True
    """Each decoder layer reads its own learned mixture of encoder layers; False: all read the last one."""
    use_fm_layers: tuple[int, ...] | LayersByKind | None = None
    """Layers that feed the maps: null for all; a list is for the grid encoders (series encoders keep all of theirs);
    ``{grid: [...], series: [...]}`` for both."""
    use_input: bool = False
    """The embedded input is one more layer that feeds the maps, the first."""
    decoder_self_attn: bool = False
    """CrossMAE decoder only: masked tokens also attend to each other."""
    cross_modal_attention: Literal["none", "decoder", "joint"] = "none"
    """none: each modality is predicted from itself. decoder: a decoder also attends to the others' tokens, a catchment
    to those of the patches that it overlaps. joint: transformer layers mix these tokens first."""
    joint_layers: Positive = 2
    """Transformer layers of ``cross_modal_attention: joint``."""
    antecedent_state: AntecedentState | None = None
    """Moving averages of what came before a day, at many time scales; null for none. ``{}`` takes the defaults."""
    causal: bool = False
    """True: features and predictions of a day see no later day, as simulation and forecast must."""
    kept_mask_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of all tokens that is decoded and scored, drawn from the masked ones; null for every masked one."""
