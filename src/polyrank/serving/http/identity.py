"""The name a request goes by in answers and logs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

MAX_REQUEST_ID = 128
"""Characters of a request id."""
_SAFE = re.compile(rb"[A-Za-z0-9._:-]{1,%d}" % MAX_REQUEST_ID)


def request_id(offered: Sequence[bytes]) -> str:
    """The id a client chose, if it is one, short and harmless, else a new one.

    >>> request_id([b"checkout-42"])
    'checkout-42'
    >>> len(request_id([b"${jndi:ldap://x}"])), len(request_id([b"a", b"b"]))
    (32, 32)
    """
    if len(offered) == 1 and _SAFE.fullmatch(offered[0]):
        return offered[0].decode("ascii")
    return os.urandom(16).hex()
