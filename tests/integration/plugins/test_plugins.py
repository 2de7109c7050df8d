"""A small package of plug-ins is built and installed: its names work wherever a built-in name does."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from tests import factory
from watercli.cli.main import _run
from watercli.store import Store

EXAMPLE = Path(__file__).parent / "example"
DOCS = Path(__file__).parents[3] / "docs" / "guide" / "plugins.md"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the package, as pip installs it from its wheel."""
    folder = tmp_path_factory.mktemp("plugins")
    source = shutil.copytree(EXAMPLE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", folder / "site", wheel], check=True)
    return folder / "site"


def command(*arguments: str | Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, with the packages of ``site`` beside those of this one."""
    paths = [str(site)] * (site is not None) + [path for path in sys.path if path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
    words = [sys.executable, "-m", "watercli", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def test_help_names_them(installed: Path) -> None:
    evaluate = " ".join(command("evaluate", "--help", site=installed).stdout.split())
    assert re.search(r"Protocols: reconstruction, .*gaps, .*donors, highest_flow\.", evaluate)
    assert re.search(r"Methods: simulation, .*persistence, last_year\.", evaluate)
    prepare = " ".join(command("prepare", "--help", site=installed).stdout.split())
    assert re.search(r"Readers: grid, .*demo, wide_csv\.", prepare)


def test_examples_are_short_and_stand_in_the_docs() -> None:
    page = DOCS.read_text(encoding="utf-8")
    for kind in ("reader", "method", "protocol"):
        text = (EXAMPLE / "watercli_example" / f"{kind}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) < 40
        assert text in page
    settings = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))
    shown = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    assert shown["project"]["entry-points"] == settings["project"]["entry-points"]


@pytest.mark.slow
def test_method_and_protocol(installed: Path, tiny_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    settings = ("evaluate.methods=[simulation, last_year]", "evaluate.protocols=[simulation, highest_flow]")
    chosen = [word for setting in settings for word in ("--set", setting)]
    done = command("evaluate", "--run", tiny_run, "--store", tiny_store.path, "--out", out, *chosen, site=installed)
    assert done.returncode == 0, done.stderr
    assert "The highest simulated flow is" in done.stderr

    results = json.loads((out / "results.json").read_text())
    assert list(results["riverflow"]["methods"]) == ["simulation", "last_year"]
    assert results["riverflow"]["methods"]["last_year"]["label"] == "the flow of a year before"
    assert results["sections"]["highest_flow"]["title"] == "Highest flow"
    page = (out / "report.html").read_text(encoding="utf-8")
    for shown in (
        "the flow of a year before",
        "observed flow of the gauge itself, a year before the day",
        "Highest flow",
    ):
        assert shown in page
    assert page.lower().count("#0a7e8c") > 1  # in a figure, and in the explorer's data

    data = xr.open_zarr(out / "results.zarr").load()
    simulated = data["simulated"].sel({"method": "last_year"})
    start = tiny_store.times.get_loc(pd.Timestamp(data["time"].values[0])) - 365
    flow = tiny_store.dataset["riverflow"].values[:, start : start + data.sizes["time"]]
    xr.testing.assert_equal(
        simulated.drop_vars(["method", "label"]), simulated.drop_vars(["method", "label"]).copy(data=flow)
    )
    with (out / "highest_flow.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["gauge_id"] for row in rows] == tiny_store.gauge_ids
    period = tiny_store.dataset["riverflow"].values[:, tiny_store.period("test")]
    observed = [float(row["observed"] or "nan") for row in rows]
    pd.testing.assert_series_equal(
        pd.Series(observed), pd.DataFrame(period.T).max().astype(float), rtol=1e-4, check_names=False
    )


def test_reader_in_yaml_and_a_store_that_outlives_it(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = factory.data_folder(tmp_path / "data")
    dates = factory.days()
    wide = pd.DataFrame({gauge: range(len(dates)) for gauge in factory.GAUGES}, index=dates.rename("date"))
    wide.to_csv(data / "evap.csv")
    recipe = factory.RECIPE.replace(
        "{reader: camels_gb, variable: pet, files: timeseries/*.csv}",
        "{reader: wide_csv, variable: pet, files: evap.csv}",
    )
    recipe += "evaluate: {methods: [simulation, last_year], protocols: [simulation, highest_flow]}\n"
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    words = ("prepare", "--config", tmp_path / "recipe.yaml", "--data", data, "--out", tmp_path / "store.zarr")

    assert _run([str(word) for word in words], debug=False) == 2
    refused = " ".join(capsys.readouterr().err.split())
    assert re.search(r"Setting 'modalities\.evap\.source\.reader' .*'wide_csv'.*no such reader", refused)
    done = command(*words, site=installed)
    assert done.returncode == 0, done.stderr

    # A store is opened without the packages that made it.
    store = Store.open(tmp_path / "store.zarr")
    assert store.config.evaluate.methods == ("simulation", "last_year")
    assert store.dataset["evap"].values[0, :3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("evaluate.methods=[last_year]", "'evaluate.methods.0' in --set (is 'last_year'): no such method"),
        ("evaluate.methods=[gr4]", "(is 'gr4'): no such method; did you mean 'gr4j'?"),
        ("evaluate.protocols=[simulations]", "no such protocol; did you mean 'simulation'?"),
    ],
)
def test_unknown_names_are_refused(
    tiny_run: Path, tiny_store: Store, capsys: pytest.CaptureFixture[str], setting: str, sentence: str
) -> None:
    """In this process, which has none of the packages."""
    words = ("evaluate", "--run", tiny_run, "--store", tiny_store.path, "--set", setting)
    assert _run([str(word) for word in words], debug=False) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
