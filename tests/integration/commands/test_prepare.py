"""Options of ``prepare`` and ``inspect`` that tell instead of making."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests import factory
from tests.integration.commands.conftest import Command, contents
from tests.integration.commands.test_mistakes import check, prepare
from watercli.inspection.gauge_map import gauge_map
from watercli.output import zarr_files
from watercli.store import Store


def printed(capsys: pytest.CaptureFixture[str], watercli: Command, *arguments: str | Path) -> str:
    """Return what a command that succeeds writes to standard output; `watercli` itself keeps standard error only."""
    from watercli.cli.main import _run

    capsys.readouterr()
    assert _run([str(argument) for argument in arguments], debug=True) == 0
    return capsys.readouterr().out


class TestDryRun:
    def test_it_says_what_would_be_made_and_writes_nothing(
        self, watercli: Command, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = contents(data.parent)
        command = ("prepare", "--config", "recipe.yaml", "--data", data, "--out", "out.zarr", "--dry-run")
        text = printed(capsys, watercli, *command)
        assert contents(data.parent) == before
        size = sum(path.stat().st_size for path in (data / "timeseries").iterdir())
        assert re.search(rf"riverflow .* camels_gb .* 4 .* {size / 1000:.1f} kB .* 4 x 365", text)
        assert re.search(r"precip .* hadukgrid .* 1 .* 365 x 12 x 12", text)
        assert "Estimates for" in text
        assert "Nothing was written." in text

    def test_the_size_is_about_what_it_becomes(
        self, watercli: Command, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ("prepare", "--config", "recipe.yaml", "--data", data, "--out", "out.zarr")
        text = printed(capsys, watercli, *command, "--dry-run")
        row = re.search(r"precip.* (\d+\.\d) kB \W*$", text, re.MULTILINE)
        assert row is not None, text
        assert watercli(*command).code == 0
        true = sum(path.stat().st_size for path in Path("out.zarr/precip").rglob("*") if path.is_file())
        assert float(row[1]) * 1000 == pytest.approx(true, rel=0.5)

    def test_what_is_wrong_is_found(self, watercli: Command, data: Path) -> None:
        check(
            prepare(watercli, data, "--dry-run", "--set", "recipe.grid.crs=EPSG:4326"), 1, "'precip'", "recipe.grid.crs"
        )
        check(prepare(watercli, data, "--dry-run", "--set", "modalities.precip.source.files=no.nc"), 1, "no.nc")
        (data.parent / "out.zarr").mkdir()
        check(prepare(watercli, data, "--dry-run"), 2, "out.zarr exists")


class TestAppend:
    def test_the_store_s_own_recipe_is_taken(
        self, watercli: Command, data: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert prepare(watercli, data).code == 0
        times = factory.days("2002-01-01", "2002-01-31")
        factory.write_grid(data / "rainfall" / "later.nc", times, factory.field(times))
        command = ("prepare", "--append", "--out", "out.zarr", "--data", data)
        caplog.set_level("INFO", "watercli")
        assert watercli(*command).code == 0
        assert "out.zarr ends on 2001-12-31 already: nothing to add; set recipe.period.end" in caplog.text
        assert watercli(*command, "--set", "recipe.period.end=2002-01-31").code == 0
        assert "evap has no date from 2002-01-01 to 2002-01-31: these days are missing" in caplog.text
        assert f"{Store.open(Path('out.zarr')).times[-1]:%Y-%m-%d}" == "2002-01-31"

    def test_what_does_not_go_together(self, watercli: Command) -> None:
        check(watercli("prepare", "--append", "--overwrite"), 2, "--append", "--overwrite")
        check(watercli("prepare", "--append", "--out", "none.zarr"), 2, "none.zarr")


class TestInspect:
    def test_a_store(self, watercli: Command, tiny_store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        text = printed(capsys, watercli, "inspect", tiny_store.path)
        for words in ("821 days from 2000-01-01 to 2002-03-31", "6 catchments, 11 static attributes", "10 of 360 days",
                      "train 2000-01-01 to 2001-06-30", f"data {tiny_store.fingerprint[:12]}"):  # fmt: skip
            assert words in " ".join(text.split()), words
        assert re.search(r"missing\W+2000\W+2001\W+2002", text)
        lines = gauge_map(tiny_store)
        assert "\n".join(lines) in text
        assert sum(int(sign) for sign in "".join(lines) if sign.isdecimal()) == 6  # every gauge is on the map

    def test_json(self, watercli: Command, tiny_store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        found = json.loads(printed(capsys, watercli, "inspect", tiny_store.path, "--json"))
        assert found["finished"] is True
        assert found["fingerprint"] == tiny_store.fingerprint
        assert found["catchments"] == tiny_store.gauge_ids
        precip = found["modalities"]["precip"]
        assert precip["sizes"] == dict(tiny_store.dataset["precip"].sizes)
        assert (precip["chunks"][0], precip["shards"][0]) == (10, 360)
        assert precip["statistics"]["mean"] == tiny_store.statistics("precip", "identity")[0]
        assert set(found["modalities"]["soil"]["missing_by_year"]) == {"2000", "2001", "2002"}
        assert found["bytes"] == sum(path.stat().st_size for path in tiny_store.path.rglob("*") if path.is_file())

    def test_a_half_made_store(
        self,
        watercli: Command,
        data: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def interrupted(partial: Path) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, caplog.at_level("INFO", "watercli"):
            patch.setattr(zarr_files, "finish", interrupted)
            assert watercli("prepare", "--config", "recipe.yaml", "--data", data, "--out", "out.zarr").code == 130
        assert "What is done is kept in .out.zarr.partial; the same command goes on from there" in caplog.text
        for path in ("out.zarr", ".out.zarr.partial"):
            text = printed(capsys, watercli, "inspect", path)
            assert "Half-made store for out.zarr: configuration 'synthetic'" in text
            assert "precip: 2 of 2 blocks" in text
            assert json.loads(printed(capsys, watercli, "inspect", path, "--json"))["finished"] is False

    def test_json_of_what_is_no_store(self, watercli: Command) -> None:
        check(watercli("inspect", "demo", "--json"), 2, "--json", "demo")
