"""How long a line may be, from how fast it moves and whether more come than can be served.

>>> pace = Pace(length=100, seconds=0.5, standing_seconds=0.02, overload_seconds=1.0)
>>> for instant in range(10):
...     pace.departed(instant / 100, full=True)
>>> pace.room
50
>>> pace.overflowed(now=0.1), pace.room
(True, 2)
"""

from __future__ import annotations

_DEPARTURES = 32
"""Of late, over which the time between two is averaged."""


class Pace:
    """How many may wait, each of whom can expect its turn within a bound on time.

    The bound is a long one, which bursts need, or a short one while there is a standing queue: one
    that more load than can be served would fill, however long it were, and through which every
    request would then have to wait for nothing. That is the idea of controlled delay (Nichols and
    Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012), in servers as two bounds on the
    wait (Maurer, "Fail at Scale", ACM Queue 13(8), 2015). Those call a queue standing that was not
    empty for a while. A server at 70 % of what it can do has such queues all the time where a
    request takes not microseconds but a tenth of that while; so here it is one that has overflowed
    the long bound, until less arrives in ``overload_seconds`` than can be served in them. And
    whoever would wait too long is told on arrival, not after the wait, since the time between
    departures says how long it would be.

    Args:
        length: Who may wait at most, whatever the pace; 0: nobody.
        seconds: The long bound.
        standing_seconds: The short one; one may always wait, so that no place is ever free.
        overload_seconds: Over which what arrives is compared with what can be served.
    """

    def __init__(
        self, *, length: int, seconds: float, standing_seconds: float, overload_seconds: float
    ) -> None:
        self.length = length
        self.seconds = seconds
        self.standing_seconds = standing_seconds
        self.overload_seconds = overload_seconds
        self.standing = False
        self.between = 0.0
        """Seconds between two departures, the mean of late; 0 while there is none."""
        self._samples = 0
        self._last: float | None = None
        self._arrivals = 0
        self._since = 0.0

    @property
    def room(self) -> int:
        """How many may wait."""
        seconds = self.standing_seconds if self.standing else self.seconds
        if self.length * self.between <= seconds:
            return self.length
        return min(self.length, max(1, int(seconds / self.between)))

    def arrived(self, now: float) -> None:
        """Somebody came, to be let in or not."""
        self._arrivals += 1
        passed = now - self._since
        if passed >= self.overload_seconds:
            self.standing = self.standing and self._arrivals * self.between > passed
            self._arrivals, self._since = 0, now

    def overflowed(self, now: float) -> bool:
        """Somebody was not let in; whether the queue is a standing one from now on."""
        if self.standing:
            return False
        self.standing = True
        self._arrivals, self._since = 0, now
        return True

    def departed(self, now: float, *, full: bool) -> None:
        """Somebody left.

        Args:
            now: When.
            full: Whether the place was taken over at once. Only between two such departures is the
                time one that was needed, and not one in which there was nothing to do.
        """
        if self._last is not None:
            self._samples = min(self._samples + 1, _DEPARTURES)
            self.between += (now - self._last - self.between) / self._samples
        self._last = now if full else None
