"""Names and records agree, and a plug-in that cannot be used is refused with a sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from watercli import plugins
from watercli.baselines.method import Method
from watercli.baselines.registry import METHODS
from watercli.config import Evaluate
from watercli.errors import ConfigError
from watercli.evaluation.registry import PROTOCOLS
from watercli.plugins import ON_REQUEST, Group, Registry
from watercli.preparation.readers.registry import READERS


@pytest.mark.parametrize("registry", [READERS, METHODS, PROTOCOLS], ids=lambda registry: registry.group.kind)
def test_every_built_in_name_has_its_record(registry: Registry[object]) -> None:
    for name in registry.group.built_in:
        assert getattr(registry[name], "name", name) == name


def test_methods_on_request_are_left_out_by_default() -> None:
    built_in = [METHODS[name] for name in METHODS.group.built_in]
    assert {method.name for method in built_in if method.on_request} == set(ON_REQUEST)
    assert Evaluate().methods == tuple(method.name for method in built_in if not method.on_request)


def test_every_method_has_a_colour_of_its_own() -> None:
    colours = [METHODS[name].colour for name in METHODS.group.built_in]
    assert len(set(colours)) == len(colours)
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in colours)


def test_names_cost_no_import() -> None:
    script = (
        "import sys\n"
        "from watercli.config import load\n"
        "load('demo', ['evaluate.methods=[simulation, gr4j]'])\n"
        "print([name for name in ('torch', 'sklearn', 'watercli.baselines') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("watercli.baselines.nowhere:METHOD", r"'broken' \(watercli\.baselines\.nowhere:METHOD\) cannot be imported"),
        ("watercli.baselines.gr4j:NOTHING", "cannot be imported"),
        ("watercli.baselines.gr4j:BOUNDS", r"is no watercli\.baselines\.method\.Method"),
        ("watercli.baselines.gr4j:GR4J", "calls itself 'gr4j'"),
    ],
)
def test_what_cannot_be_used_is_refused(place: str, sentence: str) -> None:
    registry = Registry(Group("method", "tests.methods", {"broken": place}), Method)
    with pytest.raises(ConfigError, match=sentence):
        registry["broken"]


def test_a_built_in_name_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    thief = EntryPoint("gr4j", "elsewhere:GR4J", plugins.METHODS.name)
    added = EntryPoint("mine", "elsewhere:MINE", plugins.METHODS.name)
    installed = plugins.EntryPoints([thief, added])
    monkeypatch.setattr(plugins, "_installed", lambda: installed)
    group = Group("method", plugins.METHODS.name, plugins.METHODS.built_in)
    assert group.entry_points["gr4j"].value == plugins.METHODS.built_in["gr4j"]
    assert list(group.entry_points)[-1] == "mine"


def test_a_notebook_adds_a_record_for_its_process() -> None:
    group = Group("method", "tests.methods", {})
    registry = Registry(group, Method)
    registry.add("mine", METHODS["gr4j"])
    assert registry["mine"] is METHODS["gr4j"]
    assert group.check("mine") == "mine"
    with pytest.raises(ConfigError, match=r"There is no method 'mne'; did you mean 'mine'\?"):
        registry["mne"]


@pytest.mark.parametrize("registry", [READERS, METHODS, PROTOCOLS], ids=lambda registry: registry.group.kind)
def test_the_docs_name_every_built_in(registry: Registry[object]) -> None:
    pages = [page.read_text(encoding="utf-8") for page in (Path(__file__).parents[2] / "docs").rglob("*.md")]
    for name in registry.group.built_in:
        assert any(re.search(rf"^\| `{name}`", page, re.MULTILINE) for page in pages), name
