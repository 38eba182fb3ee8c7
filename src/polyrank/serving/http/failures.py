"""What a client is told when it gets no answer: one short object, always of the same shape."""

from __future__ import annotations

import json
from functools import lru_cache
from http import HTTPStatus

from polyrank.serving.errors import MAX_MESSAGE, RequestError

RETRY_AFTER_SECONDS = 1
"""Told to clients where nothing better is known."""
LATER = frozenset({429, 503})
"""Statuses of requests that may be made again."""

Headers = list[tuple[bytes, bytes]]


def error_body(message: str) -> bytes:
    """``{"error": message}``, the message cut at ``MAX_MESSAGE`` characters.

    >>> error_body("no such model")
    b'{"error":"no such model"}'
    """
    return json.dumps({"error": message[:MAX_MESSAGE]}, separators=(",", ":")).encode()


def error_headers(status: int, body: bytes, retry_after: int | None = None) -> Headers:
    """Type and length of a refusal's body, and when to come again where that makes sense."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status in LATER:
        headers.append((b"retry-after", b"%d" % (retry_after or RETRY_AFTER_SECONDS)))
    return headers


def phrase(status: int) -> str:
    """A status in words.

    >>> phrase(405), phrase(599)
    ('method not allowed', 'status 599')
    """
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return f"status {status}"


def busy(message: str) -> RequestError:
    """A refusal for lack of room."""
    return RequestError(503, message, retry_after=RETRY_AFTER_SECONDS)


@lru_cache(maxsize=64)
def ready_made(status: int, message: str, retry_after: int | None) -> tuple[bytes, bytes]:
    """A refusal over the wire that keeps its connection, but for further headers: what comes
    before them and what comes after.

    >>> ready_made(503, "later", None)[0]
    b'HTTP/1.1 503 Service Unavailable\\r\\n'
    """
    body = error_body(message)
    headers = [*error_headers(status, body, retry_after), (b"x-content-type-options", b"nosniff")]
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return first, header_lines(headers) + b"\r\n" + body


def header_lines(headers: Headers) -> bytes:
    """Headers over the wire.

    >>> header_lines([(b"retry-after", b"1")])
    b'retry-after: 1\\r\\n'
    """
    return b"".join(b"%b: %b\r\n" % pair for pair in headers)
