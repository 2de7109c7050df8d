"""What a user does wrong ends in one sentence, the right exit code, and no half-made output."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import factory
from tests.integration.commands.conftest import Command, Outcome, contents
from watercli.output.sealed import read_sealed, sealed
from watercli.store import Store


def check(outcome: Outcome, code: int, *words: str) -> None:
    """One sentence that holds ``words``, without a traceback."""
    assert outcome.code == code, outcome.said
    assert outcome.said.startswith("Error: "), outcome.said
    assert "Traceback" not in outcome.said
    assert "Error: DataError" not in outcome.said
    assert "(a bug" not in outcome.said, outcome.said
    for word in words:
        assert word in outcome.said, outcome.said


def prepare(watercli: Command, data: Path, *more: str) -> Outcome:
    """Prepare the synthetic recipe; whatever comes of it, nothing but a whole store may appear."""
    before = contents(data.parent)
    outcome = watercli("prepare", "--config", "recipe.yaml", "--data", data, "--out", "out.zarr", *more)
    if outcome.code:
        assert contents(data.parent) == before
    return outcome


class TestPrepare:
    def test_what_is_right_is_prepared(self, watercli: Command, data: Path) -> None:
        assert prepare(watercli, data).code == 0
        assert Store.open(data.parent / "out.zarr").gauge_ids == list(factory.GAUGES)

    def test_missing_data_folder(self, watercli: Command, data: Path) -> None:
        outcome = watercli("prepare", "--config", "recipe.yaml", "--data", "nowhere", "--out", "out.zarr")
        check(outcome, 2, "nowhere", "--data", "WATERCLI_DATA")
        assert not (data.parent / "out.zarr").exists()

    def test_no_data_folder_given(self, watercli: Command, data: Path) -> None:
        check(watercli("prepare", "--config", "recipe.yaml", "--out", "out.zarr"), 2, "--data")

    def test_csv_without_the_column(self, watercli: Command, data: Path) -> None:
        first = sorted((data / "timeseries").iterdir())[0]
        factory.edit(first, "discharge_spec", "discharge_spek")
        check(prepare(watercli, data), 1, first.name, "'discharge_spec'", "did you mean 'discharge_spek'?")

    def test_netcdf_with_another_variable(self, watercli: Command, data: Path) -> None:
        (data / "rainfall" / "rainfall.nc").unlink()
        factory.write_grid(
            data / "rainfall" / "other.nc", factory.days(), factory.field(factory.days()), variable="rainfal"
        )
        check(prepare(watercli, data), 1, "rainfall/other.nc", "'rainfall'", "did you mean 'rainfal'?")

    def test_damaged_netcdf(self, watercli: Command, data: Path) -> None:
        (data / "rainfall" / "rainfall.nc").write_bytes(b"not a NetCDF file")
        check(prepare(watercli, data), 1, "rainfall/rainfall.nc", "NetCDF")

    def test_no_file_matches(self, watercli: Command, data: Path) -> None:
        check(prepare(watercli, data, "--set", "modalities.precip.source.files=snow/*.nc"), 1, "snow/*.nc", "precip")

    def test_dates_that_do_not_meet(self, watercli: Command, data: Path) -> None:
        times = factory.days("2003-01-01", "2003-03-31")
        (data / "rainfall" / "rainfall.nc").unlink()
        factory.write_grid(data / "rainfall" / "late.nc", times, factory.field(times))
        check(prepare(watercli, data), 1, "'precip'", "2003-01-01", "recipe.period")

    def test_gauge_without_attributes(self, watercli: Command, data: Path) -> None:
        factory.write_attributes(data, factory.GAUGES[:-1])
        check(prepare(watercli, data), 1, factory.GAUGES[-1], "attributes/topographic.csv")

    @pytest.mark.parametrize(
        ("setting", "known"),
        [
            ("recipe.grid.patchsize=[2, 2]", "patch_size"),
            ("modalities.precip.tranform=log", "transform"),
            ("trian.steps=3", "train"),
            ("train.deepspeed.zero_stages=1", "zero_stage"),
        ],
    )
    def test_misspelt_setting(self, watercli: Command, data: Path, setting: str, known: str) -> None:
        check(
            prepare(watercli, data, "--set", setting),
            2,
            setting.split("=")[0].split(".")[0],
            "in --set",
            f"did you mean '{known}'?",
        )

    def test_misspelt_setting_in_the_file(self, watercli: Command, data: Path) -> None:
        factory.edit(data.parent / "recipe.yaml", "land_threshold", "land_treshold")
        check(prepare(watercli, data), 2, "recipe.yaml", "land_treshold", "did you mean 'land_threshold'?")

    @pytest.mark.parametrize("setting", ["window_days=1", "train.steps=many", "window", "modalities.precip.kind=field"])
    def test_impossible_setting(self, watercli: Command, data: Path, setting: str) -> None:
        check(prepare(watercli, data, "--set", setting), 2, setting.split("=")[0])

    def test_misspelt_configuration(self, watercli: Command) -> None:
        check(watercli("prepare", "--config", "gb21"), 2, "gb21", "did you mean 'gb")

    def test_not_yaml(self, watercli: Command, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text("name: [", encoding="utf-8")
        check(watercli("prepare", "--config", "bad.yaml"), 2, "bad.yaml", "YAML")

    def test_out_that_exists(self, watercli: Command, data: Path) -> None:
        out = data.parent / "out.zarr"
        out.mkdir()
        (out / "thesis.txt").write_text("mine", encoding="utf-8")
        check(prepare(watercli, data), 2, "out.zarr", "--overwrite")
        check(prepare(watercli, data, "--overwrite"), 2, "out.zarr", "--out")
        assert (out / "thesis.txt").read_text(encoding="utf-8") == "mine"

    def test_a_failed_overwrite_leaves_the_old_store(self, watercli: Command, data: Path) -> None:
        assert prepare(watercli, data).code == 0
        check(prepare(watercli, data), 2, "--overwrite")
        old = Store.open(data.parent / "out.zarr").dataset.attrs["created"]
        factory.edit(sorted((data / "timeseries").iterdir())[0], "pet", "pit")
        check(prepare(watercli, data, "--overwrite"), 1, "'pet'")
        assert Store.open(data.parent / "out.zarr").dataset.attrs["created"] == old


class TestStore:
    def test_no_store(self, watercli: Command) -> None:
        check(watercli("pretrain", "--store", "none.zarr"), 2, "none.zarr", "watercli prepare")

    @pytest.mark.parametrize("kind", ["empty folder", "file", "other Zarr"])
    def test_a_store_that_is_no_store(self, watercli: Command, tmp_path: Path, kind: str) -> None:
        place = tmp_path / "odd.zarr"
        if kind == "file":
            place.write_text("text", encoding="utf-8")
        else:
            place.mkdir()
        if kind == "other Zarr":
            import xarray as xr

            place.rmdir()
            xr.Dataset({"a": ("x", np.arange(3))}).to_zarr(place, zarr_format=3, consolidated=False)
        check(watercli("pretrain", "--store", place, "--run", "run"), 1, "odd.zarr", "prepare")
        assert not (tmp_path / "run").exists()

    def test_inspect_of_a_folder_that_holds_nothing(self, watercli: Command, tmp_path: Path) -> None:
        (tmp_path / "odd.zarr").mkdir()
        check(watercli("inspect", "odd.zarr"), 1, "odd.zarr")


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny run, for tests that change it."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


class TestPretrain:
    def test_run_that_exists(self, watercli: Command, tiny_store: Store, run: Path) -> None:
        before = contents(run)
        check(watercli("pretrain", "--store", tiny_store.path, "--run", run), 2, "--resume", "--overwrite")
        assert contents(run) == before

    def test_overwrite_spares_what_is_no_run(self, watercli: Command, tiny_store: Store, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis.txt").write_text("mine", encoding="utf-8")
        outcome = watercli("pretrain", "--store", tiny_store.path, "--run", "home", "--overwrite")
        check(outcome, 2, "home", "--overwrite")
        assert (tmp_path / "home" / "thesis.txt").exists()

    @pytest.mark.parametrize("setting", ["model.width=32", "train.learning_rate=0.1", "seed=7"])
    def test_resume_with_a_changed_setting(self, watercli: Command, tiny_store: Store, run: Path, setting: str) -> None:
        before = (run / "config.yaml").read_text(encoding="utf-8")
        outcome = watercli("pretrain", "--store", tiny_store.path, "--run", run, "--resume", "--set", setting)
        check(outcome, 2, setting.split("=")[0], "another configuration")
        assert (run / "config.yaml").read_text(encoding="utf-8") == before

    def test_resume_on_other_data(self, watercli: Command, data: Path, run: Path) -> None:
        assert prepare(watercli, data).code == 0
        outcome = watercli("pretrain", "--store", "out.zarr", "--run", run, "--resume", "--set", "train.steps=9")
        check(outcome, 2, "out.zarr")

    def test_resume_of_nothing(self, watercli: Command, tiny_store: Store) -> None:
        check(watercli("pretrain", "--store", tiny_store.path, "--run", "none", "--resume"), 2, "none")
        assert not Path("none").exists()

    def test_resume_of_a_finished_run(self, watercli: Command, tiny_store: Store, run: Path) -> None:
        check(watercli("pretrain", "--store", tiny_store.path, "--run", run, "--resume"), 2, "train.steps")

    def test_resume_without_run_goes_on_with_what_was_started(
        self, watercli: Command, tiny_store: Store, run: Path
    ) -> None:
        changes = ("--set", "model.width=8", "--set", "train.steps=1")
        assert watercli("pretrain", "--store", tiny_store.path, *changes).code == 0
        outcome = watercli("pretrain", "--store", tiny_store.path, "--resume", "--set", "train.steps=2")
        assert outcome.code == 0, outcome.said

    def test_more_gpus_than_there_are(self, watercli: Command, tiny_store: Store) -> None:
        number = torch.cuda.device_count() + 1
        outcome = watercli("pretrain", "--store", tiny_store.path, "--run", "run", "--gpus", str(number))
        check(outcome, 2, f"--gpus is {number}")
        assert not Path("run").exists()

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
    def test_a_gpu_that_is_not_there(self, watercli: Command, tiny_store: Store, tiny_run: Path) -> None:
        for words in (["evaluate"], ["embed", "--out", "emb.zarr"]):
            outcome = watercli(*words, "--run", tiny_run, "--store", tiny_store.path, "--gpus", "1")
            check(outcome, 2, "this machine has 0")
        assert not Path("emb.zarr").exists()

    @pytest.mark.parametrize(
        ("settings", "word"),
        [
            (["model.use_cross_attn=false"], "use_weighted_fm"),
            (["model.use_weighted_fm=false", "model.use_input=true"], "use_input"),
            (["model.use_fm_layers=[0]"], "use_fm_layers"),
            (["model.kept_mask_ratio=0.9"], "kept_mask_ratio"),
            (["model.heads=3"], "width"),
            (["window_days=4000"], "window"),
            (["train.batch_size=3", "train.gradient_accumulation=2"], "train.batch_size"),
            (["train.precision=fp16"], "train.precision"),
            (["model.decoder_layers=0"], "decoder_layers"),
            (["train.betas=[0.9, 2]"], "train.betas"),
        ],
    )
    def test_what_cannot_be_trained(self, watercli: Command, tiny_store: Store, settings: list[str], word: str) -> None:
        changes = [word for setting in settings for word in ("--set", setting)]
        check(watercli("pretrain", "--store", tiny_store.path, "--run", "run", *changes), 2, word)
        assert not Path("run").exists(), "a run directory was left"

    def test_modality_that_the_store_lacks(self, watercli: Command, tiny_store: Store) -> None:
        outcome = watercli("pretrain", "--store", tiny_store.path, "--config", "gb12", "--run", "run")
        check(outcome, 2, "'rain'")
        assert not Path("run").exists()


class TestRun:
    """``embed`` and ``evaluate`` of a run that cannot serve."""

    @pytest.fixture(params=["evaluate", "embed"])
    def use(self, request: pytest.FixtureRequest, watercli: Command, tiny_store: Store, tmp_path: Path) -> Command:
        """Run either command; whatever comes of it, no output may appear."""

        def call(run: Path, *more: str | Path) -> Outcome:
            store = () if "--store" in more else ("--store", tiny_store.path)
            outcome = watercli(request.param, "--run", run, *store, "--out", "out", *more)
            assert not [path for path in tmp_path.iterdir() if path.name.lstrip(".").startswith("out")]
            return outcome

        return call

    def test_no_run(self, use: Command, tmp_path: Path) -> None:
        check(use(tmp_path / "none"), 2, "none", "watercli pretrain")

    def test_no_run_at_all(self, watercli: Command) -> None:
        check(watercli("evaluate"), 2, "watercli pretrain", "--run")

    def test_run_without_a_checkpoint(self, use: Command, run: Path) -> None:
        shutil.rmtree(run / "checkpoints")
        check(use(run), 1, "--resume")

    def test_weights_that_are_not_those_written(self, use: Command, run: Path) -> None:
        from safetensors.torch import load_file, save_file

        for file in run.glob("checkpoints/*/model.safetensors"):
            weights = load_file(file)
            save_file(
                {name: weight.repeat(2) if weight.ndim == 1 else weight for name, weight in weights.items()}, file
            )
        check(use(run), 1, "model.safetensors")

    def test_torn_weights(self, use: Command, run: Path) -> None:
        for file in run.glob("checkpoints/*/model.safetensors"):
            file.write_bytes(file.read_bytes()[:1000])
        check(use(run), 1, "model.safetensors")

    def test_torn_checkpoint(self, use: Command, run: Path) -> None:
        for file in run.glob("checkpoints/*/checkpoint.json"):
            file.write_text(file.read_text(encoding="utf-8")[:500], encoding="utf-8")
        check(use(run), 1, "checkpoint")

    def test_checkpoint_of_another_schema(self, use: Command, run: Path) -> None:
        for file in run.glob("checkpoints/*/checkpoint.json"):
            file.write_text(sealed(read_sealed(file) | {"schema_version": 99}), encoding="utf-8")
        check(use(run), 1, "checkpoint")

    def test_another_store(self, use: Command, watercli: Command, data: Path, run: Path) -> None:
        assert watercli("prepare", "--config", "recipe.yaml", "--data", data, "--out", "other.zarr").code == 0
        check(use(run, "--store", "other.zarr"), 2, "The model's modality", "other.zarr")

    def test_misspelt_setting(self, use: Command, run: Path) -> None:
        check(use(run, "--set", "embed.stirde=2"), 2, "embed.stirde", "did you mean 'stride'?")


@pytest.mark.parametrize("command", ["evaluate", "embed"])
def test_out_that_exists(watercli: Command, tiny_store: Store, tiny_run: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine", encoding="utf-8")
    for more in ((), ("--overwrite",)):
        outcome = watercli(command, "--run", tiny_run, "--store", tiny_store.path, "--out", "mine", *more)
        check(outcome, 2, "mine", "--out")
    assert contents(tmp_path) == {"mine", "mine/thesis.txt"}


def test_embed_hides_what_is_not_there(watercli: Command, tiny_store: Store, tiny_run: Path) -> None:
    outcome = watercli(
        "embed",
        "--run",
        tiny_run,
        "--store",
        tiny_store.path,
        "--out",
        "emb.zarr",
        "--set",
        "embed.excluded_inputs=rivreflow",
    )
    check(outcome, 2, "embed.excluded_inputs", "did you mean 'riverflow'?")
    assert not Path("emb.zarr").exists()


def test_evaluate_a_target_that_is_not_there(watercli: Command, tiny_store: Store, tiny_run: Path) -> None:
    outcome = watercli(
        "evaluate", "--run", tiny_run, "--store", tiny_store.path, "--out", "out", "--set", "evaluate.target=rivreflow"
    )
    check(outcome, 2, "evaluate.target", "did you mean 'riverflow'?")
    assert not Path("out").exists()


def test_simulate_what_cannot_be(watercli: Command, tiny_store: Store, fused_run: Path, tiny_run: Path) -> None:
    given = ("--run", fused_run, "--store", tiny_store.path, "--out", "flow.zarr")
    check(watercli("simulate", *given, "--target", "rivreflow"), 2, "simulate.target", "did you mean 'riverflow'?")
    check(watercli("simulate", *given, "--catchments", "01001,0303"), 2, "simulate.catchments", "did you mean '03003'?")
    check(watercli("simulate", *given, "--until", "1999-01-01"), 2, "simulate.until", "2000-01-01 to 2002-03-31")
    check(watercli("simulate", "--run", tiny_run, *given[2:]), 2, "model.cross_modal_attention", "a run that has")
    for command in ("simulate", "embed"):
        check(
            watercli(command, *given, "--since", "2002-31-12"), 2, "--since '2002-31-12' is no date; write it as 2014"
        )
    assert not Path("flow.zarr").exists()


def test_a_choice_that_there_is_not(watercli: Command, tiny_store: Store, tiny_run: Path) -> None:
    given = ("--run", tiny_run, "--store", tiny_store.path, "--out", "out", "--set", "evaluate.methods=[lsmt]")
    check(watercli("evaluate", *given), 2, "evaluate.methods", "'lsmt'", "did you mean 'lstm'?")
    check(
        watercli("pretrain", "--store", tiny_store.path, "--set", "model.cross_modal_attention=all"),
        2,
        "decoder, joint, none",
    )


def test_compare_what_is_not_there(watercli: Command) -> None:
    check(watercli("compare", "raport"), 2, "raport", "did you mean 'report'?")
    check(watercli("compare"), 2, "compare needs runs, or a study (ablation, camels-us-regions, ")
    check(watercli("compare", ".", "--config", "demo"), 2, "--config is for a study")
    check(watercli("compare", ".", "nowhere"), 2, "nowhere is neither a run directory nor a study")
    assert not Path("comparison").exists()


def test_evaluate_names_its_run_by_an_option(watercli: Command) -> None:
    check(watercli("evaluate", "runs/demo"), 2, "--run runs/demo", "watercli compare")


def test_inspect_what_cannot_be(watercli: Command, tiny_store: Store) -> None:
    check(watercli("inspect", "nothing"), 2, "nothing")
    check(watercli("inspect", "."), 1, "is neither a run nor a Zarr store")
    check(watercli("inspect", tiny_store.path, "--set", "model.width=8"), 2, "--set", "tiny.zarr", "neither")


@pytest.mark.parametrize("command", ["prepare", "pretrain", "evaluate", "compare", "embed", "simulate", "inspect"])
def test_set_works_with_every_command(
    watercli: Command, tiny_store: Store, fused_run: Path, tmp_path: Path, command: str
) -> None:
    """A setting that is misspelt is named: it was read."""
    run = ("--run", fused_run, "--store", tiny_store.path)
    words: dict[str, tuple[str | Path, ...]] = {
        "pretrain": ("--store", tiny_store.path),
        "evaluate": run,
        "compare": (fused_run, "--store", tiny_store.path),
        "embed": (*run, "--out", "out"),
        "simulate": (*run, "--out", "out"),
        "inspect": (fused_run,),
    }
    outcome = watercli(command, *words.get(command, ()), "--set", "evaluate.traget=evap")
    check(outcome, 2, "evaluate.traget", "did you mean 'target'?")
    assert not list(tmp_path.iterdir())


class TestUsage:
    """Wrong options, and ``--debug``."""

    def test_unknown_option(self, watercli: Command) -> None:
        outcome = watercli("prepare", "--ovrewrite")
        assert outcome.code == 2
        assert "--overwrite" in outcome.said

    def test_unknown_command(self, watercli: Command) -> None:
        outcome = watercli("pretrian")
        assert outcome.code == 2
        assert "pretrain" in outcome.said

    def test_embed_needs_out(self, watercli: Command) -> None:
        outcome = watercli("embed")
        assert outcome.code == 2
        assert "--out" in outcome.said

    def test_debug_shows_the_traceback(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from watercli.cli import main
        from watercli.errors import ConfigError

        monkeypatch.chdir(tmp_path)
        for arguments in (["--debug", "evaluate"], ["evaluate", "--debug"]):
            monkeypatch.setattr("sys.argv", ["watercli", *arguments])
            with pytest.raises(ConfigError):
                main.main()

    def test_the_exit_code_leaves_the_process(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from watercli.cli import main

        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("WATERCLI_DEBUG", raising=False)
        monkeypatch.setattr("sys.argv", ["watercli", "evaluate"])
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert ended.value.code == 2

    def test_what_nobody_foresaw_is_one_sentence(
        self, watercli: Command, tiny_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError("No space left on device")

        monkeypatch.setattr("watercli.training.pretrain.pretrain", fail)
        outcome = watercli("pretrain", "--store", tiny_store.path, "--run", "run")
        assert outcome.code == 1
        assert "No space left on device" in outcome.said
        assert "--debug" in outcome.said
        assert "Traceback" not in outcome.said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: \xff", "is not in UTF-8 (byte 6)"),
        (b"name: a\nwhen: 2000-13-45", "YAML cannot read (month must be in 1..12)"),
        (b"name: a\nseed: " + b"9" * 5000, "YAML cannot read"),
        (b"[" * 5000, "YAML"),
    ],
    ids=["no text", "no date", "no number", "no end"],
)
def test_configurations_that_cannot_be_read(watercli: Command, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "odd.yaml").write_bytes(content)
    check(watercli("inspect", "odd.yaml"), 2, "odd.yaml", message)


@pytest.mark.parametrize("name", ["time", "static", "group_area", "a/b", "../x", "a b", "1a", "a" * 300, "zarr.json"])
def test_modalities_whose_names_are_none(watercli: Command, tmp_path: Path, name: str) -> None:
    text = (tmp_path / "a.yaml", f"name: a\nmodalities:\n  '{name}': {{kind: series, units: mm/day}}\n")
    text[0].write_text(text[1], encoding="utf-8")
    check(watercli("inspect", "a.yaml"), 2, "Setting 'modalities' in a.yaml", f"'{name[:40]}")


@pytest.mark.parametrize("units", ["10**10**10 mm", "mm**99999", "9**9**9", "1e999999999 mm"])
def test_units_that_would_never_end(watercli: Command, data: Path, units: str) -> None:
    given = watercli("prepare", "--config", "recipe.yaml", "--data", data, "--out", "s.zarr", "--set",
                     f"modalities.precip.source.units={units}")  # fmt: skip
    check(given, 1, "units")


def test_sizes_that_no_machine_has(watercli: Command, tiny_store: Store) -> None:
    for change, words in (
        (f"model.width={2**21}", "parameters needs"),
        (f"train.batch_size={10**12}", "windows of 10 days needs"),
    ):
        given = watercli("pretrain", "--store", tiny_store.path, "--run", "run", "--set", change)
        check(given, 2, words, "this machine has", "lower")
    assert not Path("run").exists()


def test_places_that_cannot_be(watercli: Command, tiny_store: Store, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    for out in ("link", "a" * 300, "file/below"):
        for command in (
            ("simulate", "--run", tiny_run, "--store", tiny_store.path, "--out", out),
            ("pretrain", "--store", tiny_store.path, "--run", out),
        ):
            ended = watercli(*command)
            assert ended.code in (1, 2), ended.said
            assert out.partition("/")[0][:20] in ended.said
            assert "bug" not in ended.said
    assert contents(tmp_path) == {"link", "file"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_standard_output_that_is_full_or_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where no folder is called demo
    command = f"{sys.executable} -m watercli inspect demo"
    full = subprocess.run(f"{command} > /dev/full", shell=True, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith("Error: ")
    assert "tandard output" in full.stderr
    closed = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True, check=False)
    assert closed.returncode == 0
    assert "Traceback" not in full.stderr + closed.stderr
