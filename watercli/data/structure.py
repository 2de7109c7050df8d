"""The model's structure, from a configuration and the size of the domain."""

from __future__ import annotations

from multimodal_mae.config import GridConfig, MAEConfig, ModalityConfig

from watercli.config import Config
from watercli.errors import ConfigError
from watercli.store import Store


def model_config(config: Config, grid: GridConfig | None, attributes: int) -> MAEConfig:
    """Return the model's structure for a configuration and the domain's size.

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
        )
        for name, modality in config.modalities.items()
    }
    try:
        return MAEConfig.of(config.model, modalities, grid, attributes)
    except ValueError as error:
        raise ConfigError(f"Setting model.{error}") from error


def store_model_config(config: Config, store: Store) -> MAEConfig:
    """Return the model's structure for a configuration and a store's grid and attributes."""
    grid = None
    if config.of_kind("grid") and store.grid_shape is not None:
        land = tuple(int(patch) for patch in store.land_patches)
        grid = GridConfig(store.grid_shape, store.patch_size, land)
    return model_config(config, grid, len(store.attribute_names))
