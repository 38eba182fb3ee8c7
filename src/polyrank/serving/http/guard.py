"""What stands between clients and an app: bounds, turns, deadlines, and failures of one shape."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from polyrank.serving.errors import RequestError
from polyrank.serving.http.admission import Abandoned, Budget, Crowded, Gate
from polyrank.serving.http.clients import Proxies
from polyrank.serving.http.exchange import ClientGone, Exchange
from polyrank.serving.http.failures import Headers, busy
from polyrank.serving.http.finished import Report, unreported
from polyrank.serving.http.limits import Limits
from polyrank.serving.http.pace import Pace
from polyrank.serving.http.plain import PlainRequest
from polyrank.serving.http.rates import Rates
from polyrank.serving.http.readiness import Readiness
from polyrank.serving.http.targets import METHODS, check_host, check_origin, check_path

log = logging.getLogger("polyrank.serving")

ALWAYS_ANSWERED = frozenset({"/v2/health/live", "/v2/health/ready", "/metrics"})
"""Paths that are answered whatever the load."""
Peer = tuple[str, int]
"""Address and port."""
PLACES_APART = 2
"""Requests at work at once of those with turns of their own."""
_ALLOW: Headers = [(b"allow", ", ".join(METHODS).encode())]


class Bug(Exception):
    """An error of an app, in the log, by kind and place: its words may be a client's."""


class Guard:
    """An ASGI app around another one, which then sees only whole, bounded requests in their turn.

    Args:
        app: Any ASGI app; ``RequestError`` that it raises is answered with its status.
        limits: The bounds.
        exempt: Paths that need no turn and have no rate, such as health's.
        apart: Beginnings of paths with turns of their own, such as operators', who want in above
            all when there is no room.
        not_apart: Ends of such paths without.
        readiness: While it is starting, all other paths are answered 503; while it is leaving,
            connections are closed after their answer.
        report: Called with every request that is over; must not block.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits | None = None,
        *,
        exempt: frozenset[str] = ALWAYS_ANSWERED,
        apart: Sequence[str] = (),
        not_apart: Sequence[str] = (),
        readiness: Readiness | None = None,
        report: Report = unreported,
    ) -> None:
        self.app = app
        self.limits = limits or Limits()
        self.readiness = readiness or Readiness()
        self.report = report
        self.gate = Gate(self.limits.max_requests, _pace(self.limits))
        self.gate_apart = Gate(PLACES_APART, _pace(self.limits))
        self._apart = tuple(beginning.encode() for beginning in apart)
        self._not_apart = tuple(end.encode() for end in not_apart)
        self.budget = Budget(self.limits.max_buffered_bytes)
        self.num_cut = 0
        self.startup_error: Exception | None = None
        self._exempt = frozenset(path.encode() for path in exempt)
        self._hosts = frozenset(host.lower() for host in self.limits.allowed_hosts)
        self._rates = _rates(self.limits)
        self._proxies = Proxies(self.limits.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or passes on the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(Exchange(scope, receive, send, self.limits, self.budget))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            self.startup_error = error
            raise

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._handle(exchange)
        except RequestError as error:
            await self._refuse(exchange, error)
        except ClientGone:
            exchange.gone = True
        except asyncio.CancelledError:
            self.num_cut += 1
            await self._refuse(exchange, busy("the server is shutting down"))
        except Exception as error:
            unsaid = (Bug, Bug(type(error).__name__), error.__traceback__)
            log.exception("request %s failed", exchange.request_id, exc_info=unsaid)
            await self._refuse(exchange, RequestError(500, "internal error"))
        finally:
            exchange.release()
            self.report(exchange.finished())

    async def _refuse(self, exchange: Exchange, error: RequestError) -> None:
        exchange.answer.headers = self._own_headers(exchange)
        await exchange.answer.refuse(error, _ALLOW if error.status == 405 else None)

    def _own_headers(self, exchange: Exchange) -> Headers:
        headers = [
            (b"x-request-id", exchange.request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        if exchange.unread or self.readiness.leaving:
            headers.append((b"connection", b"close"))
        return headers

    async def _handle(self, exchange: Exchange) -> None:
        self._check(exchange)
        if exchange.raw_path in self._exempt:
            await exchange.read()
            await self._ask(exchange)
            return
        gate = self._gate_of(exchange.raw_path)
        self._admit(exchange, gate)
        await exchange.read()
        await self._take_turn(exchange, gate)
        try:
            await self._in_time(exchange)
        finally:
            gate.leave()

    def _gate_of(self, path: bytes) -> Gate:
        apart = path.startswith(self._apart) and not path.endswith(self._not_apart)
        return self.gate_apart if apart else self.gate

    def _check(self, exchange: Exchange) -> None:
        """What can be decided on the headers alone."""
        if exchange.method not in METHODS:
            raise RequestError(405, "no such method here")
        check_path(exchange.raw_path)
        check_host(exchange.headers, self._hosts)
        check_origin(exchange.headers)
        exchange.check_framing()
        exchange.check_content()
        exchange.start_deadline()

    def _admit(self, exchange: Exchange, gate: Gate) -> None:
        """Turns away before anything is read what would be turned away after it."""
        client = self._client(exchange.scope.get("client"), exchange.headers)
        refusal = self._refusal(client, gate, time.monotonic())
        if refusal is not None:
            raise refusal

    def _refusal(self, client: str | None, gate: Gate, now: float) -> RequestError | None:
        """What the load has against one more request, which is counted."""
        if self.readiness.starting:
            return busy("the server is starting")
        if self._rates is not None and client is not None:
            wait = self._rates.wait(client, now)
            if wait > 0:
                return RequestError(429, "too many requests", retry_after=math.ceil(wait))
        return None if gate.arrive() else busy("too many requests are waiting")

    def _client(self, peer: Peer | None, headers: Mapping[bytes, bytes]) -> str | None:
        """Whose rate counts."""
        if self._rates is None or peer is None:
            return None
        return self._proxies.client(peer[0], headers.get(b"x-forwarded-for", b""))

    @property
    def may_turn_away(self) -> bool:
        """Whether there is anything just now that ``turned_away`` could say."""
        return self.gate.crowded or self.readiness.starting or self._rates is not None

    def turned_away(self, request: PlainRequest, peer: Peer | None) -> RequestError | None:
        """What a request would be told that is refused for the load; none where it would not be,
        or for anything else.

        Args:
            request: Of which nothing is known here yet; counted where it is turned away.
            peer: Where it came from.
        """
        if request.path in self._exempt or self._gate_of(request.path) is not self.gate:
            return None
        try:
            check_host(request.headers, self._hosts)
        except RequestError:
            return None
        client, now = self._client(peer, request.headers), time.monotonic()
        too_often = (
            self._rates is not None and client is not None and self._rates.refuses(client, now)
        )
        if self.gate.crowded or self.readiness.starting or too_often:
            return self._refusal(client, self.gate, now)
        return None

    async def _take_turn(self, exchange: Exchange, gate: Gate) -> None:
        arrived = time.monotonic()
        try:
            if gate.busy < gate.places:
                await gate.enter(exchange.deadline)
            else:
                await self._queue(exchange, gate)
        except Crowded:
            raise busy("too many requests are waiting") from None
        except TimeoutError:
            raise RequestError(504, "the deadline passed while the request waited") from None
        exchange.stages["queue"] = time.monotonic() - arrived

    async def _queue(self, exchange: Exchange, gate: Gate) -> None:
        """Waits for a place, or for the client to lose patience."""
        left = asyncio.ensure_future(exchange.left())
        try:
            await gate.enter(exchange.deadline, unless=left)
        except Abandoned:
            raise ClientGone from None
        finally:
            left.cancel()

    async def _in_time(self, exchange: Exchange) -> None:
        """Lets the app work; past the deadline the client is told, the place is kept till it ends.

        What is dropped still costs, so it still counts.
        """
        if exchange.deadline.expired():
            raise RequestError(504, "the deadline passed while the request waited")
        await exchange.decode()
        loop, late = asyncio.get_running_loop(), list[asyncio.Task[None]]()
        timer = loop.call_later(
            exchange.deadline.remaining(),
            lambda: late.append(loop.create_task(self._too_late(exchange))),
        )
        try:
            await self._ask(exchange)
        finally:
            timer.cancel()
            if late:
                await late[0]

    async def _too_late(self, exchange: Exchange) -> None:
        error = RequestError(504, "the deadline passed while the answer was computed")
        await self._refuse(exchange, error)

    async def _ask(self, exchange: Exchange) -> None:
        exchange.answer.headers = self._own_headers(exchange)
        await self.app(exchange.scope, exchange.receive, exchange.answer.send)
        await exchange.answer.conclude()


def _pace(limits: Limits) -> Pace:
    return Pace(
        length=limits.queue_length,
        seconds=limits.queue_seconds,
        standing_seconds=limits.standing_seconds,
        overload_seconds=limits.overload_seconds,
    )


def _rates(limits: Limits) -> Rates | None:
    if limits.rate_per_second is None:
        return None
    return Rates(limits.rate_per_second, limits.rate_burst, limits.rate_clients)
