"""What a request did wrong, with the HTTP status it is answered with."""

from __future__ import annotations

from typing import Literal

MAX_MESSAGE = 512
"""Characters of a message that a client gets."""
Status = Literal[400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 429, 431, 500, 503, 504]


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: Of the answer.
        message: What is wrong, where, and the rule, for the client: no path, no feature's value.
        retry_after: Seconds after which trying again makes sense; of 429 and 503 only.
    """

    def __init__(self, status: Status, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message[:MAX_MESSAGE]
        self.retry_after = retry_after
