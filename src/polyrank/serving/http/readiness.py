"""Whether this process takes requests: what the readiness route says, and who decides it."""

from __future__ import annotations


class Readiness:
    """Starting, then ready, then leaving; never back.

    A signal handler may call ``leave``: it only sets a flag.

    Args:
        ready: Whether there is nothing to wait for.

    >>> readiness = Readiness(ready=False)
    >>> readiness.begin(); readiness.ready
    True
    >>> readiness.leave(); readiness.ready, readiness.leaving
    (False, True)
    """

    def __init__(self, *, ready: bool = True) -> None:
        self._begun = ready
        self._leaving = False

    @property
    def ready(self) -> bool:
        """What a load balancer should be told."""
        return self._begun and not self._leaving

    @property
    def starting(self) -> bool:
        """Whether requests cannot be answered yet."""
        return not self._begun

    @property
    def leaving(self) -> bool:
        """Whether clients should go elsewhere; what comes is still answered."""
        return self._leaving

    def begin(self) -> None:
        """Models are loaded and warm."""
        self._begun = True

    def leave(self) -> None:
        """The process is about to end."""
        self._leaving = True
