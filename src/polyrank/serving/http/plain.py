"""One whole request of the plainest form, read without a parser: to be turned away cheaply.

>>> from polyrank.serving.http.limits import Limits
>>> sent = b"POST /v1/rank HTTP/1.1\\r\\nhost: a\\r\\ncontent-length: 2\\r\\n\\r\\n{}"
>>> request = plain_request(sent, Limits())
>>> request.path, request.num_bytes
(b'/v1/rank', 2)
>>> plain_request(sent + b"P", Limits()), plain_request(sent[:-1], Limits())
(None, None)
"""

from __future__ import annotations

import re
from typing import NamedTuple

from polyrank.serving.errors import RequestError
from polyrank.serving.http.limits import Limits
from polyrank.serving.http.targets import check_path

_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"[\t\x20-\x7e]*"
_HEAD = re.compile(
    rb"POST (?P<target>(?P<path>[\x21-\x3e\x40-\x7e]+)(?:\?[\x21-\x7e]*)?) HTTP/1\.1\r\n"
    rb"(?P<fields>(?:%b:%b\r\n)+)\r\n" % (_NAME, _VALUE)
)
_NOT_PLAIN = frozenset(
    {
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"upgrade",
        b"http2-settings",
        b"expect",
        b"te",
        b"trailer",
        b"origin",
    }
)
"""Headers that change the framing, the connection or the answer."""
_ENCODINGS = frozenset({b"", b"gzip", b"deflate"})
_LENGTH = re.compile(rb"[0-9]{1,12}")
MILLISECONDS = re.compile(rb"[1-9][0-9]{0,8}")
"""A deadline of a client's."""


class PlainRequest(NamedTuple):
    """A request of which every byte is there.

    Attributes:
        path: As sent.
        headers: Lower-case names, each once.
        num_bytes: Of the body.
    """

    path: bytes
    headers: dict[bytes, bytes]
    num_bytes: int


def plain_request(data: bytes, limits: Limits) -> PlainRequest | None:
    """The request that ``data`` is, if it is exactly one and there is nothing odd about it.

    Where this says that it is one, every reader of HTTP/1.1 finds the same one: the head is lines
    of visible ASCII between CRLFs and nothing else, the first blank line ends it, no header comes
    twice, none says that the body is in chunks, and the one length there is ends where ``data``
    ends. None may mean anything.

    Args:
        data: What came since the request before it was over.
        limits: The bounds.
    """
    head = _HEAD.match(data, 0, limits.max_header_bytes)
    if head is None or len(head["target"]) > limits.max_target_bytes:
        return None
    headers = _headers(head["fields"])
    if headers is None or len(headers) > limits.max_headers:
        return None
    length = headers.get(b"content-length", b"")
    if not _LENGTH.fullmatch(length) or int(length) != len(data) - head.end():
        return None
    request = PlainRequest(head["path"], headers, int(length))
    return request if _is_usual(request, limits) else None


def _headers(lines: bytes) -> dict[bytes, bytes] | None:
    """By name; none where one comes twice, or is more than a word about the body."""
    headers: dict[bytes, bytes] = {}
    for line in lines[:-2].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in headers or name in _NOT_PLAIN:
            return None
        headers[name] = value.strip(b" \t")
    return headers


def _is_usual(request: PlainRequest, limits: Limits) -> bool:
    """Whether nothing but the load could be a reason to refuse it."""
    headers = request.headers
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode()
    deadline = headers.get(b"x-deadline-ms")
    try:
        check_path(request.path)
    except RequestError:
        return False
    return (
        b"host" in headers
        and request.num_bytes <= limits.max_body_bytes
        and (not kind or kind in limits.content_types)
        and headers.get(b"content-encoding", b"").lower() in _ENCODINGS
        and (deadline is None or MILLISECONDS.fullmatch(deadline) is not None)
    )
