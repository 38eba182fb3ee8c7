"""One connection: uvicorn's HTTP/1.1, with an end to everybody's patience."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from uvicorn.server import ServerState

from polyrank.serving.errors import RequestError
from polyrank.serving.http.failures import (
    busy,
    error_body,
    error_headers,
    header_lines,
    ready_made,
)
from polyrank.serving.http.finished import NO_ROUTE, Finished
from polyrank.serving.http.guard import Guard
from polyrank.serving.http.identity import request_id
from polyrank.serving.http.limits import Limits
from polyrank.serving.http.patience import PatientTransport
from polyrank.serving.http.plain import plain_request
from polyrank.serving.http.strict import StrictConnection

LAST_CALL_SECONDS = 0.25
"""For which a connection without a request stays open after the server stopped accepting."""
READ_BYTES = 64 * 1024
"""Taken from a socket at once. asyncio makes room for four times as many before each read, which
the allocator asks the kernel for, page by page: 20 us of CPU, more than all else a refusal costs.
"""
_BLANK = b"\r\n\r\n"
_SPARE_CONNECTIONS = 16
"""Above the bound, that are told so before they are closed."""


class GuardedConfig(uvicorn.Config):
    """uvicorn's configuration for a guarded app.

    Args:
        guard: The app.
        max_connections: That may be open at once.
    """

    def __init__(self, guard: Guard, *, max_connections: int, backlog: int) -> None:
        self.guard = guard
        self.max_connections = max_connections
        self.last_call = False
        limits = guard.limits
        super().__init__(
            guard,
            http=GuardedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=backlog,
            timeout_keep_alive=math.ceil(limits.idle_seconds) + 1,
            # Declared as whole seconds, and handed to asyncio, which takes parts of one.
            timeout_graceful_shutdown=limits.drain_seconds,  # type: ignore[arg-type]
        )


class GuardedProtocol(H11Protocol):
    """A connection whose client must send its headers, read its answers and leave in time."""

    conn: StrictConnection
    config: GuardedConfig

    def __init__(
        self,
        config: GuardedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = StrictConnection(config.guard.limits)
        self._began = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._awaits_headers = False
        self._write_timer: asyncio.TimerHandle | None = None
        self._discarded = 0
        self._refused = False
        self._unread_answer = False
        self._patient: PatientTransport

    @property
    def _limits(self) -> Limits:
        return self.config.guard.limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock of the first request, or says that there is no room."""
        transport.set_write_buffer_limits(high=0)
        vars(transport)["max_size"] = READ_BYTES  # what asyncio's own transports read by
        self._patient = PatientTransport(
            transport, is_sending=self._is_sending, seconds=self._limits.linger_seconds
        )
        super().connection_made(self._patient)
        num_over = len(self.connections) - self.config.max_connections
        if num_over > _SPARE_CONNECTIONS:
            transport.abort()
        elif num_over > 0:
            self._refuse(busy("too many connections are open"))
        elif self.config.last_call:
            self._await(LAST_CALL_SECONDS, self._say_goodbye)
        else:
            self._await_headers()

    def data_received(self, data: bytes) -> None:
        """Reads on; what a refused client still sends is counted and dropped."""
        if self._patient.is_closing():
            self._discarded += len(data)
            if self._discarded > self._limits.max_body_bytes:
                self._patient.abort()
            return
        if self._is_at_rest and self._turned_away(data):
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the app, if it is at work, that nobody waits."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.scope["state"]["gone"] = True
        self._stop_timer()
        self._unread_answer = False
        self.resume_writing()
        self._patient.lost()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Turns to the next request once this answer is read, so that nobody piles them up."""
        self._unread_answer = self.flow.write_paused and not self._patient.is_closing()
        if not self._unread_answer:
            super().on_response_complete()
            self._watch()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.write_seconds, self._patient.abort)

    def resume_writing(self) -> None:
        """The client has read all there was."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if self._unread_answer:
            self.on_response_complete()

    def shutdown(self) -> None:
        """Answers what was asked; a request that is on its way still comes through."""
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()
        elif self.conn.is_between_requests:
            self._await(LAST_CALL_SECONDS, self._say_goodbye)

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, or too much of it."""
        self._refuse(self.conn.refusal or RequestError(400, msg))

    def _should_upgrade(self) -> bool:
        return False

    def _is_sending(self) -> bool:
        return self._refused or self.conn.is_sending

    @property
    def _is_at_rest(self) -> bool:
        """Whether the next byte is the first one of a request, and the answer could leave now."""
        return (
            self.config.guard.may_turn_away
            and self.conn.is_fresh
            and not self.flow.write_paused
            and not self.config.guard.readiness.leaving
        )

    def _turned_away(self, data: bytes) -> bool:
        """Answers a request that the load forbids, without the machinery of those that are served.

        What is refused this way never reaches h11, whose state stays as it was: between requests.
        That is where the connection is, too. ``data`` begins where the request before it ended
        (h11 was idle and holds no byte), and ``plain_request`` takes it only if it is one whole
        request by any reading, so what comes next is again the first byte of one; the answer is
        written whole, after all others, and has a length. So neither side can take a byte of one
        message for one of another. Anything else is left to h11, from its first byte on.
        """
        began, guard = time.monotonic(), self.config.guard
        request = plain_request(data, self._limits)
        if request is None:
            return False
        error = guard.turned_away(request, self.client)
        if error is None:
            return False
        offered = request.headers.get(b"x-request-id")
        name = request_id([] if offered is None else [offered])
        first, last = ready_made(error.status, error.message, error.retry_after)
        headers = [*self.server_state.default_headers, (b"x-request-id", name.encode())]
        self._unset_keepalive_if_required()
        self._patient.write(first + header_lines(headers) + last)
        self._await(self._limits.idle_seconds, self._say_goodbye)
        guard.report(
            Finished(
                request_id=name,
                method="POST",
                route=NO_ROUTE,
                status=error.status,
                seconds=time.monotonic() - began,
                bytes_in=request.num_bytes,
                bytes_out=len(last) - last.index(_BLANK) - len(_BLANK),
            )
        )
        return True

    def _watch(self) -> None:
        """Sets the clock that fits what the client has to do next."""
        if self._patient.is_closing() or not self.conn.is_between_requests:
            self._stop_timer()
        elif self.conn.num_waiting_bytes:
            if not self._awaits_headers:
                self._await_headers()
        elif not self._awaits_headers or self.cycle is not None:
            last = self.config.last_call
            patience = LAST_CALL_SECONDS if last else self._limits.idle_seconds
            self._await(patience, self._say_goodbye)

    def _await_headers(self) -> None:
        self._began = time.monotonic()
        self._await(self._limits.header_seconds, self._headers_too_slow)
        self._awaits_headers = True

    def _await(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        self._awaits_headers = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say_goodbye(self) -> None:
        self.conn.send(h11.ConnectionClosed())
        self._patient.close()

    def _headers_too_slow(self) -> None:
        if self.conn.num_waiting_bytes:
            self._refuse(RequestError(408, "the headers were sent too slowly"))
        else:
            self._patient.close()

    def _refuse(self, error: RequestError) -> None:
        """Answers on the connection's own account and closes it."""
        self._stop_timer()
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            self._silence_cycle(error.status)
            if self.conn.our_state is not h11.SEND_RESPONSE:
                self._patient.abort()
                return
        name = request_id([])
        body = error_body(error.message)
        headers = [
            *error_headers(error.status, body, error.retry_after),
            (b"x-request-id", name.encode()),
            (b"connection", b"close"),
        ]
        reason = STATUS_PHRASES[error.status]
        answer = (
            h11.Response(status_code=error.status, headers=headers, reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        self._patient.write(b"".join(self.conn.send(event) for event in answer))
        self._patient.close()
        self._report(name, error.status, len(body))

    def _silence_cycle(self, status: int) -> None:
        """The app, waiting for the rest of a body that will not come, is told it is over."""
        self.cycle.scope["state"]["refused"] = status
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _report(self, name: str, status: int, num_bytes: int) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            return
        self.config.guard.report(
            Finished(
                request_id=name,
                method=NO_ROUTE,
                route=NO_ROUTE,
                status=status,
                seconds=time.monotonic() - self._began,
                bytes_out=num_bytes,
            )
        )
