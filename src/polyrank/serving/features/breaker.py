"""A circuit breaker: a store that keeps failing is left alone, then tried with one call.

Closed until ``failures`` calls in a row have failed; then open for ``cooldown_s``; then half open:
one call is let through, and the others are not. If that one succeeds it closes, else it is open
again (M. Nygard, Release It!, 2nd ed., ch. 5).

>>> now = 0.0
>>> breaker = Breaker(failures=2, cooldown_s=1.0, clock=lambda: now)
>>> breaker.failed(), breaker.admits(), breaker.failed(), breaker.admits()
(None, True, None, False)
>>> now = 1.0
>>> breaker.admits(), breaker.admits()
(True, False)
>>> breaker.succeeded()
>>> breaker.state
'closed'
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Decides which calls are made; each that it admits is told of as one of three ends.

    Args:
        failures: In a row, until no call is made.
        cooldown_s: Seconds until one is made again.
        clock: Seconds that never go back.
    """

    def __init__(
        self, failures: int, cooldown_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._opened_at = 0.0
        self._probing = False

    @property
    def state(self) -> State:
        """Where it stands now."""
        with self._lock:
            return self._state()

    def admits(self) -> bool:
        """Whether to make a call now."""
        with self._lock:
            state = self._state()
            if state == "half_open" and not self._probing:
                self._probing = True
                return True
            return state == "closed"

    def succeeded(self) -> None:
        """An admitted call went well."""
        with self._lock:
            self._in_a_row = 0
            self._probing = False

    def failed(self) -> None:
        """An admitted call failed; one that began before it opened keeps it open no longer."""
        with self._lock:
            if self._state() != "open":
                self._in_a_row += 1
                self._opened_at = self._clock()
            self._probing = False

    def undecided(self) -> None:
        """An admitted call says nothing of the store."""
        with self._lock:
            self._probing = False

    def _state(self) -> State:
        if self._in_a_row < self._limit:
            return "closed"
        cold = self._clock() - self._opened_at >= self._cooldown_s
        return "half_open" if cold else "open"
