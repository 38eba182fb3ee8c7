"""So many requests at work, so many waiting, and not one more.

>>> import asyncio
>>> from polyrank.serving.deadline import Deadline
>>> nobody = Pace(length=0, seconds=1.0, standing_seconds=1.0, overload_seconds=1.0)
>>> async def one_place() -> tuple[int, int]:
...     gate = Gate(places=1, pace=nobody)
...     await gate.enter(Deadline.within(1.0))
...     try:
...         await gate.enter(Deadline.within(1.0))
...     except Crowded:
...         return gate.busy, gate.waiting
...     return -1, -1
>>> asyncio.run(one_place())
(1, 0)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from polyrank.serving.deadline import Deadline
from polyrank.serving.http.pace import Pace


class Crowded(Exception):
    """Every place is taken and the queue is as long as it may be."""


class Abandoned(Exception):
    """Whoever waited has no reason to wait any more."""


class Gate:
    """A bounded number of places and a bounded queue in front of them, first come first served.

    Belongs to one event loop.

    Args:
        places: Requests at work at once, at least 1.
        pace: Says how many may wait.
    """

    def __init__(self, places: int, pace: Pace) -> None:
        self.places = places
        self.pace = pace
        self.busy = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._line)

    @property
    def crowded(self) -> bool:
        """Whether one more would be turned away."""
        return self.busy >= self.places and len(self._line) >= self.pace.room

    def arrive(self) -> bool:
        """Counts one more, and says whether it may come in now.

        The first one that may not makes the queue a standing one: the last in line, for whom there
        is no room any more, are turned away with it.
        """
        now = time.monotonic()
        self.pace.arrived(now)
        if not self.crowded:
            return True
        cut = self.pace.overflowed(now)
        while cut and len(self._line) > self.pace.room:
            _call_away(self._line.pop(), Crowded())
        return False

    async def enter(
        self, deadline: Deadline, *, unless: asyncio.Future[None] | None = None
    ) -> None:
        """Takes a place, waiting for it in the queue; no place is held where it raises.

        Args:
            deadline: Of waiting.
            unless: What ends the waiting when it is done.

        Raises:
            Crowded: At once, where the queue is full, or when it is cut.
            TimeoutError: At the deadline.
            Abandoned: When ``unless`` is done.
        """
        if self.crowded:
            raise Crowded
        if self.busy < self.places:
            self.busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        if unless is not None:
            unless.add_done_callback(lambda _: _call_away(turn, Abandoned()))
        try:
            async with asyncio.timeout(deadline.remaining()):
                await turn
        except (asyncio.CancelledError, TimeoutError, Abandoned, Crowded):
            self._give_up(turn)
            raise

    def leave(self) -> None:
        """Hands the place to whoever has waited longest."""
        taken = self._hand_over()
        self.pace.departed(time.monotonic(), full=taken)
        self.busy -= not taken

    def _hand_over(self) -> bool:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
        return False

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn in self._line:
            self._line.remove(turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.busy -= not self._hand_over()


def _call_away(turn: asyncio.Future[None], why: Exception) -> None:
    if not turn.done():
        turn.set_exception(why)


class Budget:
    """Bytes that all requests together may hold.

    Args:
        limit: At least 1.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self, size: int) -> bool:
        """Whether ``size`` more bytes fit; where they do, they are held from now on."""
        if self.held + size > self.limit:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        """Frees what was taken."""
        self.held -= size
