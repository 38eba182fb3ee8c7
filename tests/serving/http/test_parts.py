"""The parts of the guard, each against a law of its own."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import math
import posixpath
import random
import threading
import time
from collections.abc import Coroutine
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.http import AccessLog, Finished, Guard, Limits
from polyrank.serving.http.access_log import line_of
from polyrank.serving.http.admission import Budget, Crowded, Gate
from polyrank.serving.http.answer import Answer
from polyrank.serving.http.encodings import PIECE, accepts_gzip, decoded, decoder_of, gzipped
from polyrank.serving.http.pace import Pace
from polyrank.serving.http.rates import Rates
from polyrank.serving.http.sockets import affordable_connections
from polyrank.serving.http.targets import check_path
from tests.serving.http.app import World

few = settings(max_examples=40)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"header_seconds": 0}, "greater than 0"),
        ({"body_seconds": math.inf}, "finite"),
        ({"write_seconds": math.nan}, "finite"),
        ({"grace_seconds": -1}, "greater than or equal to 0"),
        ({"max_requests": 0}, "greater than or equal to 1"),
        ({"rate_per_second": 0}, "greater than 0"),
        ({"max_bodies": 1}, "Extra inputs"),
        ({"default_deadline_seconds": 61}, "`default_deadline_seconds` must be at most"),
        ({"standing_seconds": 2.0}, "`standing_seconds` must be at most `queue_seconds`"),
        ({"max_body_bytes": 2**40}, "`max_body_bytes` must be at most `max_buffered_bytes`"),
        ({"max_target_bytes": 2**20}, "`max_target_bytes` must be at most"),
    ],
)
def test_limits_that_bound_nothing_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Limits(**wrong)


def patient(length: int) -> Pace:
    """Of a line that is bounded by its length alone."""
    return Pace(length=length, seconds=60.0, standing_seconds=60.0, overload_seconds=60.0)


@few
@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 2**32))
def test_a_gate_never_holds_more_than_it_may_and_ends_empty(
    places: int, queue: int, seed: int
) -> None:
    """Visitors who come, stay, lose patience and are called away, in any order."""
    dice = random.Random(seed)
    inside = 0

    async def visit(gate: Gate) -> str:
        nonlocal inside
        try:
            await gate.enter(Deadline.within(dice.choice([0.0, 0.002, 1.0])))
        except Crowded:
            assert gate.busy == places
            return "crowded"
        except TimeoutError:
            return "late"
        inside += 1
        assert inside <= gate.busy <= places
        assert gate.waiting <= queue
        try:
            await asyncio.sleep(dice.choice([0.0, 0.001]))
        finally:
            inside -= 1
            gate.leave()
        return "served"

    async def day() -> list[Any]:
        gate = Gate(places, patient(queue))
        tasks = []
        for _ in range(20):
            tasks.append(asyncio.ensure_future(visit(gate)))
            if dice.random() < 0.5:
                await asyncio.sleep(0)
            if dice.random() < 0.3:
                dice.choice(tasks).cancel()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert (gate.busy, gate.waiting, gate.crowded) == (0, 0, False)
        return told

    told = asyncio.run(day())
    assert all(
        isinstance(each, asyncio.CancelledError) or each in ("crowded", "late", "served")
        for each in told
    )


def test_a_gate_lets_in_by_order_of_arrival() -> None:
    async def day() -> list[int]:
        gate, order = Gate(1, patient(10)), list[int]()

        async def visit(number: int) -> None:
            await gate.enter(Deadline.never())
            order.append(number)
            await asyncio.sleep(0)
            gate.leave()

        await asyncio.gather(*(visit(number) for number in range(8)))
        return order

    assert asyncio.run(day()) == list(range(8))


@few
@given(st.lists(st.integers(0, 50)))
def test_a_budget_is_never_overdrawn(sizes: list[int]) -> None:
    budget, held = Budget(100), 0
    for size in sizes:
        fits = held + size <= 100
        assert budget.take(size) == fits
        held += size * fits
    budget.give_back(held)
    assert budget.held == 0


@few
@given(st.lists(st.floats(0.0, 0.4), min_size=1, max_size=100), st.integers(1, 5))
def test_a_client_never_gets_more_than_its_burst_and_its_rate(
    pauses: list[float], burst: int
) -> None:
    rates, now, granted = Rates(5.0, burst, clients=3), 0.0, 0
    for pause in pauses:
        now += pause
        wait = rates.wait("10.0.0.1", now)
        granted += wait == 0.0
        assert granted <= burst + now * 5.0 + 1e-6
        if wait:
            probe = Rates(5.0, burst, clients=3)
            probe._buckets = rates._buckets.copy()
            assert probe.wait("10.0.0.1", now + wait + 1e-9) == 0.0


def test_g4_the_table_of_clients_is_bounded_whoever_they_say_they_are() -> None:
    rates = Rates(0.001, 1, clients=100)
    assert rates.wait("10.0.0.1", 0.0) == 0.0
    for i in range(2_000):
        rates.wait(f"10.{i >> 8}.{i & 255}.2", 0.0)
        assert rates.wait("10.0.0.1", 0.0) > 0
    assert len(rates) <= 100
    assert [rates.wait(f"2001:db8::{i:x}", 0.0) > 0 for i in range(3)] == [False, True, True]


@few
@given(st.binary(max_size=300), st.integers(0, 4))
def test_what_is_compressed_is_what_is_read(seed: bytes, exponent: int) -> None:
    body = seed * 7**exponent
    assert gzip.decompress(asyncio.run(gzipped(body))) == body
    decoder = decoder_of(b" GZIP ")
    assert decoder is not None
    held: list[int] = []
    packed = gzip.compress(body)
    assert asyncio.run(decoded(packed, decoder, len(body), held.append)) == body
    assert sum(held) == len(body)
    assert all(size <= PIECE for size in held)


def test_compressed_bodies_of_several_pieces_are_cut_and_trailed_like_small_ones() -> None:
    body = random.Random(0).randbytes(3 * PIECE)
    packed = gzip.compress(body)
    for damaged, told in (
        (packed[: 2 * PIECE], "cut short"),
        (packed[:-1], "cut short"),
        (packed + b"x" * 2 * PIECE, "bytes follow"),
    ):
        decoder = decoder_of(b"gzip")
        assert decoder is not None
        with pytest.raises(RequestError, match=told):
            asyncio.run(decoded(damaged, decoder, 10**9, lambda size: None))


def test_what_follows_a_compressed_body_is_not_read() -> None:
    """All of it was kept, and copied with each further piece: 0.9 s for 16 MiB."""
    held: list[int] = []
    body = gzip.compress(b"{}") + b"x" * 100 * PIECE
    decoder = decoder_of(b"gzip")
    assert decoder is not None
    with pytest.raises(RequestError, match="bytes follow"):
        asyncio.run(decoded(body, decoder, 10**9, held.append))
    assert held == [2]


@few
@given(st.binary(max_size=60))
def test_no_accept_encoding_breaks_anything(value: bytes) -> None:
    assert accepts_gzip(value) in (True, False)


@few
@given(st.text("/.%;a2F\\", max_size=12))
def test_g2_a_path_that_passes_has_no_other_spelling(path: str) -> None:
    """It is its own normal form, by the rules a browser or a proxy might apply."""
    try:
        check_path(path.encode())
    except RequestError:
        return
    assert unquote(path) == path
    assert path.startswith("/")
    assert posixpath.normpath(path) == (path.rstrip("/") or "/")


ENTRY = Finished(request_id="a", method="POST", route="/v1/rank", status=200, seconds=0.0015)


@few
@given(st.text(), st.text())
def test_g6_a_line_is_one_line_of_ascii_whatever_stands_in_it(name: str, route: str) -> None:
    line = line_of(
        Finished(request_id=name, method="GET", route=route, status=200, seconds=1.0, candidates=3)
    )
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert (told["request_id"], told["route"], told["candidates"]) == (name, route, 3)


def test_the_access_log_writes_what_there_was_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with AccessLog() as log:
        for i in range(100):
            log(Finished(request_id=str(i), method="GET", route="/", status=200, seconds=0.001))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["request_id"] for line in lines] == [str(i) for i in range(100)]
    assert {line["ms"] for line in lines} == {1.0}
    assert log.num_dropped == 0


class Stuck(io.StringIO):
    """A pipe that nobody reads until ``flows`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.flows = threading.Event()

    def write(self, text: str) -> int:
        self.flows.wait()
        return super().write(text)


class Broken(io.StringIO):
    """A disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_f12_a_log_that_is_stuck_or_full_costs_lines_and_no_time(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """F12: dropped lines are counted, requests are not delayed."""
    stuck = Stuck()
    with AccessLog(stuck, max_waiting=10) as log:
        began = time.monotonic()
        for _ in range(1_000):
            log(ENTRY)
        assert time.monotonic() - began < 1.0
        assert log.num_dropped in (989, 990)
        stuck.flows.set()
    assert len(stuck.getvalue().splitlines()) == 1_000 - log.num_dropped
    with AccessLog(Broken()) as log:
        log(ENTRY)
    assert log.num_dropped == 1
    assert capfd.readouterr().err == ""


def test_a_log_that_stays_stuck_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("polyrank.serving.http.access_log._PATIENCE_SECONDS", 0.05)
    stuck = Stuck()
    log = AccessLog(stuck, max_waiting=1)
    for _ in range(3):
        log(ENTRY)
        time.sleep(0.01)
    log.close()
    stuck.flows.set()


def test_f13_connections_leave_room_for_other_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"RLIMIT_NOFILE": (1024, 4096)}
    monkeypatch.setattr("resource.getrlimit", lambda _: limits["RLIMIT_NOFILE"])
    assert 500 < affordable_connections(10_000) < 1024 - 2 * 128
    assert affordable_connections(5) == 5
    limits["RLIMIT_NOFILE"] = (8, 8)
    assert affordable_connections(10_000) == 1
    limits["RLIMIT_NOFILE"] = (-1, -1)
    assert affordable_connections(10_000) == 10_000


def test_a_guard_works_under_any_server() -> None:
    """Here one without sockets, whose scopes have less in them."""
    it = World()
    guard = Guard(it.app(), report=it.finished.append)

    async def asked() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [
                await client.post("/echo", content=b"abc"),
                await client.get("/nowhere"),
                await client.get("/bug"),
                await client.post("/echo", content=gzip.compress(b"x" * 9), headers=PACKED),
            ]

    replies = asyncio.run(asked())
    assert [reply.status_code for reply in replies] == [200, 404, 500, 200]
    assert [replies[0].json()["size"], replies[3].json()["size"]] == [3, 9]
    assert replies[1].json() == {"error": "not found"}
    assert it.statuses == [200, 404, 500, 200]


PACKED = {"content-encoding": "gzip"}


def http_scope(path: str = "/", **changes: Any) -> Scope:
    scope = {"type": "http", "method": "GET", "path": path, "http_version": "1.1"}
    return scope | {"headers": [(b"host", b"test")]} | changes


async def quiet() -> Message:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")


def test_a_socket_that_is_not_http_is_closed() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the app is not asked")

    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    asyncio.run(Guard(never)({"type": "websocket"}, quiet, send))
    assert said == [{"type": "websocket.close", "code": 1008}]


def test_a_server_that_stops_in_the_middle_is_told_to_the_client_and_frees_the_place() -> None:
    async def long(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(60)

    async def day() -> list[list[Message]]:
        guard = Guard(long, Limits(max_requests=1, queue_length=1))
        said: list[list[Message]] = [[], []]
        tasks = []
        for i in range(2):

            async def send(message: Message, i: int = i) -> None:
                said[i].append(message)

            tasks.append(asyncio.ensure_future(guard(http_scope(), quiet, send)))
            await asyncio.sleep(0.01)
        assert (guard.gate.busy, guard.gate.waiting) == (1, 1)
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks)
        assert (guard.gate.busy, guard.gate.waiting) == (0, 0)
        return said

    for messages in asyncio.run(day()):
        assert messages[0]["status"] == 503
        assert json.loads(messages[1]["body"]) == {"error": "the server is shutting down"}


async def when_told(scope: Scope, receive: Receive, send: Send) -> None:
    await scope["go"].wait()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def nowhere(message: Message) -> None:
    return


async def ticks(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("how", ["cancelled", "gone"])
def test_a_turn_that_comes_in_the_moment_of_leaving_is_passed_on(how: str) -> None:
    """Whoever waits is called away at each tick of the loop around the one its turn comes at."""
    finished: list[Finished] = []

    async def day(go_at: int, away_at: int) -> None:
        guard = Guard(when_told, Limits(max_requests=1, queue_length=1), report=finished.append)
        go = asyncio.Event()

        async def away() -> Message:
            await ticks(away_at if how == "gone" else 1_000)
            return {"type": "http.disconnect"}

        headers = [(b"host", b"test")]
        first = asyncio.ensure_future(guard(http_scope(go=go), quiet, nowhere))
        await ticks(3)
        second = asyncio.ensure_future(guard(http_scope(go=go, headers=headers), away, nowhere))
        asyncio.get_running_loop().call_later(0, asyncio.ensure_future, _set(go, ticks(go_at)))
        await ticks(away_at)
        if how == "cancelled":
            second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert (guard.gate.busy, guard.gate.waiting) == (0, 0)

    async def days() -> None:
        for go_at in range(6):
            for away_at in range(14):
                await day(go_at, away_at)

    asyncio.run(days())
    told = {each.status for each in finished}
    assert told == {204, {"cancelled": 503, "gone": 499}[how]}


async def _set(event: asyncio.Event, after: Coroutine[Any, Any, None]) -> None:
    await after
    event.set()


def test_f6_what_expired_while_the_loop_was_busy_is_not_computed() -> None:
    asked: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)

    async def busy() -> Message:
        time.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": False}

    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"host", b"test"), (b"content-length", b"1"), (b"x-deadline-ms", b"5")]
    asyncio.run(Guard(app)(http_scope(headers=headers), busy, send))
    assert (said[0]["status"], asked) == (504, [])


def test_what_an_app_says_after_its_refusal_is_not_sent() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b""
        await asyncio.sleep(0.03)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.debug", "info": {}})
        await send({"type": "http.response.body", "body": b"late"})

    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    scope = http_scope(headers=[(b"host", b"test"), (b"x-deadline-ms", b"5")])
    asyncio.run(Guard(late)(scope, quiet, send))
    assert [message.get("status") for message in said] == [504, None]
    asyncio.run(Guard(late)(http_scope(), quiet, send))
    assert said[-1]["body"] == b"late"


def test_an_answer_that_is_still_being_compressed_at_the_deadline_is_not_sent_as_well() -> None:
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    async def day() -> None:
        answer = Answer(send, gzip_from=1)
        kind = [(b"content-type", b"text/plain")]
        await answer.send({"type": "http.response.start", "status": 200, "headers": kind})
        body = {"type": "http.response.body", "body": b"x" * 10 * PIECE}
        packing = asyncio.ensure_future(answer.send(body))
        await asyncio.sleep(0)
        await answer.refuse(RequestError(504, "too late"))
        await packing

    asyncio.run(day())
    assert [message.get("status") for message in said] == [504, None]
    assert said[1]["body"] == b'{"error":"too late"}'


def test_the_access_log_keeps_out_of_the_way_of_other_loggers() -> None:
    seen: list[logging.LogRecord] = []

    class Everything(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Everything()
    logging.getLogger().addHandler(handler)
    try:
        with AccessLog(io.StringIO()) as log:
            log(ENTRY)
    finally:
        logging.getLogger().removeHandler(handler)
    assert seen == []
