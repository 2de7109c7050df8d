"""The typed configuration: YAML in, YAML out, unknown keys refused with the nearest known key.

One file describes everything: the recipe that ``prepare`` follows, the modalities, the model, and how it is trained,
evaluated and exported. A store and a run each carry all of it. Each module holds the sections of one subject.
"""

from __future__ import annotations

from multimodal_mae.config import AntecedentStateConfig, LayersByKind, RecurrenceConfig, Structure

from watercli.config.abilities import abilities
from watercli.config.base import CheckName, LoggerName, QuantityName, Section
from watercli.config.config import Config
from watercli.config.data import (
    Attribute,
    AttributeTable,
    Boundaries,
    Catchments,
    Daily,
    Dataset,
    DemoDomain,
    ForecastProduct,
    GridSpec,
    Modality,
    Period,
    Quality,
    Recipe,
    Source,
    Splits,
    Table,
)
from watercli.config.evaluation import Evaluate
from watercli.config.inference import Embed, Simulate
from watercli.config.loading import (
    config_folder,
    difference,
    fields_of,
    find,
    is_section,
    load,
    parse,
    section_in,
    shipped,
    with_overrides,
)
from watercli.config.structure import Shape
from watercli.config.training import DeepSpeedSection, EvidenceHead, Finetune, HeldOutGauges, Tasks, Train

__all__ = [
    "AntecedentStateConfig",
    "Attribute",
    "AttributeTable",
    "Boundaries",
    "Catchments",
    "CheckName",
    "Config",
    "Daily",
    "Dataset",
    "DeepSpeedSection",
    "DemoDomain",
    "Embed",
    "Evaluate",
    "EvidenceHead",
    "Finetune",
    "ForecastProduct",
    "GridSpec",
    "HeldOutGauges",
    "LayersByKind",
    "LoggerName",
    "Modality",
    "Period",
    "Quality",
    "QuantityName",
    "Recipe",
    "RecurrenceConfig",
    "Section",
    "Shape",
    "Simulate",
    "Source",
    "Splits",
    "Structure",
    "Table",
    "Tasks",
    "Train",
    "abilities",
    "config_folder",
    "difference",
    "fields_of",
    "find",
    "is_section",
    "load",
    "parse",
    "section_in",
    "shipped",
    "with_overrides",
]
