"""Processes that take runs from the parent, one after another; imports are paid once each.

What a process needs it reads from the audit's folder; what it makes it commits there. The parent
sends lines of JSON and hears lines back, so nothing is pickled and a script without a main guard
can start an audit.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from polyrank.audit.cost import RunCost
from polyrank.audit.jobs import Job
from polyrank.errors import PolyrankError
from polyrank.training.signals import StopRequest

POLL_SECONDS = 0.2
GRACE_SECONDS = 20.0
"""What runs get to write a checkpoint when the audit is stopped."""
PROGRAM = "from polyrank.audit.worker import main; main()"

Died = Callable[[Job, str], None]
"""Told of a run whose process ended before it, and how."""


class Watch:
    """What a pool tells of its runs; nothing, here."""

    def begin(self, worker: int, job: Job) -> None:
        """A run starts, or goes on."""

    def step(self, worker: int, step: int, of: int) -> None:
        """How far the run of a worker is."""

    def end(self, worker: int, job: Job, status: str) -> None:
        """A run ended: ``done``, ``failed`` or ``died``."""


class Worker:
    """A process, from the parent's side."""

    def __init__(self, number: int, setup: Mapping[str, Any], threads: int, program: str) -> None:
        self.number = number
        self.job: Job | None = None
        self.ready = False
        self.leaving = False  # stopped by somebody else: it takes no further run
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(threads),
            start_new_session=True,  # Ctrl-C is for the parent, which asks them to stop
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = b""
        self.send(setup)

    def fileno(self) -> int:
        """Of what it says, for selectors."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """One line; a process that is gone shows when it is heard."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def hear(self) -> Iterator[dict[str, Any] | None]:
        """What it said since; None at its end."""
        with suppress(BlockingIOError):
            while chunk := os.read(self.fileno(), 1 << 16):
                self._rest += chunk
            *lines, self._rest = self._rest.split(b"\n")
            yield from map(json.loads, lines)
            yield None
            return
        *lines, self._rest = self._rest.split(b"\n")
        yield from map(json.loads, lines)

    def ask_to_stop(self) -> None:
        """A run that trains makes a checkpoint; any other end is as good."""
        self._process.send_signal(signal.SIGTERM)

    def end(self, seconds: float) -> str:
        """Wait so long, then kill; how it ended."""
        try:
            code = self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        return ended(code)


def ended(code: int) -> str:
    """How a process ended, in words.

    >>> ended(-9)
    'its process was killed by SIGKILL, as the system does where memory runs out'
    """
    if code >= 0:
        return f"its process ended with exit code {code}; standard error says why"
    name = signal.Signals(-code).name
    memory = ", as the system does where memory runs out" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"


class Pool:
    """Some workers over one audit.

    Args:
        setup: The first line for each.
        workers: How many there are at most.
        threads: Of each.
        messages: What asks for a job.
        watch: Told of the runs.
        program: What a worker runs, in Python.
    """

    def __init__(
        self,
        setup: Mapping[str, Any],
        workers: int,
        threads: int,
        message: Callable[[Job], Mapping[str, Any]],
        watch: Watch | None = None,
        program: str = PROGRAM,
    ) -> None:
        self._setup, self._threads, self._message = setup, threads, message
        self._program = program
        self._watch = watch or Watch()
        self._selector = selectors.DefaultSelector()
        self._workers: list[Worker] = []
        self._free = list(range(workers))

    def run(self, jobs: Sequence[Job], died: Died) -> bool:
        """Run all, in order, as workers come free.

        Args:
            jobs: What to do.
            died: What becomes of a run whose process ended; the next worker takes the next run.

        Returns:
            False if a signal stopped it.

        Raises:
            PolyrankError: A worker cannot open what the parent prepared.
        """
        waiting = deque(jobs)
        with StopRequest() as stop:
            try:
                while (waiting or any(worker.job for worker in self._workers)) and (
                    stop.received is None
                ):
                    self._staff(waiting)
                    self._turn(waiting, died)
            finally:
                self._close(stopped=stop.received is not None)
        return stop.received is None

    def measure(self, message: Mapping[str, Any]) -> RunCost:
        """Ask one worker for how long things take.

        Raises:
            PolyrankError: It ended before.
        """
        worker = self._hire()
        worker.send(message)
        try:
            while True:
                self._selector.select()
                for heard in worker.hear():
                    if heard is None:
                        raise PolyrankError(f"nothing could be measured: {worker.end(1.0)}")
                    if heard["kind"] == "measured":
                        return RunCost.from_json(heard)
                    self._refuse(heard)
        finally:
            self._close(stopped=True)

    def _staff(self, waiting: Sequence[Job]) -> None:
        """As many workers as there is work for."""
        busy = sum(worker.job is not None for worker in self._workers)
        while self._free and len(self._workers) < busy + len(waiting):
            self._hire()

    def _hire(self) -> Worker:
        worker = Worker(self._free.pop(0), self._setup, self._threads, self._program)
        self._workers.append(worker)
        self._selector.register(worker, selectors.EVENT_READ, worker)
        return worker

    def _turn(self, waiting: deque[Job], died: Died) -> None:
        """Hear who speaks, and give work to who has none."""
        for key, _ in self._selector.select(POLL_SECONDS):
            worker: Worker = key.data
            for heard in worker.hear():
                if heard is not None and heard["kind"] == "stopped":
                    assert worker.job is not None, "only a run stops"
                    waiting.appendleft(worker.job)
                    worker.job, worker.leaving = None, True
                else:
                    self._heard(worker, heard, died)
        for worker in self._workers:
            if worker.ready and not worker.leaving and worker.job is None and waiting:
                worker.job = waiting.popleft()
                self._watch.begin(worker.number, worker.job)
                worker.send(self._message(worker.job))

    def _heard(self, worker: Worker, heard: Mapping[str, Any] | None, died: Died) -> None:
        if heard is None:
            self._lost(worker, died)
        elif heard["kind"] == "step":
            self._watch.step(worker.number, heard["step"], heard["of"])
        elif heard["kind"] == "ready":
            worker.ready = True
        elif heard["kind"] == "done":
            assert worker.job is not None, "only a run ends"
            self._watch.end(worker.number, worker.job, heard["status"])
            worker.job = None
        else:
            self._refuse(heard)

    def _lost(self, worker: Worker, died: Died) -> None:
        self._dismiss(worker)
        how = worker.end(1.0)
        if not worker.ready:
            raise PolyrankError(f"a worker could not begin: {how}", where="audit")
        if worker.job is None:  # the next one goes on
            return
        died(worker.job, how)
        self._watch.end(worker.number, worker.job, "died")

    def _dismiss(self, worker: Worker) -> None:
        self._selector.unregister(worker)
        self._workers.remove(worker)
        self._free.append(worker.number)

    def _refuse(self, heard: Mapping[str, Any]) -> None:
        if heard["kind"] == "refused":
            raise PolyrankError(heard["message"], where="a worker of the audit")

    def _close(self, *, stopped: bool) -> None:
        """End all workers; those that train get time for a checkpoint."""
        for worker in self._workers:
            worker.ask_to_stop()
        until = time.monotonic() + (GRACE_SECONDS if stopped else 5.0)
        for worker in [*self._workers]:
            self._dismiss(worker)
            worker.end(until - time.monotonic())


def _environment(threads: int) -> dict[str, str]:
    """That of this process, so that the same package is found, with so many threads."""
    path = os.pathsep.join(part for part in sys.path if part)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
