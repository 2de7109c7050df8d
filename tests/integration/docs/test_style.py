"""Pages are plain: no sentence is long, and phrases that readers stumbled over stay out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    DOCS / "index.md",
    *(page for folder in ("guide", "explain", "results") for page in sorted((DOCS / folder).glob("*.md"))),
]
IN_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
LONGEST = 40
"""Words in a sentence; a page should stay well below."""
BANNED = re.compile(
    r"\b(can(not)? be told|in earnest|what there is|hidden gauges?|moving-average network|fused (features|embedding)"
    r"|drains|predictor|(?<!nothing )(?<!nowhere )(?<!anything )(?<!everything )else)\b",
    re.IGNORECASE,
)
"""Idioms that are hard for readers of other languages, and names of our own for what has one in the field."""


def prose(text: str) -> Iterator[str]:
    """Yield the paragraphs and list items of a page, without code blocks, tables, headings, comments and links."""
    text = re.sub(r"^```.*?^```$", "\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^(\||#|:::).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(-|\d+\.) ", "\n\n", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.strip():
            yield " ".join(paragraph.split())


def sentences(text: str) -> Iterator[str]:
    for paragraph in prose(text):
        yield from re.split(r"(?<=[.!?])\s+(?=[A-Z`*(])", paragraph)


@IN_PAGE
def test_sentences_are_short(page: Path) -> None:
    long = [s for s in sentences(page.read_text(encoding="utf-8")) if len(s.split()) > LONGEST]
    assert not long, "\n".join(long)


@IN_PAGE
def test_no_banned_phrases(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = [line for line in text.splitlines() if BANNED.search(re.sub(r"`[^`]*`", "", line))]
    assert not found, "\n".join(found)


def test_checks_can_fail() -> None:
    assert BANNED.search("It can be told from the LSTM.")
    assert BANNED.search("What there is, is used.")
    assert BANNED.search("if there is one, else that of the patches")
    assert not BANNED.search("elsewhere, and nothing else")
    assert [len(s.split()) for s in sentences("One two three. Four five.\n\n- Six `seven`\n")] == [3, 2, 2]
    assert not list(sentences("| a table row | is no sentence |\n```\nnor is code\n```\n"))
