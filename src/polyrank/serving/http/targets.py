"""Which requests are looked at: by method, path, host and origin, as they were sent.

A path is what came over the wire, and must already be in the one form that routes are written in:
no escapes, no empty or dotted segments, no parameters. So no two spellings reach one route, and
what is decided about a path holds for all ways to ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from polyrank.serving.errors import RequestError

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Methods that an app is asked about."""
_SEGMENT = rb"[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*"
_PATH = re.compile(rb"/|(?:/%b)+/?" % _SEGMENT)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")


def check_path(raw_path: bytes) -> None:
    """Refuses a path that is not in its plain form.

    Raises:
        RequestError: 404.
    """
    if not _PATH.fullmatch(raw_path):
        raise RequestError(404, "no such path: segments are plain, not empty, not escaped")


def check_host(headers: Mapping[bytes, bytes], allowed: frozenset[str]) -> None:
    """Refuses a host that is not ours, against pages that point their own name at this machine.

    Args:
        headers: Lower-case names.
        allowed: Host names without port, lower-case; all where it is empty.

    Raises:
        RequestError: 400.
    """
    if allowed and host_of(headers.get(b"host", b"").decode("latin-1")) not in allowed:
        raise RequestError(400, "this server does not answer for the host that was asked for")


def check_origin(headers: Mapping[bytes, bytes]) -> None:
    """Refuses what a browser sends in the name of another site's page.

    Raises:
        RequestError: 403.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return
    authority = origin.decode("latin-1").lower().partition("://")[2]
    if not authority or authority != headers.get(b"host", b"").decode("latin-1").lower():
        raise RequestError(403, "pages of other origins may not ask this server")


def host_of(authority: str) -> str:
    """The host of ``host:port``, in lower case; empty where it is none.

    >>> host_of("Rank.example:8080"), host_of("[::1]:80"), host_of("a@b")
    ('rank.example', '[::1]', '')
    """
    match = _AUTHORITY.fullmatch(authority.lower())
    return match["host"] if match else ""
