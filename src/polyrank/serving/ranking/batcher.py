"""Several requests in one pass, as many as wait, and none waits for others to come.

Whoever finds the engine idle runs at once; those that come meanwhile wait, and the next pass takes
all of them. So an idle server adds no time, and a busy one shares the cost of a pass among many.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep

from polyrank.scoring import Asked, RequestScorer
from polyrank.scoring.engines import EngineError
from polyrank.scoring.scorer import Predictions
from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.models import FAILURES

log = logging.getLogger("polyrank.serving")

MAX_ROWS = 4096
"""Candidates of one pass; a request of more has a pass of its own."""


@dataclass(eq=False)
class _Waiting:
    asked: Asked
    deadline: Deadline
    done: threading.Event = field(default_factory=threading.Event)
    predictions: Predictions | None = None
    failure: BaseException | None = None
    leads: bool = False
    """Its thread runs the next pass."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What one pass held."""

    requests: int
    rows: int
    seconds: float


def untold(_: Pass) -> None:
    """Where nobody counts."""


class Batcher:
    """Passes of one scorer, one at a time; any number of threads may ask.

    Args:
        scorer: Whose engine.
        max_rows: Candidates of one pass.
        linger: Seconds for which a pass waits for more requests to come; 0: none.
        told: Called with each pass; must not block.
    """

    def __init__(
        self,
        scorer: RequestScorer,
        *,
        max_rows: int = MAX_ROWS,
        linger: float = 0.0,
        told: Callable[[Pass], None] = untold,
    ) -> None:
        self._scorer = scorer
        self._max_rows = max_rows
        self._linger = linger
        self._told = told
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._busy = False

    def predict(self, asked: Asked, deadline: Deadline) -> Predictions:
        """(N,) calibrated predictions by task.

        Raises:
            RequestError: 504, the deadline passed before its pass began.
            EngineError, MemoryError, PolyrankError: Its pass failed; a pass that several shared
                and that fails is tried again for each by itself, one at a time.
        """
        mine = _Waiting(asked, deadline)
        with self._lock:
            self._queue.append(mine)
            if not self._busy:
                self._busy = mine.leads = True
        if not mine.leads:
            mine.done.wait()
        if mine.leads:
            self._lead(mine)
        if mine.failure is not None:
            raise mine.failure
        if mine.predictions is None:
            if mine.deadline.expired():
                raise RequestError(504, "the deadline passed before the model's turn")
            raise EngineError("the pass that the request was in ended without a word")
        return mine.predictions

    def _lead(self, mine: _Waiting) -> None:
        """Run the pass that ``mine`` is in, then hand on to one who waits."""
        try:
            if self._linger:
                sleep(min(self._linger, mine.deadline.remaining()))
            self._run(self._take(mine))
        finally:
            with self._lock:
                self._busy = bool(self._queue)
                if self._busy:
                    self._queue[0].leads = True
                    self._queue[0].done.set()

    def _take(self, mine: _Waiting) -> list[_Waiting]:
        """``mine``, which stands first, and those behind it, as many as fit."""
        with self._lock:
            taken = [self._queue.popleft()]
            assert taken[0] is mine
            rows = len(mine.asked)
            while self._queue and rows + len(self._queue[0].asked) <= self._max_rows:
                rows += len(self._queue[0].asked)
                taken.append(self._queue.popleft())
        return taken

    def _run(self, taken: list[_Waiting]) -> None:
        try:
            failure = self._tried(taken)
            shared = failure is not None and len(taken) > 1
            if shared:
                log.warning("a pass of %d requests failed: each is tried by itself", len(taken))
            for each in taken:
                each.failure = self._tried([each]) if shared else failure
                each.done.set()
        finally:
            for each in taken:
                each.done.set()

    def _tried(self, taken: list[_Waiting]) -> BaseException | None:
        """Why the pass of those whose deadline is to come failed, if it did."""
        in_time = [each for each in taken if not each.deadline.expired()]
        try:
            if in_time:
                self._predict(in_time)
        except FAILURES as error:
            return error
        return None

    def _predict(self, kept: list[_Waiting]) -> None:
        began = monotonic()
        found = self._scorer.predict([each.asked for each in kept])
        for each, predictions in zip(kept, found, strict=True):
            each.predictions = predictions
        rows = sum(len(each.asked) for each in kept)
        self._told(Pass(requests=len(kept), rows=rows, seconds=monotonic() - began))
