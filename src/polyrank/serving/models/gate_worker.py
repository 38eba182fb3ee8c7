"""The process that tries bundles: it imports once, then forks a process for each.

Lines of JSON come in on standard input and go out on what was standard output. The forked process
has limits of its own and is killed at the deadline, or when it has taken too much memory; whatever
a bundle does to it, this one goes on.
Nothing is computed here, so that no thread exists that a fork would lose. The end of the input is
the end of the parent: then all ends.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from io import BufferedIOBase, RawIOBase
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import torch

from polyrank.errors import PolyrankError
from polyrank.serving.models.engine import found_by
from polyrank.serving.models.served import engine_name
from polyrank.serving.models.settings import MIB
from polyrank.serving.models.trial import try_bundle

Message = dict[str, Any]
LOOK_SECONDS = 0.02
"""Between looks at what a fork has taken."""
ROOM_MIB = 4096
"""Address space it may take beyond the memory it may take. Stacks of threads and arenas of
allocators are address space above all, and libraries that get none for a thread may wait for it for
ever (Arrow does: the scan of a table never ends)."""


def main() -> None:
    """The process."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _import()
    serve(0, out)


def serve(inbox: int, out: RawIOBase | BufferedIOBase) -> None:
    """Say ``ready``, then answer each line of ``inbox``, until its end."""
    out.write(b'{"kind": "ready"}\n')
    rest = b""
    while chunk := os.read(inbox, 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            out.write(_line(attempt(json.loads(line), inbox)))


def attempt(job: Message, inbox: int) -> Message:
    """Try one bundle in a fork: ``passed`` with what it predicts, or ``refused`` with a reason."""
    answers, says = os.pipe()
    most = private_bytes(os.getpid()) + job["memory_mib"] * MIB
    child = os.fork()
    if child == 0:
        _child(job, says)
    os.close(says)
    heard, reason = b"", ""
    until = time.monotonic() + job["deadline"]
    try:
        heard = _hear(answers, inbox, until, lambda: private_bytes(child) > most)
    except TimeoutError:
        reason = f"was not loaded and tried within {job['deadline']:g} seconds"
    except MemoryError:
        reason = too_large(job)
    os.close(answers)
    if reason:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not heard.endswith(b"\n"):
        return refused(reason or ended(os.waitstatus_to_exitcode(status)))
    answer: Message = json.loads(heard)
    return answer


def answer_of(job: Message) -> Message:
    """What the fork says of a bundle."""
    record = None if job["record"] is None else Path(job["record"])
    try:
        tried = try_bundle(Path(job["path"]), found_by(job["engine"]), record)
    except PolyrankError as error:
        return refused(str(error))
    except MemoryError:
        return refused(too_large(job))
    return {
        "kind": "passed",
        "content": tried.bundle.version,
        "engine": engine_name(tried.engine),
        "predictions": {task: value_N.tolist() for task, value_N in tried.predictions.items()},
    }


def refused(reason: str) -> Message:
    """The answer to a bundle that may not serve."""
    return {"kind": "refused", "reason": reason}


def too_large(job: Message) -> str:
    """Why a bundle of too many bytes may not serve."""
    return f"takes more than {job['memory_mib']} MiB of memory to load and try"


def private_bytes(process: int) -> int:
    """What a process has in memory beyond what files hold as well."""
    _, resident, shared = _pages(process)
    return (resident - shared) * resource.getpagesize()


def ended(code: int) -> str:
    """How a process ended without an answer, in words.

    >>> ended(-24)
    'its process was killed by SIGXCPU, the limit of processor time'
    >>> ended(-9)
    'its process was killed by SIGKILL'
    >>> ended(3)
    'its process ended with exit code 3'
    """
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    limit = ", the limit of processor time" if name == "SIGXCPU" else ""
    return f"its process was killed by {name}{limit}"


def _import() -> None:
    """What loading a bundle imports on its way, here once for all forks."""
    torch.empty(1, device="meta").normal_()  # as networks draw first values: torch's compiler
    pa.array(np.zeros(1))


def _hear(answers: int, inbox: int, until: float, greedy: Callable[[], bool]) -> bytes:
    """All that the fork says. Ends this process with its parent.

    Raises:
        TimeoutError: It is not done.
        MemoryError: It was found greedy.
    """
    heard = b""
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([answers, inbox], [], [], min(left, LOOK_SECONDS))
        if answers in ready:
            chunk = os.read(answers, 1 << 20)
            if not chunk:
                return heard
            heard += chunk
        elif inbox in ready:  # nothing is sent while a bundle is tried: the parent is gone
            os.killpg(0, signal.SIGKILL)
        elif greedy():
            raise MemoryError
    raise TimeoutError


def _child(job: Message, says: int) -> NoReturn:
    try:
        _limit(job)
        torch.set_num_threads(job["threads"])
        with os.fdopen(says, "wb") as pipe:
            try:
                answer = answer_of(job)
            except Exception as error:
                pipe.write(_line(refused(f"{type(error).__name__}: {error}")))
                raise
            pipe.write(_line(answer))
    finally:
        os._exit(1)


def _line(answer: Message) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _limit(job: Message) -> None:
    os.nice(job["nice"])
    taken = _pages(os.getpid())[0] * resource.getpagesize()
    space = taken + (job["memory_mib"] + ROOM_MIB) * MIB
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_seconds"], job["cpu_seconds"] + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _pages(process: int) -> tuple[int, int, int]:
    """Of a process: its address space, what of it is in memory, what of that is shared."""
    told = Path(f"/proc/{process}/statm").read_text().split()
    return int(told[0]), int(told[1]), int(told[2])
