"""Servers in processes of their own, forked from one that has imported all they need.

Each line it reads is the limits of a server to start, each it writes says what became of one.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

from starlette.types import Receive, Scope, Send

from polyrank.serving.http import AccessLog, Guard, Limits, bind, run
from tests.child import Child, asked, forked, tell
from tests.serving.http.app import World
from tests.serving.http.wire import ask, request


class Home(Child):
    """A process that forks servers."""

    def __init__(self) -> None:
        super().__init__("tests.serving.http.process")

    def start(self, **limits: Any) -> tuple[int, int]:
        """A server's process and port, once it answers."""
        told = self.ask({"limits": limits})
        assert ask(told["port"], request("GET", "/v2/health/live")).status == 200
        return told["pid"], told["port"]

    def ended(self) -> tuple[int, float]:
        """The exit code of the server that was started last, and when it ended."""
        told = self.hear()
        return told["exit"], told["at"]


def serve(limits: dict[str, Any], listener: Any) -> int:
    """The child's whole life."""
    it = World()
    app = it.app()

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/work/stuck":
            time.sleep(60)
        await app(scope, receive, send)

    with AccessLog() as log:
        it.guard = Guard(stubborn, Limits(**limits), readiness=it.readiness, report=log)
        return run(it.guard, listener)


def main() -> None:
    for told in asked():
        with bind("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            child = forked(partial(serve, told["limits"], listener))
        tell({"pid": child, "port": port})
        _, status = os.waitpid(child, 0)
        tell({"exit": os.waitstatus_to_exitcode(status), "at": time.monotonic()})


if __name__ == "__main__":
    main()
