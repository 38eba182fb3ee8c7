"""The guard between clients and an app, and the life of the process; it knows no models.

>>> import urllib.request
>>> from starlette.applications import Starlette
>>> from starlette.requests import Request
>>> from starlette.responses import JSONResponse
>>> from starlette.routing import Route
>>> async def hello(request: Request) -> JSONResponse:
...     return JSONResponse({"left": request.state.deadline.remaining() > 0})
>>> guard = Guard(Starlette(routes=[Route("/hello", hello)]), Limits(grace_seconds=0))
>>> with bind("127.0.0.1", 0) as listener, serving(guard, listener):
...     with urllib.request.urlopen(url_of(listener) + "/hello") as answer:
...         answer.status, answer.read()
(200, b'{"left":true}')

``Limits`` bounds what clients may send, how slowly, how many at once, and how long it may take. A
``Guard`` holds an app to them, whatever server runs it; ``run`` is uvicorn with the rest: slow
headers, slow readers, idle and too many connections, and SIGTERM without a lost request.
"""

from polyrank.serving.http.access_log import AccessLog
from polyrank.serving.http.finished import CLIENT_GONE, Finished, Report
from polyrank.serving.http.guard import ALWAYS_ANSWERED, PLACES_APART, Guard
from polyrank.serving.http.limits import Limits
from polyrank.serving.http.readiness import Readiness
from polyrank.serving.http.server import Server, run, serving
from polyrank.serving.http.sockets import bind, url_of

__all__ = [
    "ALWAYS_ANSWERED",
    "CLIENT_GONE",
    "PLACES_APART",
    "AccessLog",
    "Finished",
    "Guard",
    "Limits",
    "Readiness",
    "Report",
    "Server",
    "bind",
    "run",
    "serving",
    "url_of",
]
