"""What operators change while the server runs, behind a bearer token."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from polyrank.errors import suggest
from polyrank.serving.errors import RequestError
from polyrank.serving.http.rates import Rates
from polyrank.serving.models import DEFAULT, Served
from polyrank.serving.protocol import JSON, dumps, loads
from polyrank.serving.service import Service

OPERATORS = "/v1/models/"
"""Paths of what is told of models and changed: the ranking's load keeps nobody from them."""
FOR_ALL = "/example"
"""The end of the one that asks for no token and is computed: with turns of the operators' it would
keep them out."""
MIN_TOKEN = 16
"""Characters that a token has at least."""
_TRIES_PER_SECOND, _TRIES = 0.2, 10
"""Wrong tokens of one client: then it has to wait."""
_CLIENTS = 10_000
MAX_TEXT = 128
"""Characters of a name, or of who asks: it is kept with the value model."""
Change = Callable[[str, Mapping[str, Any]], Any]


class Admin:
    """Routes that change what is served; without a token there are none.

    Args:
        service: Whose catalog is changed.
        token: Of at least ``MIN_TOKEN`` characters.
        workers: Threads in which changes are made.
    """

    def __init__(self, service: Service, token: str, workers: Executor) -> None:
        assert len(token) >= MIN_TOKEN
        self._service = service
        self._catalog = service.catalog
        self._recent = service.recent
        self._token = token.encode()
        self._workers = workers
        self._tries = Rates(_TRIES_PER_SECOND, _TRIES, _CLIENTS)

    def routes(self) -> list[BaseRoute]:
        """All that operators may ask."""
        model = "/v1/models/{model}"
        set_fields = ("profile", "value_model", "expected_version", "by")
        return [
            self._route(f"{model}/status", "GET", self.status, ()),
            self._route(f"{model}/requests", "GET", self.requests, ()),
            self._route(f"{model}/recorded", "GET", self.recorded, ()),
            self._route(f"{model}/value-model", "PUT", self.set_value_model, set_fields),
            self._route(
                f"{model}/value-model/rollback",
                "POST",
                self.roll_back,
                ("profile", "expected_version"),
            ),
            self._route(f"{model}/reload", "POST", self.reload, ()),
            self._route(f"{model}/pin", "POST", self.pin, ("version",)),
            self._route(f"{model}/shadow", "PUT", self.shadow, ("version", "share", "mode")),
            self._route(f"{model}/shadow", "DELETE", self.cancel, ()),
            self._route(f"{model}/promote", "POST", self.promote, ()),
        ]

    def status(self, model: str, _: Mapping[str, Any]) -> Any:
        """What serves, what was refused and why."""
        self._catalog.take(model)
        return self._catalog.status()[model]

    def requests(self, model: str, _: Mapping[str, Any]) -> Any:
        """The last rankings that were asked of a model, the newest first."""
        self._catalog.take(model)
        return [loads(body) for body in self._recent.bodies(model)]

    def recorded(self, model: str, _: Mapping[str, Any]) -> Any:
        """A ranking of the rows that the version in service was tried on."""
        return self._service.recorded(model)

    def set_value_model(self, model: str, asked: Mapping[str, Any]) -> Any:
        """Rank a profile by another value model at once."""
        tree = asked.get("value_model")
        if not isinstance(tree, dict):
            raise RequestError(400, "`value_model` must be an object")
        profile = _text(asked, "profile", DEFAULT)
        served = self._catalog.set_value_model(
            model,
            profile,
            tree,
            by=_text(asked, "by", "api"),
            expected_version=_number(asked, "expected_version"),
        )
        return _in_force(served, profile)

    def roll_back(self, model: str, asked: Mapping[str, Any]) -> Any:
        """Rank a profile as before."""
        profile = _text(asked, "profile", DEFAULT)
        expected = _number(asked, "expected_version")
        return _in_force(self._catalog.rollback(model, profile, expected_version=expected), profile)

    def reload(self, model: str, _: Mapping[str, Any]) -> Any:
        """Look for new versions now."""
        found = self._catalog.reload(model)
        return {
            "serving": found.version,
            "admitted": {name: dict(report) for name, report in found.admitted.items()},
            "refused": dict(found.refused),
        }

    def pin(self, model: str, asked: Mapping[str, Any]) -> Any:
        """Answer by one version, or by the newest."""
        version = None if asked.get("version") is None else _text(asked, "version", "")
        return {"serving": self._catalog.pin(model, version).version}

    def shadow(self, model: str, asked: Mapping[str, Any]) -> Any:
        """Compare a second version with the one that answers."""
        share, mode = asked.get("share"), _text(asked, "mode", "shadow")
        if not isinstance(share, int | float) or isinstance(share, bool):
            raise RequestError(400, "`share` must be a number above 0 and at most 1")
        if mode not in ("shadow", "canary"):
            raise RequestError(400, "`mode` must be 'shadow' or 'canary'")
        version = _text(asked, "version", "")
        started = self._catalog.shadow(
            model, version, float(share), "canary" if mode == "canary" else "shadow"
        )
        return started.summary()

    def cancel(self, model: str, _: Mapping[str, Any]) -> Any:
        """Compare no more."""
        return self._catalog.cancel(model)

    def promote(self, model: str, _: Mapping[str, Any]) -> Any:
        """Answer by the second version."""
        return self._catalog.promote(model)

    def _route(self, path: str, method: str, change: Change, fields: tuple[str, ...]) -> Route:
        return Route(path, self._guarded(path, change, fields), methods=[method])

    def _guarded(
        self, path: str, change: Change, fields: tuple[str, ...]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            request.scope["state"]["route"] = path
            self._authorise(request)
            asked = _asked(await request.body(), fields)
            work = partial(change, request.path_params["model"], asked)
            told = await asyncio.get_running_loop().run_in_executor(self._workers, work)
            return Response(dumps(told), media_type=JSON)

        return handle

    def _authorise(self, request: Request) -> None:
        """Let nobody pass who does not have the token.

        Raises:
            RequestError: 401, there is none; 403, it is another; 429, too many were tried.
        """
        client = request.client.host if request.client else "-"
        given = request.headers.get("authorization", "")
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise RequestError(401, "give the token as `Authorization: Bearer ...`")
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return
        wait = self._tries.wait(client, monotonic())
        if wait > 0:
            raise RequestError(429, "too many wrong tokens", retry_after=int(wait) + 1)
        raise RequestError(403, "this is not the token")


def _asked(body: bytes, fields: tuple[str, ...]) -> Mapping[str, Any]:
    tree = loads(body) if body else {}
    if not isinstance(tree, dict):
        raise RequestError(400, "the body must be a JSON object")
    for name in tree:
        if name not in fields:
            known = suggest(name, fields) if fields else "It has none."
            raise RequestError(400, f"the body has no field {name[:64]!a}. {known}")
    return tree


def _text(asked: Mapping[str, Any], name: str, default: str) -> str:
    value = asked.get(name, default)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise RequestError(400, f"`{name}` must be text of at most {MAX_TEXT} characters")
    return value


def _number(asked: Mapping[str, Any], name: str) -> int | None:
    value = asked.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise RequestError(400, f"`{name}` must be a whole number")
    return value


def _in_force(served: Served, profile: str) -> Any:
    return {
        "version": served.version,
        "profile": profile,
        "value_version": served.values.get(profile, served.values[DEFAULT]),
    }
