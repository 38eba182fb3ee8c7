"""One request and its answer, from the first byte of one to the last of the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.http.admission import Budget
from polyrank.serving.http.answer import Answer
from polyrank.serving.http.encodings import accepts_gzip, decoded, decoder_of
from polyrank.serving.http.failures import busy
from polyrank.serving.http.finished import CLIENT_GONE, NO_ROUTE, Finished
from polyrank.serving.http.identity import request_id
from polyrank.serving.http.limits import Limits
from polyrank.serving.http.plain import MILLISECONDS
from polyrank.serving.http.targets import METHODS

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class ClientGone(Exception):
    """The client hung up; nobody waits for an answer."""


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; what is said several times, as one list."""
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        joined[name] = joined[name] + b", " + value if name in joined else value
    return joined


class Exchange:
    """What one request brought and what it still holds.

    In ``scope["state"]``, which Starlette shows as ``request.state``, the app finds ``request_id``,
    ``deadline``, ``stages`` (a dictionary of seconds by stage, to be added to) and ``gone`` (True
    once the client has hung up) and ``status`` (a function: that of the answer on its way, 0 before
    it is), and may leave ``route`` and ``candidates``.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, limits: Limits, budget: Budget
    ) -> None:
        self.started = time.monotonic()
        self.scope = scope
        self.limits = limits
        self.method: str = scope["method"]
        self.raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.headers = _joined(scope["headers"])
        self.answer = Answer(send, gzip_from=self._gzip_from())
        self.unread = self._declared_length() != 0
        self.gone = False
        self.deadline = Deadline.never()
        self._receive = receive
        self._budget = budget
        self._held = 0
        self._num_bytes = 0
        self._body: bytes | None = None
        self._enter()

    def _enter(self) -> None:
        self.request_id = request_id(self._all(b"x-request-id"))
        self.state: dict[str, Any] = self.scope.setdefault("state", {})
        self.stages: dict[str, float] = {}
        self.state |= {"request_id": self.request_id, "stages": self.stages, "gone": False}
        self.state["status"] = lambda: self.answer.status

    def _gzip_from(self) -> int | None:
        accepted = accepts_gzip(self.headers.get(b"accept-encoding", b""))
        return self.limits.gzip_from_bytes if accepted else None

    def _all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.scope["headers"] if key == name]

    def _declared_length(self) -> int | None:
        """Bytes of the body; none where it ends when it ends."""
        if b"transfer-encoding" in self.headers:
            return None
        length = self.headers.get(b"content-length", b"0")
        return int(length) if length.isdigit() else None

    def start_deadline(self) -> None:
        """Reads ``X-Deadline-Ms``, a whole number of milliseconds from 1.

        Raises:
            RequestError: 400 where it is none.
        """
        seconds = self.limits.default_deadline_seconds
        offered = self._all(b"x-deadline-ms")
        if offered:
            if len(offered) > 1 or not MILLISECONDS.fullmatch(offered[0]):
                raise RequestError(400, "X-Deadline-Ms must be one whole number from 1")
            seconds = min(int(offered[0]) / 1e3, self.limits.max_deadline_seconds)
        self.deadline = Deadline(self.started + seconds)
        self.state["deadline"] = self.deadline

    def check_framing(self) -> None:
        """Refuses a body whose length is missing, told twice, or too much, before reading it.

        Raises:
            RequestError: 400, 411 or 413.
        """
        chunked = b"transfer-encoding" in self.headers
        if chunked and (b"content-length" in self.headers or self.scope["http_version"] == "1.0"):
            rule = "by Content-Length or, from HTTP/1.1 on, by chunks"
            raise RequestError(400, f"the length of the body must be told once, {rule}")
        length = self._declared_length()
        if length is not None and length > self.limits.max_body_bytes:
            raise RequestError(413, self._too_large())
        if self.method in _WITH_BODY and not chunked and b"content-length" not in self.headers:
            raise RequestError(411, "send Content-Length, 0 where there is no body")

    def check_content(self) -> None:
        """Refuses a body that is said to be what no route reads.

        Raises:
            RequestError: 415.
        """
        kind = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        known = self.limits.content_types
        if self.unread and kind and kind.decode("latin-1") not in known:
            raise RequestError(415, f"Content-Type must be {' or '.join(known)}, or left out")
        decoder_of(self.headers.get(b"content-encoding", b""))

    async def read(self) -> None:
        """Takes the body in, counting.

        Raises:
            RequestError: 413 above the cap, 408 where the client is slow, 504 where its deadline
                passes first, 503 where bodies of all requests fill the memory they may.
            ClientGone: In the middle of it.
        """
        body = bytearray()
        patience = min(self.limits.body_seconds, self.deadline.remaining())
        try:
            async with asyncio.timeout(patience):
                while self.unread:
                    await self._read_piece(body)
        except TimeoutError:
            if self.deadline.expired():
                raise RequestError(504, "the deadline passed while the body was sent") from None
            raise RequestError(408, "the body was sent too slowly") from None
        self._body = bytes(body)
        self.stages["read"] = time.monotonic() - self.started

    async def _read_piece(self, body: bytearray) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        self._num_bytes += len(piece)
        if self._num_bytes > self.limits.max_body_bytes:
            raise RequestError(413, self._too_large())
        self._hold(len(piece))
        body += piece
        self.unread = message.get("more_body", False)

    def _too_large(self) -> str:
        return f"the body may have at most {self.limits.max_body_bytes} bytes"

    def _hold(self, size: int) -> None:
        if not self._budget.take(size):
            raise busy("too many bytes are being received")
        self._held += size

    async def decode(self) -> None:
        """Undoes the body's Content-Encoding; the app sees neither it nor the length it gave.

        Raises:
            RequestError: As ``encodings.decoded`` says.
        """
        decoder = decoder_of(self.headers.get(b"content-encoding", b""))
        if decoder is None or not self._body:
            return
        self._body = await decoded(self._body, decoder, self.limits.max_body_bytes, self._hold)
        told = (b"content-encoding", b"content-length", b"transfer-encoding")
        kept = [pair for pair in self.scope["headers"] if pair[0] not in told]
        self.scope["headers"] = [*kept, (b"content-length", b"%d" % len(self._body))]

    async def receive(self) -> Message:
        """What the app calls: the whole body at once, then the client's leaving."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left()
        return {"type": "http.disconnect"}

    async def left(self) -> None:
        """Returns when the client has hung up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def release(self) -> None:
        """Gives back what it held: an open connection keeps its last exchange."""
        self._body = None
        self._budget.give_back(self._held)
        self._held = 0

    def finished(self) -> Finished:
        """What there is to tell of it."""
        gone = self.gone or self.state["gone"]
        status = self.state.get("refused") or (CLIENT_GONE if gone else self.answer.status)
        return Finished(
            request_id=self.request_id,
            method=self.method if self.method in METHODS else NO_ROUTE,
            route=self._route(),
            status=status,
            seconds=time.monotonic() - self.started,
            stages=self.stages,
            bytes_in=self._num_bytes,
            bytes_out=self.answer.num_bytes,
            candidates=self.state.get("candidates"),
        )

    def _route(self) -> str:
        known = self.state.get("route") or getattr(self.scope.get("route"), "path", None)
        return known if isinstance(known, str) else NO_ROUTE
