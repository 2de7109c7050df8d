"""README and docs do what they say: their commands, Python, YAML and names are run, parsed or looked up."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.conftest import TINY, Once
from watercli import config
from watercli.cli.main import _run, app
from watercli.config.loading import section_in
from watercli.evaluation.study import Study, shipped_studies

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
IN_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
HISTORY = (DOCS / "reference" / "renames.md", DOCS / "changelog.md")
"""Pages that hold old names on purpose."""
FILES = {"model.json", "model.safetensors", "embed.py"}
"""Names of files that look like settings."""
TINY_DEMO = (
    *TINY,
    "model.recurrence={warmup_days: 30}",
    "model.antecedent_state={width: 16}",
    "model.causal=true",
    "model.grid_attention_scope=same_day",
    "grid_window_days=6",
    "evaluate.protocols=[reconstruction, simulation, ungauged]",
)
"""The demo, cut down; its model has a recurrence and an antecedent state of grids and is causal, as the pages say."""
TINY_GB12 = (
    "recipe.period={start: 2009-07-01, end: 2013-03-31}",
    "recipe.splits.train={start: 2009-07-01, end: 2011-12-31}",
    "recipe.splits.validation={start: 2012-01-01, end: 2012-12-31}",
    "recipe.splits.test={start: 2013-01-01, end: 2013-03-31}",
    "window_days=30",
    "grid_window_days=10",
    "train.steps=4",
    "train.validate_every=2",
    "train.validation_windows=4",
    "train.evidence={steps: 4, quantile_steps: 4}",
    "evaluate.reconstruction_windows=4",
    "evaluate.methods=[simulation, probe, ema_mlp, lstm, climatology, persistence]",
    "evaluate.ema_mlp_steps=10",
    "evaluate.lstm_steps=2",
)
"""gb12, cut down: real files, few days, few steps."""
TINY_US = (
    "recipe.catchments.gauges=['01013500', '01022500', '01030500', '01031500', '01047000', '01052500', '01054200', "
    "'01055000', '01057000', '01073000']",
    "train.steps=2",
    "train.validate_every=2",
    "train.validation_catchments=2",
    "train.evidence={steps: 4, quantile_steps: 4}",
)
"""camels-us, cut down: real files, few gauges, few steps."""
TINY_GB = (
    "recipe.catchments.gauges=['2002', '3003', '4001', '4003', '4006', '5003', '6008', '7001']",
    "evaluate.ema_mlp_steps=10",
    *TINY_US[1:],
)
"""gb-wide, cut down likewise."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if match[1] in languages:
            yield Block(page, text.count("\n", 0, match.start()) + 2, match[1], match[2])


def commands(page: Path) -> list[str]:
    return [command for block in blocks(page, "console") for command in block.commands]


def settings() -> dict[str, type]:
    """Return every section of the configuration by its class name."""
    sections = {name: section for name, section in vars(config).items() if config.is_section(section)}
    return {name: section for name, section in sections.items() if section is not config.Section}


def test_every_page_is_found() -> None:
    assert len(PAGES) > 10
    assert sum(len(commands(page)) for page in PAGES) > 20


@IN_PAGE
def test_commands_parse(page: Path) -> None:
    """Every command line is one that the program, the Makefile or the installation knows."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in commands(page):
        program, *arguments = shlex.split(command)
        if program == "make":
            assert arguments[0] in targets, command
        elif program == "watercli":
            parse(arguments)
        else:
            assert command == "pip install -c constraints.txt .", f"{page.name}: an unknown command: {command}"


def parse(arguments: list[str]) -> None:
    """Parse a command line with the real application, without running it; an unknown option raises."""
    group: Any = typer.main.get_command(app)
    parsed = group.commands[arguments[0]].make_context(arguments[0], arguments[1:], resilient_parsing=False).params
    name = parsed.get("config") or "demo"
    if Path(name).suffix != ".yaml":
        config.load(name, [override for override in parsed.get("settings") or () if "NAME" not in override])


TINY_OF = {"gb12": TINY_GB12, "camels-us": TINY_US, "gb-wide": TINY_GB}


def shrink(command: str) -> list[str]:
    """Return a command's arguments, made tiny: small domain and few steps; what the page itself sets wins."""
    _, name, *rest = shlex.split(command)
    rest = [
        re.sub(r"^(train\.(?:evidence\.\w*)?steps)=(\d+)$", lambda m: f"{m[1]}={max(int(m[2]) // 200, 1)}", word)
        for word in rest
    ]
    tiny: tuple[str, ...] = ()
    if name == "prepare":
        tiny = next((settings for config, settings in TINY_OF.items() if config in rest), TINY_DEMO)
    if name == "compare" and rest[0] in shipped_studies():
        tiny, rest[0] = ("evaluate.lstm_steps=2", "evaluate.ema_mlp_steps=10"), two_variants(rest[0])
    return [name, *(word for setting in tiny for word in ("--set", setting)), *rest]


def two_variants(study: str) -> str:
    """Write a shipped study with its first two variants alone into the working folder; return the file."""
    raw = yaml.safe_load(shipped_studies()[study].read_text(encoding="utf-8"))
    raw["variants"] = dict(list(raw["variants"].items())[:2])
    file = Path(f"{study}-two.yaml")
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return str(file)


def needs_data(command: str) -> bool:
    made_of_data = r"gb12|gb-wide|rivers-gb|wide-fold0|\bus\.zarr|camels-us"
    return bool(re.search(made_of_data, command)) or "DIR" in shlex.split(command)


def takes_long(command: str) -> bool:
    return (
        command.startswith(("watercli evaluate", "watercli compare"))
        or "--processes" in command
        or "--evaluation" in command
    )


def run(command: str) -> None:
    assert _run(shrink(command), debug=True) == 0, command


@pytest.fixture(scope="session")
def made(once: Once) -> Path:
    """Return a folder in which the README's four commands were run on a tiny demo domain."""
    return once("made", make)


def make(folder: Path) -> None:
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in four():
            run(command)


def four() -> list[str]:
    """Return the README's first commands on the demo domain, those of the main job."""
    own = [command for command in commands(README) if command.startswith("watercli") and not needs_data(command)]
    return own[:4]


def test_readme_makes_what_it_says(made: Path) -> None:
    assert [command.split()[1] for command in four()] == ["prepare", "pretrain", "evaluate", "embed"]
    promised = re.findall(r"`demo/([\w./-]+)`", README.read_text(encoding="utf-8"))
    assert len(promised) >= 4
    for path in promised:
        assert (made / path).exists(), path
    assert not [path.name for path in made.iterdir() if path.name.startswith(".")], "something half-made was left"


def short(page: Path) -> list[str]:
    """Return what a page runs in a few seconds: its Python and the commands that take no time."""
    return [block.text for block in blocks(page, "python")] + [
        command for command in own(page) if not takes_long(command)
    ]


def own(page: Path) -> list[str]:
    """Return the commands that a page runs here, beside the README's four."""
    return [command for command in commands(page) if runs_here(command) and command not in four()]


def runs_here(command: str) -> bool:
    return command.startswith("watercli") and not needs_data(command) and "--gpus" not in command


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.stem in ("model", "simulation") else ())
        for page in PAGES
        if short(page) and page.stem != "downstream"  # which runs in its full size
    ],
    ids=lambda page: page.stem,
)
def test_page_runs(page: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and Python of a page run one after the other, in a folder where the README's four have run."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "made"))
    run_page(page, [command for command in own(page) if not takes_long(command)])


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(map(takes_long, own(page)))], ids=lambda p: p.stem)
def test_page_runs_whole(page: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with the commands that take long: reports, and several processes."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "made"))
    run_page(page, own(page))


def run_page(page: Path, chosen: Collection[str] = ()) -> None:
    """Run the Python of a page and those of its commands that are chosen, in the page's order."""
    names: dict[str, Any] = {}
    for block in blocks(page, "console", "python"):
        if block.language == "python":
            # Blank lines in front, so that a traceback shows the line of the page.
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)  # noqa: S102
        for command in block.commands:
            if command in chosen:
                run(command)


@pytest.mark.slow
def test_downstream_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page on downstream use prints on the demo domain, in its full size, what it says that it prints."""
    page = DOCS / "guide" / "downstream.md"
    monkeypatch.chdir(tmp_path)
    for command in ("watercli prepare", *commands(page)):
        assert _run(shlex.split(command)[1:], debug=True) == 0
    capsys.readouterr()
    run_page(page)
    rows = re.compile(r"^( *[a-z][a-z ]*[a-z]) +(\d\.\d\d)\b", re.MULTILINE)
    (said,) = (block.text for block in blocks(page, "text"))
    wanted, found = (rows.findall(text) for text in (said, capsys.readouterr().out))
    assert len(wanted) == 11
    for (name, value), (own, other) in zip(wanted, found, strict=True):
        assert name == own
        assert abs(float(value) - float(other)) < 0.05, (name, value, other)


@pytest.mark.slow
def test_observed_data_as_the_docs_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(os.environ.get("WATERCLI_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "camels_gb").is_dir():
        pytest.skip(f"no real data at {data}; set WATERCLI_DATA")
    monkeypatch.chdir(tmp_path)
    wanted = [command for page in PAGES for command in commands(page) if needs_data(command)]
    for command in dict.fromkeys(wanted):
        if command.startswith("watercli"):
            run(re.sub(r"\bDIR\b", shlex.quote(str(data)), command))
    assert (tmp_path / "gb12-emb.zarr").is_dir()


@IN_PAGE
def test_yaml_is_configuration(page: Path) -> None:
    """A whole configuration is parsed; a part is parsed within the demo's; so are the variants of a study."""
    for block in blocks(page, "yaml"):
        raw = yaml.safe_load(block.text)
        if "variants" in raw:
            Study.model_validate(raw).configs(config.load("demo"))
            continue
        whole = raw if "modalities" in raw and "name" in raw else merged(demo(), raw)
        config.parse(yaml.safe_dump(whole), origin=str(block))


def demo() -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load(config.find("demo").read_text(encoding="utf-8"))
    return raw


def merged(base: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    both = base | part
    nested = {key for key in base.keys() & part.keys() if isinstance(base[key], dict) and isinstance(part[key], dict)}
    return both | {key: merged(base[key], part[key]) for key in nested}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY], ids=lambda page: page.stem)
def test_no_stale_names(page: Path) -> None:
    """Settings and paths of the repository that stand in the text exist."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"(recipe|modalities|model|train|evaluate|embed)(\.\w+)+(=.*)?", code) and code not in FILES:
            assert is_setting(code.partition("=")[0]), f"{page.name}: no setting {code}"
        if re.fullmatch(r"(watercli|model|configs|tests|docs)/[\w./-]*", code):
            assert (ROOT / code).exists(), f"{page.name}: no {code}"


def is_setting(dotted: str) -> bool:
    section: Any = config.Config
    for part in dotted.split("."):
        fields = config.fields_of(section)
        if part not in fields:
            return False
        annotation: Any = fields[part].annotation
        inner = section_in(annotation)
        if str(annotation).startswith("dict["):
            return True  # what follows is a name of the user's choice
        section = inner
    return True


def test_setting_check_knows_wrong_from_right() -> None:
    assert is_setting("train.deepspeed.zero_stage")
    assert is_setting("modalities.NAME.mask_ratio")
    assert not is_setting("train.zero_stage")
    assert not is_setting("train.steps.more")


def test_every_setting_has_its_table() -> None:
    """The hook that writes the tables of settings covers every section, and every field of each."""
    spec = importlib.util.spec_from_file_location("settings", DOCS / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    source = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert set(settings()) == {match[1] for match in hook.PLACE.finditer(source)}
    page = hook.on_page_markdown(source)
    for name, section in settings().items():
        for field in config.fields_of(section):
            assert re.search(rf"^\| `([\w.]+\.)?{field}` \|", page, re.MULTILINE), f"{name}.{field}"
    default = "`16` (series alone), `4` (with grids), `4` (with grids, series by transformers), fitted to the store"
    meaning = "Windows in a step, over all processes."
    assert f"| `train.batch_size` | whole number, above 0 | {default} | {meaning} |" in page


@IN_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.is_file(), f"{page.name}: no {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings}
            assert anchor in slugs, f"{page.name}: no heading for {target}"


def test_code_names_pages_that_exist() -> None:
    for file in (file for folder in ("watercli", "model", "tests", "configs") for file in (ROOT / folder).rglob("*.*")):
        if file.suffix in (".py", ".yaml", ".j2"):
            for page in re.findall(r"\bdocs/[\w/-]+\.(?:md|py)\b", file.read_text(encoding="utf-8")):
                assert (ROOT / page).is_file(), f"{file.relative_to(ROOT)} names {page}"


@IN_PAGE
def test_python_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block.text, filename=str(block))


def test_shipped_configurations_are_named() -> None:
    text = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    for name in config.shipped():
        assert f"`{name}`" in text or name.startswith("ablation/"), name
