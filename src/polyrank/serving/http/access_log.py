"""One line of JSON for each request that is over; nothing that it said stands in it.

>>> import io
>>> from polyrank.serving.http.finished import Finished
>>> stream = io.StringIO()
>>> with AccessLog(stream) as log:
...     log(Finished(request_id="a1", method="POST", route="/v1/rank", status=200, seconds=0.0123))
>>> line = json.loads(stream.getvalue())
>>> line["request_id"], line["route"], line["status"], line["ms"]
('a1', '/v1/rank', 200, 12.3)
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from types import TracebackType
from typing import Self, TextIO

from polyrank.serving.http.finished import Finished

MAX_WAITING = 10_000
"""Lines that may wait for a slow stream; further ones are dropped and counted."""
_PATIENCE_SECONDS = 2.0


class AccessLog:
    """Writes lines from a thread of its own, so that a full disk or pipe delays no request.

    Lines go through the logger ``polyrank.serving.access``, which is kept from other handlers.

    Args:
        stream: Where to; standard error unless it is given.
        max_waiting: Lines that may wait.
    """

    def __init__(self, stream: TextIO | None = None, *, max_waiting: int = MAX_WAITING) -> None:
        self._logger = logging.Logger("polyrank.serving.access", logging.INFO)
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(max_waiting)
        self._waiting = _Waiting(self._lines)
        self._logger.addHandler(self._waiting)
        self._writer = _Writer(stream)
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
        self._thread.start()

    @property
    def num_dropped(self) -> int:
        """Lines that were not written: the stream failed, or was too slow."""
        return self._waiting.num_dropped + self._writer.num_failed

    def __call__(self, finished: Finished) -> None:
        """Takes one request; never blocks."""
        self._logger.info(line_of(finished))

    def close(self) -> None:
        """Writes what waits, unless the stream is stuck."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_PATIENCE_SECONDS)
            self._thread.join(_PATIENCE_SECONDS)

    def _write(self) -> None:
        while (record := self._lines.get()) is not None:
            self._writer.handle(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def line_of(finished: Finished) -> str:
    """A request as JSON in one line of ASCII."""
    entry: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": "request",
        "request_id": finished.request_id,
        "method": finished.method,
        "route": finished.route,
        "status": finished.status,
        "ms": _milliseconds(finished.seconds),
        "stages_ms": {name: _milliseconds(each) for name, each in finished.stages.items()},
        "bytes_in": finished.bytes_in,
        "bytes_out": finished.bytes_out,
    }
    if finished.candidates is not None:
        entry["candidates"] = finished.candidates
    return json.dumps(entry)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)


class _Waiting(QueueHandler):
    """The queue between requests and the stream."""

    num_dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.num_dropped += 1


class _Writer(logging.StreamHandler[TextIO]):
    """The stream, whose failures are counted and not printed to it."""

    num_failed = 0

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)

    def handleError(self, record: logging.LogRecord) -> None:
        self.num_failed += 1
