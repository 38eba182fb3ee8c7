"""Whole servers in processes of their own, forked from one that has imported all they need.

Each line it reads is the settings of a server to start and the bounds of its process, each it
writes says what became of one.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from polyrank.serving.host import hosted
from polyrank.serving.http import AccessLog, bind, run
from polyrank.serving.models import GateProcess
from polyrank.serving.service import Call, Done, Service
from polyrank.serving.settings import ServeSettings
from tests.child import Child, asked, forked, tell
from tests.serving.http.wire import ask, request
from tests.serving.server import TOKEN

JSON = {"content_type": "application/json"}
PATIENCE_SECONDS = 40.0
"""Beyond all that a server may take to end; then it is killed, which its exit code tells."""
OPERATOR = {"authorization": f"Bearer {TOKEN}", "x_deadline_ms": "60000"}


@dataclass
class Process:
    """A server's."""

    pid: int
    port: int
    ready_seconds: float = 0.0
    """From the fork to the first answer that says so."""
    left: bool = False

    def leave(self) -> None:
        """Tell it to go, once: a second signal would end it on the spot."""
        if not self.left:
            self.left = True
            os.kill(self.pid, signal.SIGTERM)  # it is a zombie at most until somebody waits for it

    def ask(self, method: str, path: str, tree: Any = None, **headers: str) -> Any:
        """The status of an answer and what it holds."""
        body = None if tree is None else json.dumps(tree).encode()
        reply = ask(self.port, request(method, path, body, **JSON, **headers))
        return reply.status, json.loads(reply.body)


class Home(Child):
    """A process that forks servers, one at a time."""

    def __init__(self) -> None:
        super().__init__("tests.serving.faults.process")

    @contextmanager
    def serving(
        self,
        models: dict[str, Path],
        bounds: dict[str, int] | None = None,
        *,
        stuck: bool = False,
        **settings: Any,
    ) -> Iterator[Process]:
        """A server, which is told to leave at the end unless it was before.

        Args:
            models: What it serves.
            bounds: Of its process, by name: ``NOFILE``, ``FSIZE``.
            stuck: Whether a ranking never ends.
            settings: As of ``ServeSettings``.
        """
        limits = {"grace_seconds": 0, "drain_seconds": 5, **settings.pop("limits", {})}
        named = {name: str(path) for name, path in models.items()}
        tree = {"models": named, "limits": limits, "watch_seconds": 3600.0, **settings}
        began = time.monotonic()
        told = self.ask({"settings": tree, "bounds": bounds or {}, "stuck": stuck})
        found = Process(told["pid"], told["port"])
        self._wait(found)
        found.ready_seconds = time.monotonic() - began
        try:
            yield found
        finally:
            found.leave()
            self.exit = self._end(found.pid)

    def _wait(self, process: Process) -> None:
        while process.ask("GET", "/v2/health/ready")[0] != 200:
            time.sleep(0.005)

    def _end(self, pid: int) -> int:
        killed = threading.Timer(PATIENCE_SECONDS, os.kill, (pid, signal.SIGKILL))
        killed.start()
        code = int(self.ask({"wait": pid})["exit"])
        killed.cancel()
        return code


def serve(told: dict[str, Any], listener: Any) -> int:
    """The child's whole life."""
    for name, most in told["bounds"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    GateProcess.start = idle  # type: ignore[method-assign]
    if told["stuck"]:
        Service.rank = stuck  # type: ignore[method-assign]
    with AccessLog() as log:
        settings = ServeSettings(**told["settings"])
        with hosted(settings, token=TOKEN, access_log=log) as guard:
            return run(guard, listener)


def idle(self: GateProcess) -> None:
    """Importing costs seconds, and most servers here are asked for no reload; who is, waits."""


def stuck(self: Service, body: bytes, call: Call) -> Done:
    """A ranking that never ends."""
    time.sleep(3600)
    raise AssertionError("nobody waits so long")


def main() -> None:
    for told in asked():
        if "wait" in told:
            _, status = os.waitpid(told["wait"], 0)
            tell({"exit": os.waitstatus_to_exitcode(status)})
            continue
        with bind("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            child = forked(partial(serve, told, listener))
        tell({"pid": child, "port": port})


if __name__ == "__main__":
    main()
