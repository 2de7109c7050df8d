"""The configuration: all sections together."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

import yaml
from multimodal_mae.config import Structure
from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, field_validator, model_validator

from watercli.config import defaults
from watercli.config.base import Section
from watercli.config.data import Modality, Recipe
from watercli.config.evaluation import Evaluate
from watercli.config.inference import Embed, Simulate
from watercli.config.structure import Shape
from watercli.config.training import Finetune, Train
from watercli.errors import nearest

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""What a modality may be called: it becomes a variable of a store, a part of settings and of file names."""
RESERVED = frozenset((
    "time", "y", "x", "catchment", "attribute", "patch", "grid", "variable", "transform", "statistic", "method",
    "metric", "input", "window", "static", "statistics", "static_statistics", "land_fraction", "coverage",
    "patch_weight", "crs", "gauge_name", "latitude", "longitude", "area", "gauge_y", "gauge_x",
    "attribute_units", "attribute_transform", "patch_y", "patch_x", "patch_land", "split", "flags",
    "gauge_role", "window_start", "window_end", "antecedent_start", "input_available", "embedding",
    "layer_embedding", "patch_embedding", "layer_weight", "visible_days", "decoder_state", "modality",
    "feature_map", "pooling", "channel", "layer", "novelty",
))  # fmt: skip
"""Names of dimensions and variables of stores and exports."""


class Config(Section):
    """The configuration: all sections together."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Names the run directory."""
    description: str = ""
    """What it is for, in words."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of all random numbers."""
    recipe: Recipe | None = None
    """What ``prepare`` builds; null for a configuration that is only inspected or trained on another's store."""
    shape: Shape | None = None
    """The domain's size, for a configuration without a store."""
    modalities: dict[str, Modality] = Field(min_length=1)
    """The modalities, by name."""
    target: str | None = None
    """The series of river flow, which tasks predict, evaluations score and embeddings exclude. Left out: the series
    ``riverflow``, or the only one whose names and units are those of river flow."""
    window_days: Annotated[int, Field(gt=1)] = 30
    """Days in a window."""
    grid_window_days: Annotated[int, Field(gt=0)] | None = None
    """Last days of a window on which grids are read; null: all of them. Series are cheap, and the recurrence that
    encodes them learns most from a window of a year; a window of grids costs by its patches. Needs
    ``model.recurrence``."""
    model: Structure = Structure()
    train: Train = Train()
    finetune: Finetune = Finetune()
    evaluate: Evaluate = Evaluate()
    embed: Embed = Embed()
    simulate: Simulate = Simulate()
    _sizes_left_out: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _fill(cls, given: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        """Give settings that are left out the defaults of the modalities, and remember which sizes were left out."""
        if not isinstance(given, dict):
            return build(given)
        config = build(defaults.filled(given))
        config._sizes_left_out = defaults.sizes_left_out(given)
        return config

    @field_validator("modalities")
    @classmethod
    def _are_names(cls, modalities: dict[str, Modality]) -> dict[str, Modality]:
        for name in modalities:
            if not NAME.fullmatch(name):
                raise ValueError(f"'{name:.40}' is no name; use letters, digits, _ and -, 64 at most, a letter first")
            if name in RESERVED or name.startswith("group_"):
                raise ValueError(f"'{name}' is the name of another variable of stores or exports; choose another")
        return modalities

    @model_validator(mode="after")
    def _targets_exist(self) -> Self:
        if self.target is not None and self.target not in self.of_kind("series"):
            raise ValueError(f"target names '{self.target}', which is no series{nearest(self.target, self.modalities)}")
        tasks = self.train.tasks
        for name in tasks.targets if tasks.targeted else ():
            if name not in self.modalities:
                raise ValueError(
                    f"train.tasks.targets names '{name}', which is no modality{nearest(name, self.modalities)}"
                )
        held_out = self.train.held_out_gauges
        if held_out and held_out.target not in self.of_kind("series"):
            raise ValueError(f"train.held_out_gauges.target names '{held_out.target}', which is no series")
        return self

    @model_validator(mode="after")
    def _grids_fit_windows(self) -> Self:
        if self.grid_window_days is None or self.grid_window_days == self.window_days:
            return self
        if self.grid_window_days > self.window_days:
            raise ValueError(
                f"grid_window_days ({self.grid_window_days}) exceeds window_days ({self.window_days}); lower it"
            )
        if self.model.recurrence is None:
            raise ValueError("grid_window_days: needs model.recurrence; set it to null, or model.recurrence to {}")
        return self

    @property
    def grid_days(self) -> int:
        """Days of a window on which grids are read."""
        return self.grid_window_days or self.window_days

    def of_kind(self, kind: Literal["grid", "series"]) -> dict[str, Modality]:
        """Return the modalities of one kind, in their order."""
        return {name: modality for name, modality in self.modalities.items() if modality.kind == kind}

    @property
    def sizes_left_out(self) -> frozenset[str]:
        """Dotted settings of `watercli.config.defaults.SIZES` that were left out, and so follow from a store."""
        return self._sizes_left_out

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values that can be validated again; sizes left out stay left out."""
        dumped = self.model_dump(mode="json")
        for setting in self.sizes_left_out:
            section, _, name = setting.partition(".")
            del dumped[section][name]
        return dumped

    def to_yaml(self) -> str:
        """Return the configuration as YAML that `parse` reads back to an equal one; sizes left out stay left out."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
