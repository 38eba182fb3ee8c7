"""A line bounded by time: bursts are queued whole, a standing queue is short. Time is virtual."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.serving.deadline import Deadline
from polyrank.serving.http import Limits
from polyrank.serving.http.admission import Crowded, Gate
from polyrank.serving.http.guard import _pace
from polyrank.serving.http.pace import Pace

WORK = 0.006
"""Seconds that a request takes on average, by itself."""


@dataclass
class Day:
    """What became of requests that came at random to one core that computes ``places`` at once."""

    load: float
    number: int
    places: int = 2
    work: float = WORK
    pace: Pace = field(default_factory=lambda: _pace(Limits()))
    seed: int = 0
    start: float = 0.0
    waits: list[float] = field(default_factory=list)
    """From coming to being computed, in order of leaving."""
    refused: list[float] = field(default_factory=list)
    """From coming to being told."""
    lasted: float = 0.0

    def pass_by(self) -> Day:
        """Requests that are computed together end together, as in a pass of a model."""
        dice, line, inside = random.Random(self.seed), deque[float](), list[float]()
        now, came, ends = self.start, 0, float("inf")
        comes = now + dice.expovariate(self.load / self.work)
        while came < self.number:
            if ends <= comes:
                now, waiting = ends, line
                for _ in range(len(inside)):
                    inside.pop()
                    self.pace.departed(now, full=bool(waiting))
                    if waiting:
                        self.waits.append(now - waiting[0])
                        inside.insert(0, waiting.popleft())
            else:
                now, came = comes, came + 1
                comes = now + dice.expovariate(self.load / self.work)
                self._come(now, line, inside)
                if len(inside) != 1 or ends < float("inf"):
                    continue
            each = (self.work * dice.uniform(0.7, 1.3) for _ in inside)
            ends = now + sum(each) if inside else float("inf")
        self.lasted = now - self.start
        return self

    def _come(self, now: float, line: deque[float], inside: list[float]) -> None:
        self.pace.arrived(now)
        if len(inside) < self.places:
            inside.append(now)
            self.waits.append(0.0)
        elif len(line) < self.pace.room:
            line.append(now)
        else:
            cut = self.pace.overflowed(now)
            self.refused.append(0.0)
            while cut and len(line) > self.pace.room:
                self.refused.append(now - line.pop())

    @property
    def goodput(self) -> float:
        """Share of what could have been served."""
        return len(self.waits) / self.lasted * self.work


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * len(seconds))]


@pytest.mark.parametrize("work", [WORK, 0.03])
def test_t33_at_70_percent_bursts_wait_and_nobody_is_refused(work: float) -> None:
    day = Day(0.7, 25_000, work=work).pass_by()
    assert day.refused == []
    assert max(day.waits) > 9 * work  # there were bursts
    assert day.goodput == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("places", [1, 2, 4])
@pytest.mark.parametrize(("load", "seconds"), [(2, 60), (10, 12)])
def test_t12_a_standing_queue_is_short_and_no_place_stands_empty(
    load: float, seconds: float, places: int
) -> None:
    day = Day(load, int(seconds * load / WORK), places).pass_by()
    assert p99(day.waits) <= 0.02 + 2 * places * WORK
    assert day.goodput > 0.97
    assert sum(told > 0 for told in day.refused) <= Limits().queue_length  # cut once, at the start
    assert day.pace.between == pytest.approx(WORK, rel=0.3)
    assert len(day.waits) + len(day.refused) >= int(seconds * load / WORK) - 60


def test_bursts_are_queued_again_when_the_overload_is_over() -> None:
    pace = _pace(Limits())
    over = Day(10, 5_000, pace=pace).pass_by()
    was = [pace.standing]
    after = Day(0.7, 20_000, pace=pace, start=over.lasted).pass_by()
    assert [*was, pace.standing] == [True, False]
    settled = int(2.0 * 0.7 / WORK)
    assert len(after.refused) < settled
    again = Day(0.7, 20_000, pace=pace, start=over.lasted + after.lasted, seed=1).pass_by()
    assert again.refused == []


def test_the_first_request_after_a_silence_ends_an_overload() -> None:
    pace = Pace(length=9, seconds=1.0, standing_seconds=0.01, overload_seconds=1.0)
    for i in range(10):
        pace.departed(i * 0.1, full=True)
    pace.overflowed(1.0)
    for _ in range(50):
        pace.arrived(1.5)
    assert (pace.standing, pace.room) == (True, 1)
    pace.arrived(2.1)
    assert (pace.standing, pace.room) == (True, 1)
    pace.arrived(9.0)
    assert (pace.standing, pace.room) == (False, 9)


@settings(max_examples=30)
@given(st.integers(0, 50), st.lists(st.tuples(st.floats(0, 5), st.booleans())), st.booleans())
def test_the_line_is_never_longer_than_its_bound_and_one_may_always_wait(
    length: int, departures: list[tuple[float, bool]], standing: bool
) -> None:
    pace = Pace(length=length, seconds=0.5, standing_seconds=0.1, overload_seconds=1.0)
    if standing:
        pace.overflowed(0.0)
    steps = [after for after, _ in departures]
    for now, (_, full) in zip(itertools.accumulate(steps), departures, strict=True):
        pace.departed(now, full=full)
        assert min(1, length) <= pace.room <= length
        bound = 0.1 if standing else 0.5
        assert pace.room <= 1 or pace.room * pace.between <= bound * (1 + 1e-9)


def test_time_in_which_nobody_waited_is_not_the_servers() -> None:
    pace = Pace(length=9, seconds=1.0, standing_seconds=1.0, overload_seconds=1.0)
    for instant, full in ((0.0, True), (0.1, False), (50.0, False), (99.0, True), (99.2, True)):
        pace.departed(instant, full=full)
    assert pace.between == pytest.approx(0.15)


def test_a_queue_that_overflows_is_cut_from_its_end() -> None:
    async def day() -> tuple[list[int], list[int]]:
        pace = Pace(length=6, seconds=1.0, standing_seconds=0.025, overload_seconds=60.0)
        for instant in range(10):
            pace.departed(instant / 100, full=True)
        gate, served, cut = Gate(1, pace), list[int](), list[int]()
        await gate.enter(Deadline.never())

        async def visit(number: int) -> None:
            try:
                await gate.enter(Deadline.never())
            except Crowded:
                cut.append(number)
                return
            served.append(number)
            gate.leave()

        visits = [asyncio.ensure_future(visit(number)) for number in range(6)]
        await asyncio.sleep(0)
        assert (gate.waiting, gate.crowded, pace.standing) == (6, True, False)
        assert not gate.arrive()
        assert (gate.waiting, gate.crowded, pace.standing) == (2, True, True)
        gate.leave()
        await asyncio.gather(*visits)
        assert (gate.busy, gate.waiting) == (0, 0)
        assert gate.arrive()
        return served, cut

    served, cut = asyncio.run(day())
    assert served == [0, 1]
    assert sorted(cut) == [2, 3, 4, 5]


@pytest.mark.parametrize(("cores", "places"), [(1, 4), (2, 5), (64, 8)])
def test_the_places_fit_the_cores_that_may_be_used(
    cores: int, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert Limits().max_requests == places
    assert Limits(max_requests=2).max_requests == 2
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert Limits().max_requests == 4
