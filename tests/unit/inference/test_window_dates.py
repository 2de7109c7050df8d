"""Windows and dates: which window serves a date does not depend on what else is asked for, nor on the store's end."""

from __future__ import annotations

import numpy as np
import pytest

from watercli.inference.window_dates import Dates

LONG = 400


@pytest.mark.parametrize("days", [2, 3, 10, 15, 30])
@pytest.mark.parametrize(("causal_model", "around"), [(False, False), (True, False), (False, True)])
def test_every_date_lies_in_its_window(days: int, causal_model: bool, around: bool) -> None:
    dates = Dates(days, LONG, causal_model, around)
    every = dates.between(0, LONG, 1)
    starts, ends = dates.starts(every), dates.ends(every)
    assert (starts >= 0).all()
    assert (ends < LONG).all()
    assert ((every >= starts) & (every <= ends) & (every - starts < days)).all()
    if around:
        assert (ends - starts == days - 1).all()
        assert (np.abs(every - (starts + ends) / 2) <= days / 4 + 1).all(), "a date far from the middle"
    else:
        assert (ends == every).all()
        assert (every - starts + 1 > days // 2).all()
    assert len(np.unique(starts)) <= len(every) / dates.step + 2


@pytest.mark.parametrize(("causal_model", "around"), [(False, False), (True, False), (False, True)])
def test_a_longer_record_changes_no_window(causal_model: bool, around: bool) -> None:
    for days in (10, 15):
        for record in range(50, 60):
            short, long = (Dates(days, end, causal_model, around) for end in (record, LONG))
            dates = short.between(0, LONG, 1)
            np.testing.assert_array_equal(dates, long.between(0, int(dates[-1]), 1))
            np.testing.assert_array_equal(short.starts(dates), long.starts(dates))
    assert not len(Dates(30, 20, causal_model=False, around=True).between(0, 19, 1))


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 7])
def test_blocks_of_whole_windows_share_none(stride: int) -> None:
    dates = Dates(15, LONG, causal_model=True)
    every = dates.between(0, LONG, stride)
    size = dates.repeats(stride)
    blocks = [set(dates.starts(every[first : first + size])) for first in range(0, len(every), size)]
    assert sum(len(block) for block in blocks) == len(set().union(*blocks))
