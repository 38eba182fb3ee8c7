"""Drives ``zygote``: starts jobs in real processes, kills them, makes their system calls fail."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytest

from tests.child import ROOT, Child


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        exit_code: Its exit code, or minus the number of the signal that killed it.
        said: What it said, in order.
    """

    exit_code: int
    said: list[str]

    @property
    def acknowledged(self) -> list[int]:
        """The steps it was told are safe."""
        return [int(word) for word in self.said if word.isdigit()]


class Zygote(Child):
    """One process that forks a child per job."""

    def __init__(self) -> None:
        self._ears, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ears.setblocking(False)
        with mouth:
            super().__init__(
                "tests.storage.zygote",
                str(mouth.fileno()),
                environment={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
                pass_fds=[mouth.fileno()],
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._ears.close()

    def run(self, name: str, directory: Path, *inject: str, log: Path | None = None) -> Ended:
        """Runs a job to its end, with system calls hindered as ``strace -e`` is told."""
        child = self._start(name, directory)
        options = [option for text in inject for option in ("-e", text)]
        if log is not None:
            options += ["-o", str(log)]
        tracer = _attach(child, options) if options else None
        os.kill(child, signal.SIGUSR1)
        ended = self._end()
        if tracer is not None:
            tracer.communicate(timeout=10)
        return ended

    def run_and_kill(self, name: str, directory: Path, seconds: float) -> Ended:
        """Starts a job and kills it (-9) after this time."""
        child = self._start(name, directory)
        os.kill(child, signal.SIGUSR1)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        return self._end()

    def start(self, name: str, directory: Path) -> int:
        """Starts a job and gives its process id; ``end`` kills it."""
        child = self._start(name, directory)
        os.kill(child, signal.SIGUSR1)
        return child

    def end(self, child: int) -> Ended:
        """Kills a job that was started, if it still runs."""
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return self._end()

    def _start(self, name: str, directory: Path) -> int:
        return int(self.ask({"name": name, "directory": str(directory)}))

    def _end(self) -> Ended:
        status = self.hear()
        said = []
        with suppress(BlockingIOError):
            while True:
                said.append(self._ears.recv(65536).decode())
        return Ended(os.waitstatus_to_exitcode(status), said)


def require_strace() -> None:
    """Skips where the tracer is not installed."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt-get install strace)")


def count_calls(log: Path, calls: list[str]) -> Counter[str]:
    """How often each of these calls stands in a log of ``strace``."""
    names = (line.split(maxsplit=1)[-1].split("(")[0] for line in log.read_text().splitlines())
    return Counter(name for name in names if name in calls)


def _attach(child: int, options: list[str]) -> subprocess.Popen[bytes]:
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(child), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    assert b"attached" in line, line
    return tracer
