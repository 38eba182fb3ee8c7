"""A real server in a thread of the test process, over a real port."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from polyrank.serving.host import hosted
from polyrank.serving.http import bind, serving, url_of
from polyrank.serving.settings import ServeSettings

TOKEN = "a-token-of-the-tests-0123456789"


@dataclass(frozen=True)
class Server:
    """A server and a client of it."""

    url: str
    client: httpx.Client

    def rank(self, body: Any, status: int = 200) -> Any:
        """What ``POST /v1/rank`` answers."""
        return self.ask("POST", "/v1/rank", body, status)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of an answer, which must have this status."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        answer = self.client.request(method, path, content=content, headers=sent)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()

    def change(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """As an operator, who can wait for a bundle to be tried."""
        headers = {"authorization": f"Bearer {TOKEN}", "x-deadline-ms": "60000"}
        return self.ask(method, path, body, status, headers)


@contextmanager
def running(
    models: Mapping[str, Path], *, token: str | None = TOKEN, **settings: Any
) -> Iterator[Server]:
    """A server of these models; ``settings`` as in ``ServeSettings``."""
    limits = {"grace_seconds": 0, "drain_seconds": 2, **settings.pop("limits", {})}
    tree = {"models": dict(models), "limits": limits, **settings}
    with (
        hosted(ServeSettings(**tree), token=token) as guard,
        bind("127.0.0.1", 0) as listener,
        serving(guard, listener),
        httpx.Client(base_url=url_of(listener), timeout=60) as client,
    ):
        yield Server(url_of(listener), client)
