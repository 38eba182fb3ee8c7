"""A queue bounded by bytes that never makes the one who adds wait."""

from __future__ import annotations

import threading
from collections import deque

from polyrank.serving.predictions.answer import Answer


class Waiting:
    """Answers on their way to the disk.

    Args:
        max_bytes: Of all that wait together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._answers: deque[tuple[Answer, int]] = deque()
        self._bytes = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""
        return self._closed

    def offer(self, answer: Answer, size: int) -> bool:
        """Add it, unless it is full or closed."""
        with self._changed:
            if self._closed or self._bytes + size > self._max_bytes:
                return False
            self._answers.append((answer, size))
            self._bytes += size
            self._changed.notify()
            return True

    def take(self, timeout: float | None) -> Answer | None:
        """The oldest; null where none came in time, or none will come any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._answers or self._closed, timeout)
            if not self._answers:
                return None
            answer, size = self._answers.popleft()
            self._bytes -= size
            return answer

    def close(self) -> None:
        """Take no more; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
