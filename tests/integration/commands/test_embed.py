"""``watercli embed`` at the command line: its options are settings, and what does not go together is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from tests.integration.commands.conftest import Command
from tests.integration.commands.test_mistakes import check
from tests.integration.commands.test_prepare import printed
from watercli.store import Store


@pytest.fixture
def embed(watercli: Command, tiny_store: Store, fused_run: Path) -> Command:
    """Run ``watercli embed`` on the tiny store, into ``emb``."""
    return lambda *more: watercli("embed", "--run", fused_run, "--store", tiny_store.path, "--out", "emb", *more)


def test_options_are_settings(
    watercli: Command,
    embed: Command,
    tiny_store: Store,
    fused_run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--since", "2002-03-01", "--until", "2002-03-20", "--stride", "4", "--catchments", "01001, 03003"]
    options += ["--catchments", "05005", "--modalities", "evap,riverflow", "--excluded-inputs", "none", "--layers"]
    whole = ["embed", "--run", fused_run, "--store", tiny_store.path, "--out", "emb", *options, "--dry-run"]
    said = printed(capsys, watercli, *whole)
    assert "Would embed 5 dates from 2002-03-01 to 2002-03-17 of 3 catchments into emb" in said
    assert not Path("emb").exists()
    assert embed(*options, "--set", "embed.pooling=last").code == 0
    found = xr.open_zarr("emb")
    assert list(found["catchment"].values) == ["01001", "03003", "05005"]
    assert list(found["modality"].values) == ["evap", "riverflow"]
    assert list(found["pooling"].values) == ["last"]
    assert found.attrs["excluded_inputs"] == []
    assert "layer_embedding" in found
    said = printed(capsys, watercli, "inspect", "emb")
    assert "3 catchments, 5 dates from 2002-03-01 to 2002-03-17" in said
    assert "Gauges: 0 new, 2 trained, 1 held_out" in said
    assert embed("--append", "--until", "2002-03-30").code == 0
    assert xr.open_zarr("emb").sizes["time"] == 8


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--since", "2002-02-30"), ("--since", "'2002-02-30' is no date")),
        (("--since", "2002-03-02", "--until", "2002-03-01"), ("until 2002-03-01 lies before since 2002-03-02",)),
        (("--since", "2010-01-01"), ("embed.since", "2002-03-31")),
        (("--until", "1999-01-01"), ("embed.until", "2000-01-06")),
        (("--catchments", "01002"), ("embed.catchments", "'01002'", "did you mean '02002'?")),
        (("--modalities", "snow"), ("embed.modalities", "'snow'", "precip")),
        (("--modalities", "riverflow"), ("embed.modalities", "'riverflow'", "embed.excluded_inputs")),
        (("--no-causal",), ("model.causal", "--no-causal")),
        (("--decoder-state", "--excluded-inputs", "none"), ("embed.decoder_state", "embed.excluded_inputs")),
        (("--patches", "--modalities", "evap"), ("embed.patches",)),
        (("--format", "csv"), ("embed.format", "csv")),
        (("--format", "parquet", "--set", "embed.dtype=float16"), ("parquet takes float32 only",)),
        (("--stride", "0"), ("embed.stride",)),
        (("--gpus", "1", "--processes", "2"), ("--gpus and --processes",)),
        (("--gpus", "64"), ("--gpus 64",)),
        (("--append", "--stride", "2"), ("--append", "--until")),
        (("--append", "--overwrite"), ("--append", "--until")),
        (("--append",), ("There are no embeddings at emb",)),
    ],
)
def test_mistakes(embed: Command, tmp_path: Path, options: tuple[str, ...], parts: tuple[str, ...]) -> None:
    check(embed(*options), 2, *parts)
    assert not list(tmp_path.iterdir())


def test_a_run_without_fusion_has_no_fused_features(
    watercli: Command, tiny_store: Store, tiny_run: Path, tmp_path: Path
) -> None:
    check(
        watercli("embed", "--run", tiny_run, "--store", tiny_store.path, "--out", "emb", "--decoder-state"), 2,
        "embed.decoder_state", "model.cross_modal_attention",
    )  # fmt: skip
    assert not list(tmp_path.iterdir())
