"""Exports: what they say of each embedding, and that no interruption, number of processes or extension changes one."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from rich.console import Console

from tests.forked import Started, start
from tests.unit.inference.conftest import Settings, written
from watercli.config import Embed
from watercli.errors import ConfigError, RunError
from watercli.inference import embedding_layout
from watercli.inference.dry_run import dry_run_embeddings
from watercli.inference.embed import append, embed, embeddings_dataset
from watercli.inference.embedder import Embedder
from watercli.inspection.show import show
from watercli.output.resumable import Work
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

SLOW = pytest.mark.slow
HIDDEN = ["02002", "05005"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flag(labels: xr.Dataset, name: str) -> np.ndarray:
    """Return one of the flags ``[catchment, time]``."""
    meanings, masks = labels["flags"].attrs["flag_meanings"].split(), labels["flags"].attrs["flag_masks"]
    return (labels["flags"].values & masks[meanings.index(name)]) > 0


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_layout, "BLOCK_DATES", 20)


@pytest.fixture(scope="module")
def labels(fused: Checkpoint, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """An export of all that there is, river flow visible."""
    changes = {
        "since": "2001-06-25",
        "until": "2002-01-10",
        "stride": 1,
        "dtype": "float32",
        "excluded_inputs": (),
        "layers": True,
        "patches": True,
    }
    chosen = Embed.model_validate(fused.config.embed.model_dump() | changes)
    return xr.open_zarr(embed(fused, tiny_store, tmp_path_factory.mktemp("labels") / "labels.zarr", chosen)).load()


def test_every_embedding_says_what_its_encoder_saw(labels: xr.Dataset, tiny_store: Store) -> None:
    times = labels["time"].values
    assert (labels["window_end"].values == times).all(), "a later day was seen"
    seen = (times - labels["window_start"].values) / np.timedelta64(1, "D") + 1
    assert ((seen > 5) & (seen <= 10)).all()
    assert (labels["antecedent_start"].values < labels["window_start"].values).all()
    assert labels.attrs["visible_modalities"] == list(tiny_store.config.modalities)
    assert labels.attrs["excluded_inputs"] == []
    absent = np.isnan(labels["embedding"].values).all((3, 4, 5))
    assert ((labels["visible_days"].values == 0) == absent).all()
    assert (labels["visible_days"].values <= seen[:, None]).all()

    flow = tiny_store.dataset["riverflow"].sel(time=times)
    assert (flag(labels, "riverflow_observed") == np.isfinite(flow.values)).all()
    hidden = np.isin(labels["catchment"].values, HIDDEN)
    assert (flag(labels, "held_out_gauge") == hidden[:, None]).all()
    assert list(labels["gauge_role"].values) == [2 if one else 1 for one in hidden]
    visible = flag(labels, "riverflow_visible")
    assert not visible[hidden].any(), "what was hidden from training is hidden here"
    assert visible[~hidden].all()
    assert np.isnan(labels["embedding"].sel(modality="riverflow").values[hidden]).all()
    for number, name in enumerate(("train", "validation", "test"), start=1):
        assert (flag(labels, name) == (labels["split"].values == number)).all()
    assert [str(times[labels["split"].values == 2][end])[:10] for end in (0, -1)] == ["2001-07-01", "2001-12-31"]


def test_layers_are_what_the_feature_maps_are_mixed_of(
    labels: xr.Dataset, fused: Checkpoint, tiny_store: Store
) -> None:
    """A feature map is its norm of the layers, weighted by ``layer_weight``: one may weigh anew."""
    maps = fused.model().feature_maps
    alone = int((tiny_store.patch_weight.max(1) == 1).argmax())  # whose "last" is a single token of every modality
    for name in ("soil", "evap"):
        layers = labels["layer_embedding"].sel(modality=name, pooling="last").isel(catchment=alone)
        weights = labels["layer_weight"].sel(modality=name)
        assert (np.isnan(layers).all(("time", "channel")).values == np.isnan(weights.values).all(0)).all()
        mixed = (layers.fillna(0) * weights.fillna(0)).sum("layer").transpose("time", "feature_map", "channel").values
        wanted = labels["embedding"].sel(modality=name, pooling="last").isel(catchment=alone).values
        for number, norm in enumerate(maps[name].norms):  # type: ignore[union-attr,arg-type]
            found = norm(torch.from_numpy(mixed[:, number])).detach().numpy()
            there = np.isfinite(wanted[:, number])
            np.testing.assert_allclose(found[there], wanted[:, number][there], rtol=1e-4, atol=1e-5)


def test_a_catchment_in_one_patch_has_the_embedding_of_the_patch(labels: xr.Dataset, tiny_store: Store) -> None:
    area = tiny_store.patch_weight
    alone = np.flatnonzero(area.max(1) == 1)
    assert len(alone)
    for number in alone:
        patch = labels["patch_embedding"].sel(patch=area[number].argmax(), grid="precip").values
        own = labels["embedding"].isel(catchment=number).sel(modality="precip").values
        np.testing.assert_allclose(own, patch, rtol=1e-4, atol=1e-5)


def test_each_day_of_the_window(plain: Checkpoint, tiny_store: Store) -> None:
    """The mean is that of the days that have a value, and the last day is the first of these, counted backwards."""
    embedder = Embedder(plain, tiny_store, ("riverflow",), pooling=("last", "mean", "days"), only=("evap",))
    assert embedder.labels == ["last", "mean", *(f"lag_{lag}" for lag in range(10))]
    days = np.flatnonzero(np.isnan(tiny_store.dataset["evap"].values).any(0))
    wanted = days[(days > 20) & (days < 800)][:5]
    found = np.concatenate([values for _, values in embedder.windows(wanted, 4)])
    last, mean, lags = found[..., 0, :], found[..., 1, :], found[..., 2:, :]
    there = np.isfinite(lags).all((3, 5))[:, :, 0]  # date, catchment, lag
    evap = np.isfinite(tiny_store.dataset["evap"].values)
    for number, day in enumerate(wanted):
        np.testing.assert_array_equal(there[number], evap[:, day - 9 : day + 1][:, ::-1])
    assert not there.all()
    for date, catchment in np.argwhere(there.any(2)):
        here = lags[date, catchment, 0][:, there[date, catchment]]
        np.testing.assert_allclose(mean[date, catchment, 0], here.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(last[date, catchment, 0], here[:, 0])


def test_fused_features_are_what_the_simulation_is_made_of(fused: Checkpoint, tiny_store: Store) -> None:
    """The decoder's head on the fused features of a date is the model's own simulation of it."""
    from watercli.run.simulator import simulate

    embedder = Embedder(fused, tiny_store, ("riverflow",), decoder_state=True, only=("evap",))
    dates = embedder.dates.between(780, 809, 1)
    found = np.concatenate([one["decoder_state"] for _, one in embedder.encode(dates, 8)])[:, :, 0]
    decoder = fused.model().decoders["riverflow"]
    with torch.no_grad():
        value = torch.nn.functional.softplus(decoder.head(torch.from_numpy(found)))[..., 0]  # type: ignore[operator,union-attr]
    here = fused.scaling.predicted("riverflow").inverse(value.numpy()).T
    simulated = simulate(fused, tiny_store, "riverflow", slice(int(dates[0]), int(dates[-1]) + 1))
    np.testing.assert_allclose(here, simulated, rtol=1e-4, atol=1e-6)
    hidden = replace(embedder, excluded=("riverflow", "evap"), only=("temp",))
    assert not np.allclose(next(iter(hidden.encode(dates[:9], 8)))[1]["decoder_state"][:, :, -1], found[:9])


def test_windows_around_the_date(plain: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path) -> None:
    chosen = settings(causal=False, modalities=("evap",))
    found = xr.open_zarr(embed(plain, tiny_store, tmp_path / "emb.zarr", chosen))
    assert found.attrs["causal"] == 0
    assert (found["window_end"].values > found["time"].values).any()
    assert (found["window_end"] - found["window_start"] == np.timedelta64(9, "D")).all()
    assert str(found["window_end"].values[-1])[:10] <= "2002-03-31"
    embedder = Embedder(plain, tiny_store, ("riverflow",), only=("evap",))
    day = int(tiny_store.times.get_loc(found["window_end"].values[7]))
    (_, whole), *_ = embedder.windows(np.array([day]), 1)  # the same window, which ends there
    np.testing.assert_allclose(
        found["embedding"].isel(time=7).sel(pooling="mean").values[:, 0], whole[0, :, 0, :, 1], rtol=1e-4, atol=1e-5
    )


def test_some_catchments_dates_and_modalities(
    fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path
) -> None:
    whole = xr.open_zarr(embed(fused, tiny_store, tmp_path / "whole.zarr", settings()))
    some = settings(
        since="2002-01-07", until="2002-02-20", stride=3, catchments=("02002", "06006"), modalities=("evap", "soil")
    )
    found = xr.open_zarr(embed(fused, tiny_store, tmp_path / "some.zarr", some))
    assert list(found["catchment"].values) == ["02002", "06006"]
    assert list(found["modality"].values) == ["soil", "evap"]
    assert [str(found["time"].values[end])[:10] for end in (0, -1)] == ["2002-01-07", "2002-02-18"]
    wanted = whole.sel(catchment=found["catchment"], time=found["time"], modality=found["modality"])
    np.testing.assert_allclose(found["embedding"].values, wanted["embedding"].values, rtol=1e-4, atol=1e-5)
    assert (found["flags"].values == wanted["flags"].values).all()


def test_what_an_interruption_leaves_is_gone_on_with(
    fused: Checkpoint,
    tiny_store: Store,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, out = embed(fused, tiny_store, tmp_path / "whole.zarr", settings()), tmp_path / "emb.zarr"
    encode, calls = Embedder._encode, []

    def breaks(self: Embedder, *arguments: object) -> object:
        calls.append(None)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Embedder, "_encode", breaks)
        with pytest.raises(KeyboardInterrupt):
            embed(fused, tiny_store, out, settings())
    assert not out.exists()
    work = Work.beside(out)
    done = {path: path.stat().st_mtime_ns for path in (work.store / "embedding" / "c").rglob("*") if path.is_file()}
    assert len(done) == 3
    show(str(out))
    assert f"Half-made embeddings for {out}: 3 of 5 blocks" in " ".join(capsys.readouterr().out.split())
    embed(fused, tiny_store, out, settings())
    assert files(out) == files(whole)
    kept = {out / path.relative_to(work.store): changed for path, changed in done.items()}
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items()), "a block was made again"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emb.zarr", "whole.zarr"]


@SLOW
def test_half_made_of_other_settings_is_not_gone_on_with(
    fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "emb.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("watercli.inference.formats.ZarrFormat.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embed(fused, tiny_store, out, settings())
    found = xr.open_zarr(embed(fused, tiny_store, out, settings(pooling=("mean",))))
    assert list(found["pooling"].values) == ["mean"]


@pytest.mark.parametrize(
    ("run", "form"),
    [
        ("fused", "zarr"),
        pytest.param("fused", "parquet", marks=SLOW),
        pytest.param("plain", "zarr", marks=SLOW),
        pytest.param("plain", "parquet", marks=SLOW),
    ],
)
def test_extended_is_as_good_as_made_at_once(
    run: str, form: str, request: pytest.FixtureRequest, tiny_store: Store, settings: Settings, tmp_path: Path
) -> None:
    checkpoint = request.getfixturevalue(run)
    days = len(tiny_store.times)
    short = written(tiny_store, tmp_path / "short.zarr", days - 33, fingerprint="short")
    store = written(tiny_store, tmp_path / "long.zarr", days, fingerprint="long", ancestry=["short"])
    chosen = settings(format=form, since="2002-02-01")
    out = embed(checkpoint, short, tmp_path / "emb", chosen)
    before = files(out)
    append(checkpoint, store, out)
    whole = embed(checkpoint, store, tmp_path / "whole", chosen)
    after, wanted = files(out), files(whole)
    if form == "zarr":
        xr.testing.assert_allclose(xr.open_zarr(out).drop_attrs(), xr.open_zarr(whole).drop_attrs(), atol=1e-5)
        first = "embedding/c/0/0/0/0/0/0"
    else:
        ours, theirs = (pd.read_parquet(path / "rows") for path in (out, whole))
        pd.testing.assert_frame_equal(ours, theirs, atol=1e-5)
        first = "rows/part-000000.parquet"
    assert set(after) == set(wanted)
    assert after[first] == before[first], "a block that was whole was made again"
    differing = [name for name in wanted if after[name] != wanted[name] and name.rpartition("/")[2] != "zarr.json"]
    assert not differing, "the same windows in the same blocks give the same bytes"
    append(checkpoint, store, out)
    assert files(out) == after, "there was nothing to add"


def test_append_refuses_what_it_does_not_extend(
    fused: Checkpoint, plain: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"There are no embeddings at .*none.zarr; make them with"):
        append(fused, tiny_store, tmp_path / "none.zarr")
    out = embed(fused, tiny_store, tmp_path / "emb.zarr", settings(until="2002-01-20"))
    with pytest.raises(ConfigError, match=r"is of other weights \(step 6"):
        append(plain, tiny_store, out)
    other = replace(tiny_store, dataset=tiny_store.dataset.assign_attrs(fingerprint="other"))
    with pytest.raises(ConfigError, match=r"is not the store of .* with later days"):
        append(fused, other, out)
    append(fused, tiny_store, out, dt.date(2002, 1, 28))  # of the same store: more of its dates
    assert str(xr.open_zarr(out)["time"].values[-1])[:10] == "2002-01-28"


def test_parquet_holds_what_zarr_does(fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path) -> None:
    everything = {"layers": True, "decoder_state": True, "patches": True, "since": "2002-02-20"}
    found = xr.open_zarr(embed(fused, tiny_store, tmp_path / "emb.zarr", settings(**everything)))
    out = embed(fused, tiny_store, tmp_path / "tables", settings(format="parquet", **everything))
    rows = pd.read_parquet(out / "rows").set_index(["catchment", "time"])
    patches = pd.read_parquet(out / "patches").set_index(["patch", "time"])
    assert len(rows) == found.sizes["catchment"] * found.sizes["time"]
    where = {"catchment": "03003", "time": found["time"].values[30]}
    at = tuple(where.values())
    one = found.sel(where)
    assert rows.loc[at, "soil.1.mean.7"] == one["embedding"].sel(modality="soil", pooling="mean").values[1, 7]
    assert (
        rows.loc[at, "layer.soil.0.last.3"]
        == (one["layer_embedding"].sel(modality="soil", pooling="last").values[0, 3])
    )
    assert rows.loc[at, "decoder_state.riverflow.5"] == one["decoder_state"].sel(target="riverflow").values[5]
    assert rows.loc[at, "visible_days.evap"] == one["visible_days"].sel(modality="evap")
    assert rows.loc[at, "flags"] == one["flags"]
    assert rows.loc[at, "window_start"] == pd.Timestamp(one["window_start"].values)
    patch = int(found["patch"][-1])
    wanted = found["patch_embedding"].sel(patch=patch, time=at[1], grid="temp", pooling="last").values[0, 2]
    assert patches.loc[(patch, at[1]), "temp.0.last.2"] == wanted
    assert json.loads((out / "description.json").read_text())["run_fingerprint"] == found.attrs["run_fingerprint"]
    assert list(pd.read_parquet(out / "catchments.parquet")["gauge_role"]) == [1, 2, 1, 1, 2, 1]
    with pytest.raises(ConfigError, match="exists"):
        embed(fused, tiny_store, out, settings())
    embed(fused, tiny_store, out, settings(), overwrite=True)
    assert xr.open_zarr(out).sizes["catchment"] == 6


def test_dry_run_says_what_comes(
    fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "emb.zarr"
    chosen = settings(dtype=None, since="2002-02-20")
    dry_run_embeddings(fused, tiny_store, out, chosen, Console(width=140), processes=2)
    said = " ".join(capsys.readouterr().out.split())
    assert not list(tmp_path.iterdir())
    made = xr.open_zarr(embed(fused, tiny_store, out, chosen))
    times = made["time"].values
    assert f"{len(times)} dates from 2002-02-20 to 2002-03-31 of 6 catchments" in said
    assert " x ".join(str(size) for size in made["embedding"].shape) in said
    assert f"{made['embedding'].nbytes / 1000:.1f} kB" in said
    assert made["embedding"].dtype == np.float16, "by default in Zarr"
    exact = embeddings_dataset(fused, tiny_store, chosen)["embedding"]
    assert exact.dtype == np.float32
    np.testing.assert_allclose(made["embedding"], exact, rtol=2**-10, atol=1e-5)
    with pytest.raises(ConfigError, match="one file, which takes float32 only"):
        embed(fused, tiny_store, tmp_path / "emb.nc", settings(dtype="float16"))
    assert "dates a second, timed just now" in said
    assert "at best in 2" in said


def test_devices_that_are_not_there(
    fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="--gpus 2 given, but this machine has 1"):
        embed(fused, tiny_store, tmp_path / "emb.zarr", settings(), gpus=2)
    with pytest.raises(ConfigError, match="exclude each other"):
        embed(fused, tiny_store, tmp_path / "emb.zarr", settings(), gpus=1, processes=2)
    assert not list(tmp_path.iterdir())


@SLOW
def test_two_processes_make_what_one_does(
    fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path
) -> None:
    one = embed(fused, tiny_store, tmp_path / "one.zarr", settings(layers=True))
    two = embed(fused, tiny_store, tmp_path / "two.zarr", settings(layers=True), processes=2)
    assert set(files(one)) == set(files(two))
    xr.testing.assert_allclose(xr.open_zarr(one), xr.open_zarr(two), rtol=1e-5, atol=1e-6)


def begin(run: Path, store: Store, out: Path, *options: str) -> Started:
    """Start an export in a process of its own."""
    arguments = ["embed", "--run", run, "--store", store.path, "--out", out, "--stride", "1", *options]
    return start(list(map(str, arguments)), out.with_suffix(".stderr"))


def until(moment: Callable[[], bool], command: Started) -> None:
    while command.runs() and not moment():
        time.sleep(0.005)
    assert command.runs(), command.said()


def children(command: Started) -> list[int]:
    listed = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
    return [int(child) for child in listed]


@SLOW
def test_killed_and_started_again(fused_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    """In two processes, which make what one does; `tests/integration/faults` kills one."""
    two = ("--processes", "2")
    whole, out = tmp_path / "whole.zarr", tmp_path / "emb.zarr"
    assert begin(fused_run, tiny_store, whole).end() == 0
    marks = Work.beside(out).marks("embedding")
    for done in (1, 3):
        command = begin(fused_run, tiny_store, out, *two)
        until(lambda done=done: len(list(marks.glob("*"))) >= done, command)
        begun = children(command)
        command.process.kill()
        command.end()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{child}/exe").exists() for child in begun):
            assert time.monotonic() < deadline, "a process outlived the one that started it"
            time.sleep(0.1)
    assert not out.exists()
    command = begin(fused_run, tiny_store, out, *two)
    assert command.end() == 0
    assert "Continuing what was begun" in command.said()
    assert files(out) == files(whole)


@SLOW
def test_a_killed_process_ends_in_one_sentence(fused_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    out = tmp_path / "emb.zarr"
    command = begin(fused_run, tiny_store, out, "--processes", "2")
    marks = Work.beside(out).marks("embedding")
    until(lambda: bool(list(marks.glob("*"))), command)
    workers = [child for child in children(command) if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    assert command.end() == RunError.exit_code
    sentence = "Error: A process was killed (out of memory?); give the same command again"
    assert any(line.startswith(sentence) for line in command.said().splitlines())
    assert "Traceback" not in command.said()
    assert not out.exists()


def test_it_is_the_same_when_it_is_lazy(
    fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path
) -> None:
    chosen = settings(since="2002-02-01", layers=True, decoder_state=True, patches=True)
    out = embed(fused, tiny_store, tmp_path / "emb.zarr", chosen)
    lazy = embeddings_dataset(fused, tiny_store, chosen)
    assert all(lazy[name].chunks for name in ("embedding", "visible_days", "decoder_state", "patch_embedding"))
    lazy.to_zarr(tmp_path / "lazy.zarr", zarr_format=3)
    written, export = xr.open_zarr(tmp_path / "lazy.zarr"), xr.open_zarr(out)
    assert written["embedding"].encoding["shards"] == export["embedding"].encoding["shards"]
    assert written["embedding"].encoding["chunks"] == export["embedding"].encoding["chunks"]
    for dataset in (lazy, written):
        xr.testing.assert_identical(dataset.compute(), export.compute())
