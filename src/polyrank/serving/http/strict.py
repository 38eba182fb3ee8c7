"""HTTP/1.1 as h11 reads it, with bounds on what it leaves open."""

from __future__ import annotations

from typing import Any

import h11

from polyrank.serving.errors import RequestError
from polyrank.serving.http.limits import Limits

FREE_PIECES = 1_024
"""Pieces of a body that may be of any size."""
MIN_PIECE = 16
"""Bytes further ones must have on average: a flood of tiny chunks costs more than it brings."""
_VERSIONS = (b"1.0", b"1.1")


class StrictConnection(h11.Connection):
    """The server's end of a connection, which says why it refused.

    Args:
        limits: Their bounds on headers.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__(h11.SERVER, limits.max_header_bytes)
        self._limits = limits
        self._pieces = 0
        self._piece_bytes = 0
        self.refusal: RequestError | None = None

    def next_event(self) -> Any:
        """As h11's.

        Raises:
            h11.RemoteProtocolError: As h11's; ``refusal`` then says how to answer.
        """
        in_body = self.their_state is h11.SEND_BODY
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.refusal = self._translated(error, in_body=in_body)
            raise
        refusal = None
        if isinstance(event, h11.Request):
            self._pieces = self._piece_bytes = 0
            refusal = self._oversized(event)
        elif isinstance(event, h11.Data):
            refusal = self._crumbs(event)
        if refusal is not None:
            self.refusal = refusal
            raise h11.RemoteProtocolError(refusal.message)
        return event

    @property
    def num_waiting_bytes(self) -> int:
        """Bytes received of what is not a whole event yet."""
        return len(self.trailing_data[0])

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is under way in either direction and no byte is waiting."""
        idle = self.our_state is h11.IDLE and self.their_state is h11.IDLE
        return idle and not self.trailing_data[0]

    @property
    def is_between_requests(self) -> bool:
        """Whether the next thing to come is the first line of a request, or the rest of it."""
        return self.their_state is h11.IDLE

    @property
    def is_sending(self) -> bool:
        """Whether the client may still be sending what nobody wants."""
        return self.their_state in (h11.SEND_BODY, h11.ERROR)

    def _translated(self, error: h11.RemoteProtocolError, *, in_body: bool) -> RequestError:
        if in_body:
            return RequestError(400, "the chunks of the body are not as HTTP/1.1 wants them")
        if error.error_status_hint != 431:
            return RequestError(400, "this is not HTTP/1.1")
        if b"\n" not in self.trailing_data[0]:
            return self._too_long_target()
        return self._too_much_header()

    def _oversized(self, request: h11.Request) -> RequestError | None:
        if request.http_version not in _VERSIONS:
            return RequestError(400, "HTTP/1.0 and HTTP/1.1 are spoken here")
        if len(request.target) > self._limits.max_target_bytes:
            return self._too_long_target()
        size = sum(len(name) + len(value) for name, value in request.headers)
        many = len(request.headers) > self._limits.max_headers
        if many or size + len(request.target) > self._limits.max_header_bytes:
            return self._too_much_header()
        return None

    def _crumbs(self, piece: h11.Data) -> RequestError | None:
        self._pieces += 1
        self._piece_bytes += len(piece.data)
        further = self._pieces - FREE_PIECES
        if further > 0 and self._piece_bytes < further * MIN_PIECE:
            return RequestError(400, "the body comes in too many too small chunks")
        return None

    def _too_long_target(self) -> RequestError:
        return RequestError(414, f"the path may have at most {self._limits.max_target_bytes} bytes")

    def _too_much_header(self) -> RequestError:
        limits = self._limits
        rule = f"at most {limits.max_headers} headers of {limits.max_header_bytes} bytes together"
        return RequestError(431, rule)
