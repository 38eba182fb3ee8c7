"""An app to guard: it echoes, works for as long as it is told, and remembers what it did."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from polyrank.serving.errors import RequestError
from polyrank.serving.http import Finished, Guard, Limits, Readiness, Server, bind, serving
from tests.serving.http.wire import eventually

RUNNING: list[World] = []
APART = "/work/apart"
"""The beginning of paths with turns of their own."""
FOR_ALL = "-for-all"
"""The end of those without."""


@dataclass
class World:
    """A guarded app in a thread, and what went in and out of it."""

    readiness: Readiness = field(default_factory=Readiness)
    finished: list[Finished] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    guard: Guard = field(init=False)
    server: Server = field(init=False)
    loop: asyncio.AbstractEventLoop | None = None
    port: int = 0

    @property
    def statuses(self) -> list[int]:
        return [each.status for each in self.finished]

    @property
    def ids(self) -> list[str]:
        return [each.request_id for each in self.finished]

    def forget(self) -> None:
        """Comes to rest, without a past."""
        eventually(lambda: not self.server.server_state.tasks)
        assert (self.guard.gate.busy, self.guard.gate.waiting) == (0, 0)
        for past in (self.finished, self.begun, self.done):
            past.clear()

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.loop = asyncio.get_running_loop()
        RUNNING.append(self)
        yield
        RUNNING.remove(self)

    def app(self) -> Starlette:
        return Starlette(
            lifespan=self.lifespan,
            routes=[
                Route("/echo", self.echo, methods=["POST", "PUT", "GET", "DELETE"]),
                Route("/work/{label}", self.work, methods=["POST", "GET"]),
                Route("/big", big),
                Route("/bug", bug),
                Route("/halfway", halfway),
                Route("/slowly", slowly),
                Route("/silent", Silent()),
                Route("/refused/{status:int}", refused),
                Route("/plain/{status:int}", plain),
                Route("/v2/health/live", live),
                Route("/v2/health/ready", self.ready),
            ],
        )

    async def echo(self, request: Request) -> Response:
        body = await request.body()
        request.state.stages["encode"] = 0.001
        request.state.candidates = len(body)
        told = {
            "size": len(body),
            "sha": hashlib.sha256(body).hexdigest(),
            "headers": [name for name, _ in request.headers.items()],
            "remaining": request.state.deadline.remaining(),
        }
        return JSONResponse(told)

    async def work(self, request: Request) -> Response:
        """Works for ``?ms=`` and says so."""
        label: str = request.path_params["label"]
        self.begun.append(label)
        await asyncio.sleep(float(request.query_params.get("ms", "10")) / 1e3)
        self.done.append(label)
        return JSONResponse({"label": label, "gone": request.state.gone})

    async def ready(self, request: Request) -> Response:
        ready = self.readiness.ready
        return JSONResponse({"ready": ready}, 200 if ready else 503)


async def live(request: Request) -> Response:
    return JSONResponse({"live": True})


async def big(request: Request) -> Response:
    size = int(request.query_params["bytes"])
    kind = request.query_params.get("type", "text/plain")
    return Response(b"x" * size, media_type=kind)


async def bug(request: Request) -> Response:
    raise ZeroDivisionError("/secret/path feature=42")


async def halfway(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError("in the middle")

    return StreamingResponse(pieces())


async def slowly(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0.1)
        yield b"two"

    return StreamingResponse(pieces())


class Silent:
    """Answers nothing at all."""

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        return


async def refused(request: Request) -> Response:
    raise RequestError(request.path_params["status"], "as asked" + "!" * 1000)


async def plain(request: Request) -> Response:
    return PlainTextResponse("Traceback: /secret/path", request.path_params["status"])


@contextlib.contextmanager
def world(
    limits: Limits,
    *,
    readiness: Readiness | None = None,
    report: Callable[[Finished], None] | None = None,
) -> Iterator[World]:
    """A server on a free port, in a thread, until the end of the block."""
    it = World(readiness=readiness or Readiness())

    def both(finished: Finished) -> None:
        it.finished.append(finished)
        if report is not None:
            report(finished)

    it.guard = Guard(
        it.app(),
        limits,
        apart=[APART],
        not_apart=[FOR_ALL],
        readiness=it.readiness,
        report=both,
    )
    with bind("127.0.0.1", 0) as listener:
        it.port = listener.getsockname()[1]
        with serving(it.guard, listener) as it.server:
            yield it
