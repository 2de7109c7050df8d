"""watercli: a hydrology foundation model, from gridded weather and catchment series to river-flow embeddings.

``import watercli as wc`` offers what the commands do. The package is called after its command, ``watercli``; its
subpackages are nouns (``preparation``, ``evaluation``), so that the functions can be verbs (`prepare`, `evaluate`).
Nothing is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from watercli.api.comparison import Comparison, compare
    from watercli.api.evaluation import Evaluation
    from watercli.api.inspection import describe, inspect, verify
    from watercli.api.run import Pretrained, Run, load_model, models, open_run
    from watercli.api.store import load_config, open_store, prepare, preview_prepare
    from watercli.api.training import finetune, pretrain, preview_finetune, preview_pretrain
    from watercli.api.transfer import Transfer, transfer
    from watercli.config import Config
    from watercli.errors import ConfigError, DataError, RunError, WatercliError
    from watercli.store import Store

_MODULES = {
    "watercli.api.comparison": ("Comparison", "compare"),
    "watercli.api.evaluation": ("Evaluation",),
    "watercli.api.inspection": ("describe", "inspect", "verify"),
    "watercli.api.run": ("Pretrained", "Run", "load_model", "models", "open_run"),
    "watercli.api.store": ("load_config", "open_store", "prepare", "preview_prepare"),
    "watercli.api.training": ("finetune", "pretrain", "preview_finetune", "preview_pretrain"),
    "watercli.api.transfer": ("Transfer", "transfer"),
    "watercli.config": ("Config",),
    "watercli.errors": ("ConfigError", "DataError", "RunError", "WatercliError"),
    "watercli.store": ("Store",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Comparison",
    "Config",
    "ConfigError",
    "DataError",
    "Evaluation",
    "Pretrained",
    "Run",
    "RunError",
    "Store",
    "Transfer",
    "WatercliError",
    "__version__",
    "compare",
    "describe",
    "finetune",
    "inspect",
    "load_config",
    "load_model",
    "models",
    "open_run",
    "open_store",
    "prepare",
    "pretrain",
    "preview_finetune",
    "preview_prepare",
    "preview_pretrain",
    "transfer",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'watercli' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
