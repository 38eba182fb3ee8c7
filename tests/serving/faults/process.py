"""Whole servers in processes of their own, forked from one that has imported all they need.

``Home`` starts it: ``python -m tests.serving.faults.process``; each line it reads is the settings
of a server to start and the bounds of its process, each it writes says what became of one.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from polyrank.errors import PolyrankError
from polyrank.serving.host import hosted
from polyrank.serving.http import AccessLog, bind, run
from polyrank.serving.models import GateProcess
from polyrank.serving.service import Call, Done, Service
from polyrank.serving.settings import ServeSettings
from tests.serving.http.wire import ask, request
from tests.serving.server import TOKEN

ROOT = Path(__file__).parents[3]
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


class Home:
    """A process that forks servers, one at a time."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.faults.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=ROOT,
        )

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
        self._say({"settings": tree, "bounds": bounds or {}, "stuck": stuck})
        told = self._hear()
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
        self._say({"wait": pid})
        code = int(self._hear()["exit"])
        killed.cancel()
        return code

    def said(self) -> str:
        """All that was written to standard error so far."""
        self._said.seek(0)
        return self._said.read()

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
        self._process.communicate(timeout=60)
        self._said.close()


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
    for line in sys.stdin:
        told = json.loads(line)
        if "wait" in told:
            _, status = os.waitpid(told["wait"], 0)
            tell({"exit": os.waitstatus_to_exitcode(status)})
            continue
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = serve(told, listener)
            except (PolyrankError, ValueError, OSError):
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        listener.close()
        tell({"pid": child, "port": port})


def tell(entry: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
