"""The model's structure, from a configuration and the size of the domain."""

from __future__ import annotations

from multimodal_mae.config import GridConfig, MAEConfig, ModalityConfig

from watercli.config import Config
from watercli.errors import ConfigError
from watercli.store import Store


def model_config(
    config: Config, grid: GridConfig | None, attributes: int, *, attribute_gaps: bool = False
) -> MAEConfig:
    """Return the model's structure for a configuration and the domain's size.

    ``attribute_gaps``: some catchments of the training lack an attribute. Then, and where training drops attributes,
    the model reads of each whether it is known.

    Raises
    ------
    ConfigError
        If the structure is impossible.
    """
    modalities = {
        name: ModalityConfig(
            modality.kind,
            modality.mask_ratio,
            modality.loss_weight,
            non_negative=modality.is_non_negative,
            feeds_catchments=modality.feeds_catchments,
            dropout=modality.dropout,
        )
        for name, modality in config.modalities.items()
    }
    flags = attribute_gaps or config.train.attribute_dropout > 0
    try:
        return MAEConfig.of(config.model, modalities, grid, attributes, flags)
    except ValueError as error:
        raise ConfigError(f"Setting model.{error}") from error


def store_model_config(config: Config, store: Store) -> MAEConfig:
    """Return the model's structure for a configuration and a store's grid and attributes."""
    grid = None
    if config.of_kind("grid") and store.grid_shape is not None:
        land = tuple(int(patch) for patch in store.land_patches)
        grid = GridConfig(store.grid_shape, store.patch_size, land)
    return model_config(config, grid, len(store.attribute_names), attribute_gaps=store.has_attribute_gaps)
