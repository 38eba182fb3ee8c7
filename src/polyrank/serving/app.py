"""The routes: the Open Inference Protocol v2, ranking, metrics, and what operators change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from polyrank._version import __version__
from polyrank.serving.admin import Admin
from polyrank.serving.errors import RequestError
from polyrank.serving.http import Readiness
from polyrank.serving.openapi import document
from polyrank.serving.protocol import (
    HEADER_LENGTH,
    JSON,
    Answer,
    dumps,
    error_answer,
    live_answer,
    model_answer,
    model_ready_answer,
    ready_answer,
    server_answer,
)
from polyrank.serving.service import Call, Done, Service, spec_in_force

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
OK = 200
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Api:
    """Handlers over a service.

    Args:
        service: Answers.
        readiness: Of the process.
        workers: Threads in which requests are computed.
    """

    def __init__(self, service: Service, readiness: Readiness, workers: Executor) -> None:
        self._service = service
        self._readiness = readiness
        self._workers = workers

    def routes(self) -> list[BaseRoute]:
        """All that clients may ask."""
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        found: list[BaseRoute] = [
            _route("/v2", self.server),
            _route("/v2/", self.server),
            _route("/v2/health/live", self.live),
            _route("/v2/health/ready", self.ready),
            _route("/v1/rank", self.rank, "POST"),
            _route("/v1/models", self.models),
            _route("/v1/models/{model}/example", self.example),
            _route("/v1/stats", self.stats),
            _route("/openapi.json", self.openapi),
            _route("/metrics", self.metrics),
        ]
        for path in (model, version):
            found += [
                _route(path, self.model),
                _route(f"{path}/ready", self.model_ready),
                _route(f"{path}/infer", self.infer, "POST"),
            ]
        return found

    async def live(self, _: Request) -> Response:
        """The process runs; no model is touched."""
        return _response(live_answer())

    async def ready(self, _: Request) -> Response:
        """Every model can answer, and the process is not leaving."""
        ready = self._readiness.ready and self._service.catalog.ready()
        return _response(ready_answer(ready), 200 if ready else 503)

    async def server(self, _: Request) -> Response:
        """What this server is."""
        return _response(server_answer("polyrank", __version__))

    async def model(self, request: Request) -> Response:
        """What a model takes and gives."""
        name, version = _named(request)
        served, desk = await self._computed(self._service.desk, name, version)
        versions = [served.version] if version else self._service.catalog.versions(name)
        return _response(model_answer(spec_in_force(served, desk), versions))

    async def model_ready(self, request: Request) -> Response:
        """Whether a model can answer."""
        name, version = _named(request)
        self._service.catalog.take(name, version)
        ready = self._readiness.ready
        return _response(model_ready_answer(name, ready), 200 if ready else 503)

    async def infer(self, request: Request) -> Response:
        """Predictions and scores of rows, as tensors."""
        name, version = _named(request)
        call, header = _call(request), request.headers.get(HEADER_LENGTH)
        body = await request.body()
        done = await self._computed(self._service.infer, name, version, body, header, call)
        return _done(request, done)

    async def rank(self, request: Request) -> Response:
        """A user's candidates, best first."""
        body = await request.body()
        return _done(request, await self._computed(self._service.rank, body, _call(request)))

    async def models(self, _: Request) -> Response:
        """What is served."""
        return _json(self._service.catalog.describe())

    async def example(self, request: Request) -> Response:
        """A ranking request that this model answers, with made-up values."""
        return _json(await self._computed(self._service.example, request.path_params["model"]))

    async def stats(self, _: Request) -> Response:
        """Latencies and distributions of late, for the console."""
        return _json(await self._computed(self._service.recent.stats))

    async def openapi(self, _: Request) -> Response:
        """This interface, described."""
        return _json(document(self._service.catalog.names))

    async def metrics(self, _: Request) -> Response:
        """For Prometheus."""
        catalog = self._service.catalog
        answering = {name: catalog.take(name) for name in catalog.names if catalog.ready(name)}
        self._service.metrics.serving(answering)
        return Response(self._service.metrics.text(), media_type=PROMETHEUS)

    async def _computed(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, partial(work, *arguments))


def build_app(
    service: Service,
    readiness: Readiness,
    workers: Executor,
    *,
    admin: Admin | None = None,
    further: Sequence[BaseRoute] = (),
) -> Starlette:
    """The app that a ``Guard`` stands before.

    Args:
        service: Answers.
        readiness: Of the process.
        workers: Threads in which requests are computed; one of them ends no sooner than its work.
        admin: What operators may change; null: nothing.
        further: Routes of others, such as the console's.
    """
    routes = Api(service, readiness, workers).routes()
    routes += [] if admin is None else admin.routes()
    app = Starlette(
        routes=[*routes, *further],
        exception_handlers={
            HTTPException: _http_error,
            RequestError: _request_error,
            Exception: _bug,
        },
    )
    app.router.redirect_slashes = False  # a redirection loses the body of a POST
    return app


def _route(path: str, handler: Handler, method: str = "GET") -> Route:
    async def told(request: Request) -> Response:
        request.scope["state"]["route"] = path
        return await handler(request)

    return Route(path, told, methods=[method])


def _named(request: Request) -> tuple[str, str | None]:
    return request.path_params["model"], request.path_params.get("version")


def _call(request: Request) -> Call:
    state = request.state
    return Call(request_id=state.request_id, deadline=state.deadline, stages=state.stages)


def _done(request: Request, done: Done) -> Response:
    request.scope["state"]["candidates"] = done.candidates
    response = _response(done.answer)
    if done.log is not None:
        response.background = BackgroundTask(_logged, request, done.log)
    return response


async def _logged(request: Request, log: Callable[[], object]) -> None:
    """What nobody was told, since it came too late or nobody was there, is not logged."""
    if request.state.status() == OK and not request.state.gone:
        log()


def _response(answer: Answer, status: int = 200) -> Response:
    return Response(answer.body, status_code=status, headers=answer.headers)


def _json(tree: Any) -> Response:
    return Response(dumps(tree), media_type=JSON)


async def _request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    answer = error_answer(error.message)
    return Response(answer.body, status_code=error.status, headers={**answer.headers, **headers})


async def _bug(_: Request, __: Exception) -> Response:
    """What Starlette then raises again, for the guard to log."""
    answer = error_answer("internal error")
    return Response(answer.body, status_code=500, headers=answer.headers)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: "there is nothing at this path", 405: "no such method here"}
    answer = dumps({"error": told.get(error.status_code, str(error.detail))})
    headers = {**(error.headers or {}), "content-type": JSON}
    return Response(answer, status_code=error.status_code, headers=headers)
