"""T27, G1, G2: every route there is, by every credential and every other way to write its path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from polyrank.serving.host import hosted
from polyrank.serving.http import Limits, bind, serving
from polyrank.serving.settings import ServeSettings
from tests.serving.http.wire import Reply, Wire, ask, request
from tests.serving.server import TOKEN

SAFE = {"GET", "HEAD"}
OPEN = {
    "/v2",
    "/v2/",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{model}",
    "/v2/models/{model}/ready",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}",
    "/v2/models/{model}/versions/{version}/ready",
    "/v2/models/{model}/versions/{version}/infer",
    "/v1/rank",
    "/v1/models",
    "/v1/models/{model}/example",
    "/v1/stats",
    "/openapi.json",
    "/metrics",
    "/console",
    "/console/app.js",
    "/console/style.css",
}
"""What clients may ask without a token. All else changes or tells what is an operator's."""
WRONG: dict[str, dict[str, str]] = {
    "none": {},
    "empty": {"authorization": ""},
    "scheme alone": {"authorization": "Bearer"},
    "another scheme": {"authorization": f"Basic {TOKEN}"},
    "no scheme": {"authorization": TOKEN},
    "another token": {"authorization": "Bearer not-this-one-0123456789"},
    "its beginning": {"authorization": f"Bearer {TOKEN[:-1]}"},
    "more than it": {"authorization": f"Bearer {TOKEN}0"},
    "other case": {"authorization": f"Bearer {TOKEN.upper()}"},
    "two of them": {"authorization": f"Bearer x, Bearer {TOKEN}"},
    "another header": {"x_api_key": TOKEN, "cookie": f"authorization=Bearer {TOKEN}"},
    "of a proxy": {"proxy_authorization": f"Bearer {TOKEN}", "x_forwarded_for": "127.0.0.1"},
}
SPELLED: dict[str, Callable[[str], str]] = {
    "doubled slash": lambda path: f"/{path}",
    "doubled inside": lambda path: path[0] + path[1:].replace("/", "//") + "//",
    "dot": lambda path: f"/.{path}",
    "up and down": lambda path: f"/v2/..{path}",
    "escaped dots": lambda path: f"/v2/%2e%2e{path}",
    "escaped slash": lambda path: path.replace("/", "%2f"),
    "escaped letter": lambda path: f"{path[:-1]}%{ord(path[-1]):02x}",
    "escaped twice": lambda path: f"{path[:-1]}%25{ord(path[-1]):02x}",
    "other case": lambda path: path.upper(),
    "parameter": lambda path: f"{path};a=b",
    "backslash": lambda path: path.replace("/", "\\"),
    "null": lambda path: f"{path}%00",
}


@pytest.fixture(scope="module")
def served(bundle: Path) -> Iterator[tuple[int, list[Route]]]:
    """A port, and the routes behind it."""
    tree = ServeSettings(models={"feed": bundle}, limits=Limits(grace_seconds=0))
    with (
        hosted(tree, token=TOKEN) as guard,
        bind("127.0.0.1", 0) as listener,
        serving(guard, listener),
    ):
        assert isinstance(guard.app, Starlette)
        routes = [route for route in guard.app.routes if isinstance(route, Route)]
        assert len(routes) == len(guard.app.routes)
        yield listener.getsockname()[1], routes


def asked(port: int, method: str, path: str, **headers: str) -> Reply:
    body = None if method in SAFE else b"{}"
    with Wire(port) as wire:
        wire.offer(request(method, path, body, content_type="application/json", **headers))
        return wire.reply(bodiless=method == "HEAD")


def calls(routes: list[Route]) -> list[tuple[str, str, str]]:
    """Of every route: its pattern, a path and a method."""
    return [
        (route.path, route.path.replace("{model}", "feed").replace("{version}", "1"), method)
        for route in routes
        for method in sorted(route.methods or set())
    ]


def test_only_these_routes_are_open_and_all_others_want_the_token(
    served: tuple[int, list[Route]],
) -> None:
    port, routes = served
    assert {route.path for route in routes} >= OPEN
    guarded = [call for call in calls(routes) if call[0] not in OPEN]
    assert len({path for path, _, _ in guarded}) >= 8
    for pattern, path, method in calls(routes):
        right = asked(port, method, path, authorization=f"Bearer {TOKEN}")
        assert right.status not in (401, 403, 429), (method, path)
        for kind, headers in WRONG.items():
            reply = asked(port, method, path, **headers)
            if pattern in OPEN:
                assert reply.status == right.status, (method, path, kind)
            else:
                assert reply.status in (401, 403, 429), (method, path, kind)
                assert method == "HEAD" or set(json.loads(reply.body)) == {"error"}
        if pattern not in OPEN:
            assert asked(port, method, f"{path}?token={TOKEN}").status == 401


def test_no_other_spelling_and_no_other_method_reaches_a_route(
    served: tuple[int, list[Route]],
) -> None:
    port, routes = served
    known = {(path, method) for _, path, method in calls(routes)}
    right = {"authorization": f"Bearer {TOKEN}"}
    for path in sorted({path for path, _ in known}):
        for kind, spelled in SPELLED.items():
            reply = asked(port, "GET", spelled(path), **right)
            assert reply.status in (400, 404), (path, kind)
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            if (path, method) not in known:
                override = {"x_http_method_override": "GET", **right}
                assert asked(port, method, path, **override).status == 405, (path, method)


def test_a_slash_more_is_another_path_and_does_nothing(
    served: tuple[int, list[Route]],
) -> None:
    port, routes = served
    for pattern, path, method in calls(routes):
        if pattern not in ("/v2", "/v2/"):
            assert asked(port, method, f"{path}/").status == 404, (path, method)


def series(port: int, turn: int) -> int:
    """How many there are after requests for what is not there."""
    for number in range(12):
        name = f"x{turn}{number}"
        for method in ("GET", "POST", name.upper()):
            asked(port, method, f"/v1/{name}")
        for tree in ({"model": name, "candidates": [1]}, {"candidates": [1], "context": {name: 1}}):
            ask(port, request("POST", "/v1/rank", json.dumps(tree).encode()))
        asked(port, "GET", f"/v2/models/{name}")
    text = ask(port, request("GET", "/metrics")).body.decode()
    return len([line for line in text.splitlines() if line[:1] != "#"])


def test_labels_of_metrics_are_of_a_fixed_set(served: tuple[int, list[Route]]) -> None:
    """G7."""
    series(served[0], 0)
    assert series(served[0], 1) == series(served[0], 2)


def test_without_a_token_there_is_nothing_for_operators(bundle: Path) -> None:
    tree = ServeSettings(models={"feed": bundle}, limits=Limits(grace_seconds=0))
    with (
        hosted(tree) as guard,
        bind("127.0.0.1", 0) as listener,
        serving(guard, listener),
    ):
        assert isinstance(guard.app, Starlette)
        assert {route.path for route in guard.app.routes if isinstance(route, Route)} == OPEN
        port = listener.getsockname()[1]
        for what in ("status", "requests", "reload", "pin", "promote", "shadow", "value-model"):
            sent = request("GET", f"/v1/models/feed/{what}", authorization=f"Bearer {TOKEN}")
            assert ask(port, sent).status == 404
