"""Clients on raw sockets: an open loop that keeps to its times, and a closed loop.

The open loop decides beforehand when each request is due, and counts from then, so that requests
that could not be sent in time are not left out (coordinated omission).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.judge import Judge
from serving.questions import Question

FAILED = 0
"""The status of a request that had no answer."""
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: bytes = b""
    retry_after: bool = False


@dataclass
class Run:
    """What became of requests, each in its place."""

    due: list[float] = field(default_factory=list)
    """Seconds since the run began."""
    late: list[float] = field(default_factory=list)
    """Seconds from then to being sent: the client's own doing."""
    seconds: list[float] = field(default_factory=list)
    """From when it was due to the end of its answer."""
    status: list[int] = field(default_factory=list)
    unnamed: list[int] = field(default_factory=list)
    """Statuses of 503 and 429 that came without ``Retry-After``."""
    faults: list[str] = field(default_factory=list)
    expected_refusals: int = 0
    lasted: float = 0.0
    drained: float = 0.0
    """Seconds from the last moment of the load to the last answer."""

    def keep(self, question: Question, times: tuple[float, float, float], reply: Reply) -> None:
        """Write down a reply; times are due, sent and done."""
        due, sent, done = times
        if question.refused:
            self.expected_refusals += 1
            return
        self.due.append(due)
        self.late.append(sent - due)
        self.seconds.append(done - due)
        self.status.append(reply.status)
        if reply.status in (429, 503) and not reply.retry_after:
            self.unnamed.append(reply.status)

    def ok(self) -> NDArray[np.float64]:
        """Seconds of the requests that were answered."""
        answered = [s for s, status in zip(self.seconds, self.status, strict=True) if status == 200]
        return np.asarray(answered, dtype=np.float64)

    def goodput(self) -> float:
        """Answers a second."""
        return len(self.ok()) / self.lasted

    def counts(self) -> dict[int, int]:
        """Requests by status."""
        values, counts = np.unique(np.asarray(self.status, dtype=int), return_counts=True)
        return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


class Client:
    """Keeps connections; one request at a time on each.

    Args:
        port: Of the server on this machine.
        judge: Tells wrong answers.
    """

    def __init__(self, port: int, judge: Judge) -> None:
        self._port = port
        self._judge = judge
        self._idle: list[_Streams] = []

    async def ask(self, question: Question) -> Reply:
        """Send a request, on a kept connection if there is one."""
        while self._idle:
            streams = self._idle.pop()
            if not streams[0].at_eof():
                return await self._over(streams, question.message)
            streams[1].close()
        try:
            streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        except OSError:
            return Reply(FAILED)
        return await self._over(streams, question.message)

    async def leave_early(self, question: Question, share: float) -> None:
        """Send a part of a request and go."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(question.message[: max(1, int(len(question.message) * share))])
            await writer.drain()
            await asyncio.sleep(0.002)
            writer.close()
        except OSError:
            return

    async def one(self, run: Run, question: Question, due: float, start: float) -> None:
        """Ask, judge and write down."""
        now = asyncio.get_running_loop().time
        sent = now()
        reply = await self.ask(question)
        done = now()
        if fault := self._judge.fault(question, reply.status, reply.body):
            run.faults.append(fault)
        run.keep(question, (due - start, sent - start, done - start), reply)

    def close(self) -> None:
        """Let go of all connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _over(self, streams: _Streams, sent: bytes) -> Reply:
        reader, writer = streams
        try:
            writer.write(sent)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            writer.close()
            return Reply(FAILED)
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append(streams)
        return Reply(int(head[9:12]), body, b"retry-after: " in head)


async def open_loop(
    client: Client,
    pick: Callable[[int], Question | None],
    rate: float,
    seconds: float,
    *,
    seed: int = 0,
    leaver: Question | None = None,
    into: Run | None = None,
) -> Run:
    """Requests at random times (Poisson), whatever becomes of those before.

    Args:
        client: Asks.
        pick: The question of each place; null: ``leaver`` is begun and left.
        rate: Requests a second.
        seconds: For which requests are due.
        seed: Of the times.
        leaver: What is begun and left.
        into: Where is written down what becomes of each; null: in a new run.
    """
    rng = np.random.default_rng(seed)
    due_N = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.2) + 50))
    due_N = due_N[due_N < seconds]
    now = asyncio.get_running_loop().time
    run = Run(lasted=seconds) if into is None else into
    start = now() + 0.05
    tasks: set[asyncio.Task[None]] = set()

    def ended(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if error := task.exception():
            run.faults.append(f"the client failed: {error!r}")

    for place, due in enumerate((due_N + start).tolist()):
        await asyncio.sleep(max(0.0, due - now()))
        question = pick(place)
        work = (
            client.one(run, question, due, start)
            if question is not None
            else client.leave_early(leaver or _nothing(), float(rng.random()))
        )
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(ended)
    if tasks:
        await asyncio.gather(*tasks)
    run.drained = max(0.0, now() - start - seconds)
    return run


async def closed_loop(
    client: Client, questions: Sequence[Question], places: int, seconds: float
) -> Run:
    """So many at once, each asking again as soon as it is answered."""
    now, run = asyncio.get_running_loop().time, Run(lasted=seconds)
    start = now()

    async def work(first: int) -> None:
        place = first
        while now() - start < seconds:
            await client.one(run, questions[place % len(questions)], now(), start)
            place += places

    await asyncio.gather(*(work(first) for first in range(places)))
    run.lasted = now() - start
    return run


def _nothing() -> Question:
    return Question(0, b"POST ")
