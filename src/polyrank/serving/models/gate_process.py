"""The process that tries bundles, from this side: warm, asked one at a time, killed if late."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from polyrank.serving.models.gate_worker import refused

PROGRAM = "from polyrank.serving.models.gate_worker import main; main()"
START_SECONDS = 120.0
GRACE_SECONDS = 5.0
"""Beyond the deadline of a bundle, for the process to say that it is over."""


class GateProcess:
    """Started by the first question, or ``start``; again after it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._rest, self._fresh = b"", True

    def start(self) -> None:
        """Begin to import, without waiting for it."""
        with self._lock:
            self._started()

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Have a bundle tried; see ``gate_worker.attempt``.

        Args:
            job: With its ``deadline`` in seconds, among the rest.
        """
        with self._lock:
            if self._closed:
                return refused("the server is closing")
            process = self._started()
            try:
                answer = self._heard(process, START_SECONDS) if self._fresh else {}
                self._fresh = False
                if answer is not None:
                    self._send(process, job)
                    answer = self._heard(process, job["deadline"] + GRACE_SECONDS)
            except BrokenPipeError:
                answer = None
            if answer is None:
                self._end()
                return refused("the process that tries bundles died or did not answer")
            return answer

    def close(self) -> None:
        """End it, and what it tries, for good."""
        self._closed = True
        if self._process is not None:
            _kill(self._process)  # whoever waits for an answer hears that there is none
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._rest, self._fresh = b"", True
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the server, and one kill ends all of it
            )
        return self._process

    def _send(self, process: subprocess.Popen[bytes], job: Mapping[str, Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()

    def _heard(self, process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any] | None:
        """The next line; None where there is none in time."""
        assert process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = max(0.0, until - time.monotonic())
            ready, _, _ = select.select([process.stdout], [], [], left)
            chunk = os.read(process.stdout.fileno(), 1 << 20) if ready else b""
            if not chunk:
                return None
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """That of this process, so that the same package is found; no pool of threads before a fork."""
    path = os.pathsep.join(part for part in sys.path if part)
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **one, "PYTHONPATH": path}
