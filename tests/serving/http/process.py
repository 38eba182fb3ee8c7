"""Servers in processes of their own, forked from one that has imported all they need.

``Home`` starts it: ``python -m tests.serving.http.process``; each line it reads is the limits of a
server to start, each it writes says what became of one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from starlette.types import Receive, Scope, Send

from polyrank.serving.http import AccessLog, Guard, Limits, bind, run
from tests.serving.http.app import World
from tests.serving.http.wire import ask, request


class Home:
    """A process that forks servers."""

    def __init__(self) -> None:
        # A pipe that nobody reads yet would be full after 270 lines.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.http.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=Path(__file__).parents[3],
        )

    def start(self, **limits: Any) -> tuple[int, int]:
        """A server's process and port, once it answers."""
        self._say({"limits": limits})
        told = self._hear()
        assert ask(told["port"], request("GET", "/v2/health/live")).status == 200
        return told["pid"], told["port"]

    def ended(self) -> tuple[int, float]:
        """The exit code of the server that was started last, and when it ended."""
        told = self._hear()
        return told["exit"], told["at"]

    def close(self) -> str:
        """All that was written to standard error."""
        self._process.communicate(timeout=20)
        self._errors.seek(0)
        return self._errors.read()

    def _say(self, told: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._errors.close()


def serve(limits: Limits, port: int, listener: Any) -> int:
    """The child's whole life."""
    it = World()
    app = it.app()

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/work/stuck":
            time.sleep(60)
        await app(scope, receive, send)

    with AccessLog() as log:
        it.guard = Guard(stubborn, limits, readiness=it.readiness, report=log)
        return run(it.guard, listener)


def main() -> None:
    for line in sys.stdin:
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = serve(Limits(**json.loads(line)["limits"]), port, listener)
            except ValueError:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        listener.close()
        tell({"pid": child, "port": port})
        _, status = os.waitpid(child, 0)
        tell({"exit": os.waitstatus_to_exitcode(status), "at": time.monotonic()})


def tell(entry: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
