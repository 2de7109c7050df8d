"""The text in a file, however it is encoded or compressed; and what to do about files that hold none."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
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
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; unpack it",
    b"\x89HDF": "is NetCDF or HDF5, not text; give its name the ending .nc",
    b"CDF": "is NetCDF, not text; give its name the ending .nc",
    b"PAR1": "is Parquet, not text; give its name the ending .parquet",
    b"<!": "is a web page, as that of a failed download or of a login; fetch the file again",
    b"<h": "is a web page, as that of a failed download or of a login; fetch the file again",
    b"{": "is JSON, not a table; write it as CSV",
}
"""What other files begin with, and what to do about them."""
COMPRESSED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}
"""What compressed files begin with, and what unpacks them."""
ENDINGS = (".gz", ".bz2", ".xz", ".zip")
"""Endings of compressed tables, which are no part of a file's name."""


def text_of(path: Path, name: str, say: Say, sheet: str | None = None) -> str:
    """Return a file's text with plain line ends: UTF-8, UTF-16, or Windows-1252 where it is neither.

    A file compressed by gzip, bzip2 or xz is unpacked, and a zip archive of one file. Of an Excel workbook it is the
    ``sheet`` as CSV.

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
        for beginning, decompress in COMPRESSED.items():
            content = decompress(content) if content.startswith(beginning) else content
        if not is_workbook(content):
            content = _only_member(content)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise unreadable(name, "text") from error
    for beginning, advice in () if is_workbook(content) else OTHER_KINDS.items():
        if content.startswith(beginning):
            raise DataError(f"{name} {advice}")
    return content


def _only_member(content: bytes) -> bytes:
    """Return the file in a zip archive of one file; other content as it is."""
    if not content.startswith(b"PK\x03\x04"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            return archive.read(names[0]) if len(names) == 1 else content
    except zipfile.BadZipFile:
        return content


def _decoded(content: bytes, name: str, say: Say) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        say("encoding", f"{name} is read as UTF-16")
        return content.decode("utf-16", errors="replace")
    for parity, codec in ((1, "utf-16-le"), (0, "utf-16-be")):
        if content[parity::2].count(0) > 0.9 * len(content) / 2:
            say("encoding", f"{name} is read as UTF-16")
            return content.decode(codec, errors="replace")
    if b"\0" in content:
        raise unreadable(name, "text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        say("encoding", f"{name} is not UTF-8: read as Windows-1252")
        return content.decode("cp1252", errors="replace")
