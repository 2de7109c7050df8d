"""The text in a file, however it is encoded or compressed; and what to do about files that hold none."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

from watercli.errors import DataError
from watercli.preparation.readers.sources import unreadable
from watercli.preparation.readers.workbook import is_workbook, sheet_as_text

Say = Callable[..., None]
"""Called with a topic, a message and, for a warning, a logging level."""

OTHER_KINDS = {
    b"PK\x03\x04": "is a zip archive; unpack it",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook of before 2007; save it as .xlsx or CSV",
    b"BZh": "is compressed by bzip2; unpack it",
    b"\xfd7zXZ": "is compressed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; unpack it",
    b"\x89HDF": "is NetCDF or HDF5, not text; give its name the ending .nc",
    b"CDF": "is NetCDF, not text; give its name the ending .nc",
    b"PAR1": "is Parquet, not text; give its name the ending .parquet",
}
"""What other files begin with, and what to do about them."""


def text_of(path: Path, name: str, say: Say, sheet: str | None = None) -> str:
    """Return a file's text with plain line ends: UTF-8, UTF-16, or Windows-1252 where it is neither.

    A file compressed by gzip is unpacked. Of an Excel workbook it is the ``sheet`` as CSV.

    Raises
    ------
    DataError
        If it is no text.
    """
    content = _unpacked(path, name)
    if is_workbook(content):
        return sheet_as_text(content, name, sheet, say)
    text = _decoded(content, name, say)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _unpacked(path: Path, name: str) -> bytes:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(name, "text") from error
    for beginning, advice in () if is_workbook(content) else OTHER_KINDS.items():
        if content.startswith(beginning):
            raise DataError(f"{name} {advice}")
    return content


def _decoded(content: bytes, name: str, say: Say) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        say("encoding", f"{name} is read as UTF-16")
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise unreadable(name, "text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        say("encoding", f"{name} is not UTF-8: read as Windows-1252")
        return content.decode("cp1252", errors="replace")
