"""The console: one page that asks this server only, without a build step.

>>> [route.path for route in console_routes()]
['/console', '/console/app.js', '/console/style.css']
"""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_FILES = (
    ("/console", "page.html", "text/html"),
    ("/console/app.js", "app.js", "text/javascript"),
    ("/console/style.css", "style.css", "text/css"),
)


def console_routes() -> list[Route]:
    """The page and what it is made of."""
    return [_route(*each) for each in _FILES]


def _route(path: str, name: str, media_type: str) -> Route:
    body = files(__name__).joinpath(name).read_bytes()
    headers = {"content-security-policy": POLICY, "referrer-policy": "no-referrer"}

    async def answer(request: Request) -> Response:
        request.scope["state"]["route"] = path
        return Response(body, media_type=media_type, headers=headers)

    return Route(path, answer, methods=["GET"])
