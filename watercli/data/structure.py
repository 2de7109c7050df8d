"""The model's structure, from a configuration and the size of the domain."""

from __future__ import annotations

from multimodal_mae.config import AntecedentStateConfig, GridConfig, MAEConfig, ModalityConfig

from watercli.config import Config, LayersByKind
from watercli.errors import ConfigError
from watercli.store import Store


def model_config(config: Config, grid: GridConfig | None, attributes: int) -> MAEConfig:
    """Return the model's structure for a configuration and the domain's size.

    Raises
    ------
    ConfigError
        If the structure is not possible.
    """
    section = config.model
    layers = section.use_fm_layers
    if isinstance(layers, tuple):
        # A plain list is meant for the (deeper) grid encoders, as in the method's own experiments.
        layers = LayersByKind(grid=layers)
    try:
        return MAEConfig(
            modalities={
                name: ModalityConfig(
                    one.kind,
                    one.mask_ratio,
                    one.loss_weight,
                    non_negative=one.is_non_negative,
                    feeds_catchments=one.feeds_catchments,
                )
                for name, one in config.modalities.items()
            },
            grid=grid,
            attributes=attributes,
            fm_layers=None if layers is None else {"grid": layers.grid, "series": layers.series},
            antecedent_state=AntecedentStateConfig(**section.antecedent_state.model_dump())
            if section.antecedent_state
            else None,
            **section.model_dump(exclude={"use_fm_layers", "antecedent_state"}),
        )
    except ValueError as error:
        raise ConfigError(f"Setting model.{error}") from error


def store_model_config(config: Config, store: Store) -> MAEConfig:
    """Return the model's structure for a configuration and a store's grid and attributes."""
    grid = None
    if config.of_kind("grid") and store.grid_shape is not None:
        land = tuple(int(patch) for patch in store.land_patches)
        grid = GridConfig(store.grid_shape, store.patch_size, land)
    return model_config(config, grid, len(store.attribute_names))
