"""Reading ahead: the same items in the same order, read while the model works."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from watercli.data.prefetch import read_ahead


@pytest.mark.parametrize("number", [0, 1, 3])
def test_items_come_in_their_order(number: int) -> None:
    assert list(read_ahead(iter(range(20)), number)) == list(range(20))
    assert list(read_ahead([], number)) == []


@pytest.mark.parametrize("number", [0, 2])
def test_what_fails_is_raised_in_its_turn(number: int) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    found = read_ahead(items(), number)
    assert next(found) == 1
    with pytest.raises(OSError, match="gone"):
        next(found)


def test_it_reads_while_another_item_is_worked_on_and_no_further() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for one in range(100):
            read.append(one)
            yield one

    found = read_ahead(items(), 2)
    assert next(found) == 0
    deadline = time.monotonic() + 10
    while len(read) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    assert read == [0, 1, 2, 3], "one in hand, two ready, one to be put"
    before = threading.active_count()
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before - 1, "no thread is left behind"
