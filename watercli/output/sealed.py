"""JSON files that carry a hash of their own content, so that a changed one is not taken for what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEAL = b',\n "sha256": "'
"""What the hash of all bytes before it follows."""


class Damaged(ValueError):
    """A file does not hold what was written."""


def sealed(content: Mapping[str, Any]) -> str:
    """Return JSON text of an object, whose last key holds a hash of the text before it."""
    text = json.dumps(content, indent=1).removesuffix("\n}")
    return f'{text}{SEAL.decode()}{hashlib.sha256(text.encode()).hexdigest()}"\n}}'


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the content of a sealed file.

    Raises
    ------
    OSError
        If it cannot be read.
    Damaged
        If it is torn, or holds something else than was written.
    """
    written, _, seal = path.read_bytes().rpartition(SEAL)
    if seal != hashlib.sha256(written).hexdigest().encode() + b'"\n}':
        raise Damaged(f"{path} does not hold what was written")
    return dict(json.loads(written + b"}"))
