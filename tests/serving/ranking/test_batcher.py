"""Requests that wait share a pass; where it fails, each is tried by itself, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polyrank.data import Batch
from polyrank.scoring import Asked, RequestScorer, Scorer, TorchEngine
from polyrank.scoring.engines import EngineError, Predictions
from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.ranking import Batcher, Pass
from tests.serving.models import worlds

BUNDLE = worlds.bundle()


class Small:
    """Eager torch with memory for a few rows; the first pass goes on when it is told to."""

    name, precision = "eager", "fp32"

    def __init__(self, most: int) -> None:
        self._inner, self._most = TorchEngine(BUNDLE.model), most
        self._lock, self._now = threading.Lock(), 0
        self.at_once, self.passes = 0, list[int]()
        self.began, self.goes_on = threading.Event(), threading.Event()
        self.throws: Callable[[], Any] = lambda: np.empty(1 << 60, dtype=np.uint8)

    def predict(self, batch: Batch, **more: Any) -> Predictions:
        with self._lock:
            self._now += 1
            self.at_once = max(self.at_once, self._now)
            self.passes.append(len(batch))
        self.began.set()
        try:
            assert self.goes_on.wait(20.0)
            threading.Event().wait(0.005)  # for others, if they are let
            if len(batch) > self._most:
                self.throws()
            return self._inner.predict(batch, **more)
        finally:
            with self._lock:
                self._now -= 1


def asked(scorer: RequestScorer, size: int) -> Asked:
    return scorer.encode_rows(worlds.rows(size))


def asked_together(
    engine: Small, sizes: list[int], deadlines: dict[int, Deadline] | None = None
) -> list[Any]:
    """What came of requests of which all but the first waited for its pass to end."""
    scorer = RequestScorer(Scorer(BUNDLE, engine))
    told: list[Pass] = []
    batcher = Batcher(scorer, told=told.append)
    found: list[Any] = [None] * len(sizes)

    def ask(place: int) -> None:
        deadline = (deadlines or {}).get(place, Deadline.never())
        try:
            found[place] = batcher.predict(asked(scorer, sizes[place]), deadline)
        except (ArithmeticError, EngineError, MemoryError, RequestError) as error:
            found[place] = error

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(sizes))]
    threads[0].start()
    assert engine.began.wait(20.0)
    for count, thread in enumerate(threads[1:], start=1):
        thread.start()
        while len(batcher._queue) < count:
            threading.Event().wait(0.001)
    engine.goes_on.set()
    for thread in threads:
        thread.join(20.0)
        assert not thread.is_alive()
    assert batcher.predict(asked(scorer, 1), Deadline.never()).keys() == set(
        worlds.MIXED.task_names
    )
    return found


def test_after_a_pass_that_failed_each_request_is_tried_by_itself() -> None:
    engine = Small(most=10)
    sizes = [3, 4, 20, 5, 6]
    found = asked_together(engine, sizes)
    assert engine.at_once == 1
    assert engine.passes == [3, 35, 4, 20, 5, 6, 1]
    assert isinstance(found.pop(2), MemoryError)
    sizes.pop(2)
    alone = RequestScorer(Scorer(BUNDLE, TorchEngine(BUNDLE.model)))
    for size, predictions in zip(sizes, found, strict=True):
        [one] = alone.predict([asked(alone, size)])
        for task, value_N in one.items():
            assert np.array_equal(predictions[task], value_N)


def test_what_is_too_late_is_not_tried() -> None:
    engine = Small(most=10)
    found = asked_together(engine, [3, 8, 8, 8], {2: Deadline.within(0.0)})
    assert engine.passes == [3, 16, 8, 8, 1]
    assert isinstance(found[2], RequestError)
    assert found[2].status == 504
    assert [type(each) for each in found[:2]] == [dict, dict]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_ever_for_a_pass_that_ends_as_none_should() -> None:
    engine = Small(most=10)

    def leave() -> None:
        raise KeyboardInterrupt  # what engines throw else is an EngineError, SystemExit too

    engine.throws = leave
    found = asked_together(engine, [3, 8, 8])
    assert engine.passes == [3, 16, 1]
    assert found[1] is None  # its thread ended
    assert isinstance(found[2], EngineError)
