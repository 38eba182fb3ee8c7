"""A process that has imported what many tests need and forks what they start, asked in lines of
JSON.

``Child`` is the side of the tests; ``asked``, ``tell`` and ``forked`` are for the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 60.0


class Child:
    """A process, started with this one's Python in the root of the repository.

    Args:
        module: Run as a program.
        words: Its arguments.
        environment: All of its; null: this process's.
        pass_fds: Descriptors that it keeps.
    """

    def __init__(
        self,
        module: str,
        *words: str,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        # A pipe that nobody reads yet would be full after 270 lines.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=ROOT,
            env=environment,
            pass_fds=pass_fds,
        )

    def tell(self, told: object) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """The next of its lines."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.said()
        return json.loads(line)

    def ask(self, told: object) -> Any:
        """Send it a line, and hear one."""
        self.tell(told)
        return self.hear()

    def said(self) -> str:
        """All that it and its children wrote to standard error so far."""
        descriptor = self._said.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def close(self) -> str:
        """Tell it that nothing more comes and wait for its end; as ``said``."""
        self._process.communicate(timeout=PATIENCE_SECONDS)
        return self.said()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._process.poll() is None:
                self.close()
        finally:
            self._process.kill()
            self._process.communicate()
            self._said.close()


def asked() -> Iterator[Any]:
    """What the tests tell, until nothing more comes."""
    return map(json.loads, sys.stdin)


def tell(told: object) -> None:
    """Answer with a line."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def forked(work: Callable[[], int]) -> int:
    """The id of a child that works and exits with what comes of it, or with 99 if it raises."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        code = work()
    except BaseException:  # noqa: BLE001  # a child must never go on in its parent's place
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
