"""The lines of the page on Python, on a tiny store; results are labelled, mistakes are the commands' sentences."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import watercli as wc
from tests.conftest import FUSED, TINY
from watercli.inference.embed import embed as export_embeddings

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "python.md"
SHRUNK = {'"demo"': '"tiny.yaml"', "steps=400": "steps=6", "2006-01-01": "2002-01-01", "2006-05-01": "2002-03-01"}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the lines, tiny, in a folder of their own; return what they define, and the ``folder``."""
    folder = tmp_path_factory.mktemp("lines")
    (folder / "tiny.yaml").write_text(wc.load_config("demo", [*TINY, *FUSED]).to_yaml(), encoding="utf-8")
    (code,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for text, shorter in SHRUNK.items():
        assert text in code
        code = code.replace(text, shorter)
    names: dict[str, Any] = {"folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102
        names["run"] = wc.open_run(names["run"].path.resolve())
    return names


def test_simulated_flow_is_labelled(lines: dict[str, Any]) -> None:
    flow, store = lines["flow"], lines["store"]
    assert flow["riverflow"].dims == ("catchment", "time")
    assert flow["riverflow"].attrs["units"] == "mm/day"
    assert list(flow["catchment"].values) == ["01001"]
    assert pd.DatetimeIndex(flow["time"].values).equals(store.times)
    assert np.isfinite(flow["riverflow"]).all()


def test_embeddings_are_lazy_and_what_the_command_writes(lines: dict[str, Any], tmp_path: Path) -> None:
    emb, run, store = lines["emb"], lines["run"], wc.open_store(lines["folder"] / "store.zarr")
    assert emb["embedding"].chunks is not None
    assert (pd.DatetimeIndex(emb["time"].values).to_series().diff().dropna() == pd.Timedelta("7D")).all()
    changed = wc.load_config(lines["folder"] / "tiny.yaml", {"embed.since": "2002-01-01", "embed.stride": 7,
                                                               "embed.dtype": "float32"})  # fmt: skip
    export_embeddings(run.checkpoint, store, tmp_path / "emb.zarr", changed.embed)
    written, ours = xr.open_zarr(tmp_path / "emb.zarr"), xr.open_zarr(lines["folder"] / "emb.zarr")
    xr.testing.assert_allclose(written["embedding"], ours["embedding"])
    assert "riverflow" not in written["modality"].values


def test_scores_and_report(lines: dict[str, Any]) -> None:
    scores = lines["result"].scores
    assert isinstance(scores, xr.Dataset)
    assert set(scores.dims) == {"metric", "method", "catchment"}
    assert {"simulation", "gr4j"} <= set(scores["method"].values)
    assert "</html>" in (lines["folder"] / "report.html").read_text(encoding="utf-8")
    assert not (lines["run"].path / "evaluation").exists(), "nothing is written but what is named"


def test_features_are_of_what_is_shown(lines: dict[str, Any]) -> None:
    features = lines["features"]
    assert set(features) == set(lines["run"].config.modalities)
    assert features["riverflow"].valid.sum() == 1, "the token of the attributes alone"
    assert features["evap"].valid.sum() > 1


def test_a_run_is_its_parts(lines: dict[str, Any]) -> None:
    run = lines["run"]
    assert run.path == (lines["folder"] / "runs" / "demo").resolve()
    assert run.config == run.checkpoint.config
    assert run.config.train.steps == 6
    assert isinstance(run.model, torch.nn.Module)
    assert not run.model.training
    assert run.store().path == lines["folder"] / "store.zarr"


def test_a_run_is_found(lines: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(lines["folder"])
    assert wc.open_run().path == Path("runs/demo")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(wc.ConfigError, match="There is no run in runs/"):
        wc.open_run()


def test_mistakes_are_the_commands_sentences(tiny_store: wc.Store, fused_run: Path) -> None:
    run = wc.open_run(str(fused_run))
    with pytest.raises(wc.ConfigError, match=r"No store at nowhere\.zarr; make one with 'watercli prepare"):
        wc.open_store("nowhere.zarr")
    with pytest.raises(wc.ConfigError, match="nowhere is no run directory"):
        wc.open_run("nowhere")
    with pytest.raises(wc.ConfigError, match=r"'0303'.*did you mean '03003'"):
        run.simulate(tiny_store, catchments=["0303"])
    with pytest.raises(wc.ConfigError, match="--since '2002-31-12' is no date"):
        run.embed(tiny_store, since="2002-31-12")
    with pytest.raises(wc.ConfigError, match=r"evaluate.methods.*'lsmt'.*did you mean 'lstm'"):
        run.evaluate(tiny_store, methods="lsmt")
    with pytest.raises(wc.ConfigError, match=r"Unknown setting 'train\.step'"):
        wc.pretrain(tiny_store, settings={"train.step": 3})
    with pytest.raises(wc.ConfigError, match="did you mean 'report'"):
        wc.compare("raport")


def test_whatever_reconstructs_only_has_no_scores(tiny_store: wc.Store, tiny_run: Path, tmp_path: Path) -> None:
    run = wc.open_run(tiny_run)
    result = run.evaluate(tiny_store, protocols="reconstruction", out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "results.json", "reconstruction.csv"}
    assert json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["riverflow"] is None
    with pytest.raises(wc.RunError, match="name the protocol 'simulation' or 'ungauged'"):
        _ = result.scores


def test_inspect_and_describe(tiny_store: wc.Store, capsys: pytest.CaptureFixture[str]) -> None:
    wc.inspect(tiny_store.path)
    assert "6 catchments" in capsys.readouterr().out
    assert wc.describe(str(tiny_store.path))["fingerprint"] == tiny_store.fingerprint


def test_previews_write_nothing(
    tiny_store: wc.Store,
    fused_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    wc.preview_prepare("demo", settings=TINY)
    wc.open_run(fused_run).preview_embeddings("emb.zarr", tiny_store, since="2002-03-20", stride=4)
    assert "Would embed 3 dates" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
