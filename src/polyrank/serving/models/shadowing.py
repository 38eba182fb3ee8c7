"""A second version beside the first: in its shadow, or answering a share of requests.

Shapes: N candidates of a request.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polyrank.scoring.engines.failures import engine_errors
from polyrank.serving.errors import RequestError
from polyrank.serving.models.comparison import Comparison
from polyrank.serving.models.failures import FAILURES, kind_of
from polyrank.serving.models.served import Served
from polyrank.serving.sampling import is_sampled

log = logging.getLogger("polyrank.serving")

Floats = NDArray[np.float64]
Mode = Literal["shadow", "canary"]
Score: TypeAlias = Callable[[Served], tuple[Floats, float]]
"""Scores of a request's candidates by a version, in the order in which they were asked, and how
many seconds a pass of it over them takes: alone, so that both versions are timed alike."""
WAITING_BYTES = 16 << 20
"""Of all requests that wait to be compared, as they came: in memory some four times as much."""
MAX_ERRORS = 10
"""Of a canary: after these it answers no more."""


class Background:
    """One thread that does what may wait, and drops what would pile up.

    Args:
        size: How much may wait.
        num_bytes: That what waits may hold, beside one that holds more by itself.
        failed: Told what failed, whatever was thrown; then the thread goes on.
    """

    def __init__(
        self, size: int, failed: Callable[[BaseException], None], num_bytes: int = WAITING_BYTES
    ) -> None:
        self._failed = failed
        self._waiting: queue.Queue[tuple[Callable[[], None], int]] = queue.Queue(max(1, size))
        self._num_bytes, self._held = num_bytes, 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, work: Callable[[], None], num_bytes: int = 0) -> bool:
        """Have it done some time; False where too much waits. Never waits itself.

        Args:
            work: What to do.
            num_bytes: That it holds until it is done.
        """
        with self._lock:
            if self._held and self._held + num_bytes > self._num_bytes:
                return False
            try:
                self._waiting.put_nowait((work, num_bytes))
            except queue.Full:
                return False
            self._held += num_bytes
        return True

    def close(self) -> None:
        """Do nothing more; what runs is left to itself."""
        self._closed.set()
        self.offer(lambda: None)

    def _run(self) -> None:
        while not self._closed.is_set():
            work, num_bytes = self._waiting.get()
            if self._closed.is_set():
                return
            try:
                with engine_errors():
                    work()
            except FAILURES as error:
                self._failed(error)
            del work  # else its request stays until another one comes
            with self._lock:
                self._held -= num_bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Shadowing:
    """Two versions of a model, of which the second is compared with the first.

    ``shadow``: the first answers, and the second scores a share of requests afterwards.
    ``canary``: the second answers that share, and the first scores it afterwards; after
    ``MAX_ERRORS`` failures of the second the first answers all.
    """

    primary: Served
    second: Served
    share: float
    """Of requests, 0 to 1."""
    mode: Mode
    comparison: Comparison
    background: Background

    @classmethod
    def start(
        cls, primary: Served, second: Served, share: float, mode: Mode = "shadow", size: int = 64
    ) -> Shadowing:
        """Begin to compare.

        Args:
            primary: What answers.
            second: What may answer one day.
            share: Of requests, above 0, at most 1.
            mode: As of the class.
            size: Requests that may wait to be compared.

        Raises:
            RequestError: 400, the share is none, or there is nothing to compare.
        """
        if not 0.0 < share <= 1.0:
            raise RequestError(400, f"`share` must be above 0 and at most 1, got {share}")
        if primary.version == second.version:
            raise RequestError(400, f"version {second.version} answers already")
        comparison = Comparison()

        def failed(error: BaseException) -> None:
            kind = kind_of(error)
            if comparison.skip(kind):
                _tell(primary, "compared with a second one", kind)

        return cls(
            primary=primary,
            second=second,
            share=share,
            mode=mode,
            comparison=comparison,
            background=Background(size, failed),
        )

    def chosen(self, request_id: str) -> bool:
        """Whether a request is among the share; the same one always is, or never."""
        name = f"{self.second.content}\n{request_id}".encode("utf-8", "surrogatepass")
        return is_sampled(name, self.share)

    def pick(self, request_id: str) -> Served:
        """Which version answers a request."""
        canary = self.mode == "canary" and self.comparison.errors < MAX_ERRORS
        return self.second if canary and self.chosen(request_id) else self.primary

    def compare(self, request_id: str, answered: Served, score: Score, num_bytes: int = 0) -> None:
        """Have both versions score a request that was answered, if it is among the share.

        It returns at once, and whatever becomes of the comparison touches no answer.

        Args:
            request_id: Of the request.
            answered: The version that answered it.
            score: Scores the same request by either version.
            num_bytes: Of the request.
        """
        if answered not in (self.primary, self.second) or not self.chosen(request_id):
            return

        def work() -> None:
            first_N, first = score(self.primary)
            try:
                with engine_errors():
                    second_N, second = score(self.second)
            except FAILURES as error:
                self.failed(kind_of(error))
                return
            if np.isfinite(second_N).all():
                self.comparison.add(first_N, second_N, first, second)
            else:
                self.failed("not finite")

        if not self.background.offer(work, num_bytes):
            self.comparison.skip()

    def failed(self, kind: str) -> None:
        """Count that the second version failed, and log the first failure of its kind; where it was
        to answer, the first version does."""
        if self.comparison.error(kind):
            _tell(self.second, f"in {self.mode} of {self.primary.version}", kind)

    def with_pair(self, primary: Served, second: Served) -> Shadowing:
        """The same comparison, after value models changed."""
        return replace(self, primary=primary, second=second)

    def close(self) -> None:
        """Compare no more."""
        self.background.close()

    def summary(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "mode": self.mode,
            "share": self.share,
            "primary": self.primary.version,
            "second": self.second.version,
            "halted": self.mode == "canary" and self.comparison.errors >= MAX_ERRORS,
            **self.comparison.summary(),
        }


def _tell(served: Served, role: str, kind: str) -> None:
    """Never what was thrown in full: it may hold what a client sent."""
    told = "model %s: version %s, %s, failed: %s; further ones of that kind are only counted"
    log.warning(told, served.model, served.version, role, kind)
