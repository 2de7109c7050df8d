"""Models by name, path and URL."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import watercli as wc
from watercli.errors import ConfigError, RunError
from watercli.library import places


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(places.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(shared_model: Path) -> Iterator[str]:
    """A web server with one model, ``creek``."""
    handler = functools.partial(Quiet, directory=str(shared_model.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_address[1]}"
        web.shutdown()


def test_a_url_is_fetched_once(server: str, cache: Path, shared_model: Path) -> None:
    model = wc.load_model(f"{server}/creek")
    assert model.path.parent == cache
    for name in ("model.json", "weights.safetensors", "card.md"):
        assert (model.path / name).read_bytes() == (shared_model / name).read_bytes()
    (model.path / "card.md").write_text("kept")
    assert (wc.load_model(f"{server}/creek/model.json").path / "card.md").read_text() == "kept"
    listed = wc.models()
    assert listed.set_index("name").loc["creek", "origin"] == f"{server}/creek"
    assert wc.load_model("creek").path == model.path


def test_a_file_url_and_a_cache_of_ones_own(shared_model: Path, tmp_path: Path) -> None:
    model = wc.load_model(f"file://{shared_model}", cache=tmp_path / "own")
    assert model.path.parent == tmp_path / "own"
    assert list(wc.models(tmp_path / "own")["name"]) == [*wc.models()["name"], "creek"]


def test_what_is_altered_on_the_way_is_not_kept(shared_model: Path, tmp_path: Path, cache: Path) -> None:
    altered = Path(shutil.copytree(shared_model, tmp_path / "altered"))
    (altered / "weights.safetensors").write_bytes(b"\0" * (altered / "weights.safetensors").stat().st_size)
    with pytest.raises(RunError, match=r"weights.safetensors was altered after it was written"):
        wc.load_model(f"file://{altered}")
    assert list(wc.models()["name"]) == [path.name for path in places.shipped_folder().iterdir() if path.is_dir()]
    assert not list(cache.glob("*altered*"))


def test_urls_without_a_model(server: str) -> None:
    with pytest.raises(ConfigError, match=r"There is no model at .*/lake/model.json \(HTTP 404\); check the address"):
        wc.load_model(f"{server}/lake")
    with pytest.raises(ConfigError, match=r"There is no model at file:///nowhere/model.json; check the address"):
        wc.load_model("file:///nowhere")
    with pytest.raises(ConfigError, match=r"gopher://x/model.json cannot be fetched \(.*gopher.*\)"):
        wc.load_model("gopher://x")


def test_offline() -> None:
    with pytest.raises(RunError, match=r"http://127.0.0.1:9/creek/model.json cannot be reached .* without a network"):
        wc.load_model("http://127.0.0.1:9/creek")


def test_names_that_are_none(recurrent_run: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no model 'rivrs'.*; give a name that 'watercli models' lists"):
        wc.load_model("rivrs")
    with pytest.raises(ConfigError, match=f"{recurrent_run} is a run directory; give --run {recurrent_run}"):
        wc.load_model(recurrent_run)
