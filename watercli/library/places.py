"""Where models are: in the wheel, in a folder, at a URL, in the cache of those that came from URLs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import fsspec

from watercli.errors import ConfigError, RunError, WatercliError, nearest
from watercli.library import card, folder
from watercli.log import log
from watercli.output.atomic import written_folder
from watercli.output.lock import locked

CACHE = "WATERCLI_CACHE"
"""Environment variable: the folder of the cache."""
ORIGIN = "origin.txt"
"""The file of a cached model that names its URL."""
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
PATIENCE = 60.0
"""Seconds that a web server has to answer."""
COLUMNS = ("name", "description", "megabytes", "origin", "path")


@dataclass(frozen=True)
class Place:
    """A model that is known by its name."""

    name: str
    description: str
    megabytes: float
    origin: str
    """``shipped``, or its URL."""
    path: Path


def shipped_folder() -> Path:
    """Return the folder of the models that are shipped with watercli."""
    return Path(__file__).resolve().parents[1] / "models"


def cache_folder(given: Path | None = None) -> Path:
    """Return the folder of the models that came from URLs."""
    own = os.environ.get(CACHE)
    return given or (Path(own) if own else Path.home() / ".cache" / "watercli")


def known(cache: Path | None = None) -> list[Place]:
    """Return the models that are known by name: those shipped, then those in the cache; damaged ones are left out."""
    places = [*sorted(shipped_folder().glob("*")), *sorted(cache_folder(cache).glob("*"))]
    return [place for path in places if folder.is_model(path) and (place := _place(path)) is not None]


def _place(path: Path) -> Place | None:
    try:
        content = folder.about(path)
    except WatercliError as error:
        log.warning("%s", error)
        return None
    size = sum(record["bytes"] for record in folder.files(content).values()) / 1e6
    origin = path / ORIGIN
    source = origin.read_text(encoding="utf-8").strip() if origin.is_file() else "shipped"
    return Place(content["name"], content["description"], round(size, 1), source, path)


def locate(model: str | PathLike[str], cache: Path | None = None) -> Path:
    """Return the folder of a model that is given by its path, its name or its URL; from a URL it is fetched once.

    Raises
    ------
    ConfigError
        If there is no such model.
    RunError
        If the URL cannot be reached, or what is there is damaged.
    """
    text = os.fspath(model)
    if URL.match(text):
        return _fetched(text.rstrip("/").removesuffix(f"/{folder.MODEL}"), cache_folder(cache))
    path = Path(text)
    if folder.is_model(path):
        return path
    if (path / "config.yaml").is_file():
        raise ConfigError(f"{path} is a run directory; give --run {path}, or export it with 'watercli export'")
    places = known(cache)
    named = [place.path for place in places if place.name == text]
    if named:
        return named[0]
    raise ConfigError(
        f"There is no model '{text}'{nearest(text, [place.name for place in places])}; give a name that 'watercli "
        "models' lists, the folder of a model, or its URL"
    )


def _fetched(url: str, cache: Path) -> Path:
    """Return the folder in the cache of a model at a URL."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", url.rpartition("/")[2]) or "model"
    path = cache / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    if folder.is_model(path):
        log.info("Taking %s from the cache, %s", url, path)
        return path
    log.info("Fetching %s to %s", url, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path), written_folder(path) as partial:
        partial.mkdir()
        _fetch(f"{url}/{folder.MODEL}", partial / folder.MODEL)
        content = folder.about(partial)
        for file in folder.files(content):
            _fetch(f"{url}/{file}", partial / file)
        folder.verify(partial, content)
        (partial / folder.CARD).write_text(card.text(content), encoding="utf-8")
        (partial / ORIGIN).write_text(url, encoding="utf-8")
    return path


def _fetch(url: str, file: Path) -> None:
    """Copy what is at a URL into a file.

    Raises
    ------
    ConfigError
        If there is nothing, or the kind of URL is not known.
    RunError
        If it cannot be reached.
    """
    try:
        if url.startswith(("http://", "https://")):  # fsspec would need a further package for these
            with urllib.request.urlopen(url, timeout=PATIENCE) as source, file.open("wb") as out:
                shutil.copyfileobj(source, out)
        else:
            with fsspec.open(url, "rb") as source, file.open("wb") as out:
                shutil.copyfileobj(source, out)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise ConfigError(f"There is no model at {url} (HTTP {error.code}); check the address") from error
        raise RunError(f"{url} cannot be fetched (HTTP {error.code}); try again later") from error
    except FileNotFoundError as error:
        raise ConfigError(f"There is no model at {url}; check the address") from error
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{url} cannot be fetched ({error}); give a URL of another kind, or a folder") from error
    except Exception as error:  # each file system of fsspec has errors of its own
        reason = getattr(error, "reason", None) or error
        raise RunError(
            f"{url} cannot be reached ({reason}); without a network, give the folder of a model or a name that "
            "'watercli models' lists"
        ) from error
