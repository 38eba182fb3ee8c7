"""Deadlines: monotonic (F15), never negative, only ever earlier."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.serving.deadline import Deadline

seconds = st.floats(min_value=-1e6, max_value=1e6)


@given(seconds)
def test_what_remains_is_never_below_zero_and_is_zero_once_it_has_passed(after: float) -> None:
    deadline = Deadline.within(after)
    left = deadline.remaining()
    assert 0.0 <= left <= max(0.0, after)
    assert deadline.expired() or after > 0


@given(seconds, seconds)
def test_a_step_gets_the_lesser_of_its_share_and_what_is_left(whole: float, share: float) -> None:
    before = time.monotonic()
    deadline = Deadline.within(whole)
    step = deadline.tightened(share)
    after = time.monotonic()
    assert step.at <= deadline.at
    assert before + min(whole, share) <= step.at <= after + min(whole, share)


def test_f15_setting_the_clock_moves_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline.within(60.0)
    for jump in (-1e9, 1e9):
        monkeypatch.setattr(time, "time", lambda jump=jump: jump)
        assert not deadline.expired()
        assert 59.0 < deadline.remaining() <= 60.0


def test_a_deadline_that_never_passes() -> None:
    assert Deadline.never().remaining() == math.inf
    assert not Deadline.never().expired()
    assert Deadline.never().tightened(0.0).expired()


def test_an_instant_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="monotonic clock, got nan"):
        Deadline(math.nan)
