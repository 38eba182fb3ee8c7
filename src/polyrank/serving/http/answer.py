"""The answer to one request on its way out: one shape for failures, compressed where wanted."""

from __future__ import annotations

from starlette.types import Message, Send

from polyrank.serving.errors import RequestError
from polyrank.serving.http.encodings import gzipped
from polyrank.serving.http.failures import (
    LATER,
    Headers,
    error_body,
    error_headers,
    phrase,
)

FIRST_ERROR = 400
UNAUTHORIZED = 401
_OURS = frozenset({b"x-request-id", b"x-content-type-options", b"connection"})
_KEPT = frozenset({b"allow", b"www-authenticate"})
_TEXTS = (b"application/json", b"application/openmetrics-text", b"text/")


class Answer:
    """What leaves for the client; it leaves once, whoever speaks first.

    The first message is held until the second is there: so a failure without our shape can be put
    into it, and a body can be compressed.

    Args:
        send: The server's.
        gzip_from: Bytes from which on a body of text is compressed; none where the client does not
            accept it.
    """

    def __init__(self, send: Send, *, gzip_from: int | None) -> None:
        self._send = send
        self._gzip_from = gzip_from
        self._held: Message | None = None
        self._restated: RequestError | None = None
        self._kept: Headers = []
        self._sealed = False
        self.headers: Headers = []
        self.begun = False
        self.status = 0
        self.num_bytes = 0

    async def send(self, message: Message) -> None:
        """Takes what the app says; what it says after a refusal is dropped."""
        if self._sealed:
            return
        if message["type"] == "http.response.start":
            self._held = message
        elif message["type"] == "http.response.body":
            await self._body(message)

    async def refuse(self, error: RequestError, headers: Headers | None = None) -> None:
        """Answers with a failure, unless an answer is already on its way."""
        if self.begun or self._sealed:
            return
        self._sealed = True
        body = error_body(error.message)
        kept = [*error_headers(error.status, body, error.retry_after), *(headers or [])]
        await self._begin(error.status, kept)
        await self._piece(body, more=False)

    async def conclude(self) -> None:
        """To be called when the app is done: sends its failure, if it was not in our shape.

        Not before, since a framework's own failure may come before the error it stands for.

        Raises:
            RuntimeError: It has answered nothing.
        """
        if self._restated is not None:
            await self.refuse(self._restated, self._kept)
        if not self.begun:
            raise RuntimeError("the app returned without an answer")

    async def _body(self, message: Message) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._held is not None:
            start, self._held = self._held, None
            headers: Headers = [(name.lower(), value) for name, value in start.get("headers", [])]
            if start["status"] >= FIRST_ERROR and not _is_json(headers):
                self._restated = RequestError(start["status"], phrase(start["status"]))
                self._kept = [pair for pair in headers if pair[0] in _KEPT]
                return
            if not more and self._worth_packing(body, headers):
                body = await gzipped(body)
                headers = _packed(headers, len(body))
                if self._sealed:
                    return
            await self._begin(start["status"], headers)
        if self._restated is None:
            await self._piece(body, more=more)

    async def _begin(self, status: int, headers: Headers) -> None:
        self.begun = True
        self.status = status
        if status in LATER and not any(name == b"retry-after" for name, _ in headers):
            headers = [*headers, (b"retry-after", b"1")]
        if status == UNAUTHORIZED and not any(name == b"www-authenticate" for name, _ in headers):
            headers = [*headers, (b"www-authenticate", b"Bearer")]
        headers = [pair for pair in headers if pair[0] not in _OURS] + self.headers
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _piece(self, body: bytes, *, more: bool) -> None:
        self.num_bytes += len(body)
        self._sealed = self._sealed or not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def _worth_packing(self, body: bytes, headers: Headers) -> bool:
        if self._gzip_from is None or len(body) < self._gzip_from:
            return False
        names = dict(headers)
        return names.get(b"content-type", b"").startswith(_TEXTS) and (
            b"content-encoding" not in names
        )


def _is_json(headers: Headers) -> bool:
    return dict(headers).get(b"content-type", b"").startswith(b"application/json")


def _packed(headers: Headers, size: int) -> Headers:
    kept = [pair for pair in headers if pair[0] != b"content-length"]
    return [
        *kept,
        (b"content-length", b"%d" % size),
        (b"content-encoding", b"gzip"),
        (b"vary", b"accept-encoding"),
    ]
