"""``import watercli as wc``: what it offers, that it costs nothing, and that submodules shadow nothing."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

import watercli as wc

FUNCTIONS = (
    "prepare",
    "preview_prepare",
    "open_store",
    "pretrain",
    "preview_pretrain",
    "finetune",
    "preview_finetune",
    "open_run",
    "load_model",
    "models",
    "compare",
    "inspect",
    "describe",
    "load_config",
)


def imported_after(statements: str) -> set[str]:
    """Return the top-level names and watercli's modules that a new interpreter has imported after statements."""
    code = f"import sys; before = set(sys.modules); {statements}; import json; "
    code += "print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_an_import_imports_nothing_else() -> None:
    modules = imported_after("import watercli as wc")
    assert {name for name in modules if name.startswith("watercli")} == {"watercli"}
    assert not modules & {"torch", "numpy", "pandas", "xarray", "pydantic", "rich", "typer"}


def test_data_need_no_torch() -> None:
    modules = imported_after("import watercli as wc; wc.prepare, wc.open_store, wc.load_config, wc.ConfigError")
    assert "torch" not in modules
    assert "xarray" in modules


def test_whatever_is_offered_is_there_and_documented() -> None:
    assert set(FUNCTIONS) < set(wc.__all__)
    for name in wc.__all__:
        value = getattr(wc, name)
        assert name in dir(wc)
        if callable(value):
            assert inspect.getdoc(value), name
            assert value.__module__.startswith("watercli."), name


@pytest.mark.parametrize("kind", ["Run", "Pretrained", "Evaluation", "Comparison"])
def test_every_method_is_documented(kind: str) -> None:
    for name, member in vars(getattr(wc, kind)).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert inspect.getdoc(member), f"{kind}.{name}"


def test_what_is_not_offered_is_named() -> None:
    with pytest.raises(AttributeError, match="'watercli' has no attribute 'perpare'"):
        _ = wc.perpare  # type: ignore[attr-defined]


def test_no_submodule_is_called_as_something_offered() -> None:
    """Importing ``watercli.prepare`` would put a module in the function's place."""
    submodules = {module.name for module in pkgutil.iter_modules(wc.__path__)}
    assert not submodules & set(wc.__all__)


@pytest.mark.slow
def test_functions_stay_when_submodules_are_imported_first() -> None:
    statements = "import watercli.preparation.prepare, watercli.evaluation.evaluate, watercli.inspection.show, "
    statements += "watercli.evaluation.comparison; import watercli as wc; "
    statements += f"assert all(callable(getattr(wc, name)) for name in {FUNCTIONS})"
    assert "watercli.api.store" in imported_after(statements)
