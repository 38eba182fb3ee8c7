"""More than a server can do: turns, deadlines, rates, clients that leave, files that run out."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Iterator
from typing import Any

import pytest

from polyrank.serving.http import CLIENT_GONE, PLACES_APART, Guard, Limits, Readiness
from tests.serving.http.app import APART, FOR_ALL, World, world
from tests.serving.http.wire import Reply, Wire, ask, eventually, request

LIMITS = Limits(
    max_requests=1,
    queue_length=2,
    queue_seconds=60,
    standing_seconds=60,
    grace_seconds=0,
    drain_seconds=2,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with world(LIMITS) as it:
        yield it


@pytest.fixture
def it(shared: World) -> World:
    """The shared one, at rest and without a past."""
    shared.forget()
    assert shared.guard.budget.held == 0
    return shared


@contextlib.contextmanager
def asked(it: World, label: str, ms: float, **headers: Any) -> Iterator[Wire]:
    """A request that is under way."""
    with Wire(it.port) as wire:
        wire.send(request("GET", f"/work/{label}?ms={ms}", **headers))
        yield wire


@contextlib.contextmanager
def full(it: World, ms: float = 400) -> Iterator[tuple[Wire, Wire, Wire]]:
    """One at work and two in the queue."""
    with asked(it, "a", ms) as first:
        eventually(lambda: it.guard.gate.busy == 1)
        with asked(it, "b", 1) as second:
            eventually(lambda: it.guard.gate.waiting == 1)
            with asked(it, "c", 1) as third:
                eventually(lambda: it.guard.gate.waiting == 2)
                yield first, second, third


def test_f5_turns_are_bounded_in_order_and_the_rest_is_told_when_to_come_again(it: World) -> None:
    with full(it) as under_way:
        unsent = request("POST", content_length="5000", x_deadline_ms="9000")
        for sent in (request(), request("POST", body=b"x" * 10), unsent):
            reply = ask(it.port, sent)
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) >= 1
            assert "waiting" in reply.error
        assert it.guard.gate.busy == 1
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert ask(it.port, request("GET", path)).status == 200
        assert [wire.reply().status for wire in under_way] == [200] * 3
    assert it.done == ["a", "b", "c"]
    assert ask(it.port, request()).status == 200


def test_f5_those_with_turns_of_their_own_find_room_and_are_bounded_too(it: World) -> None:
    with full(it) as under_way:
        assert ask(it.port, request()).status == 503
        apart = request("GET", f"{APART}0?ms=1")
        assert ask(it.port, apart).status == 200
        with contextlib.ExitStack() as stack:
            busy = [stack.enter_context(asked(it, f"apart{n}", 300)) for n in range(PLACES_APART)]
            eventually(lambda: it.guard.gate_apart.busy == PLACES_APART)
            busy += [stack.enter_context(asked(it, f"apart{n}", 1)) for n in range(2, 4)]
            eventually(lambda: it.guard.gate_apart.waiting == 2)
            assert ask(it.port, apart).status == 503
            assert [wire.reply().status for wire in (*busy, *under_way)] == [200] * 7
    assert (it.guard.gate_apart.busy, it.guard.gate_apart.waiting) == (0, 0)


def test_f5_what_anybody_may_ask_keeps_no_operator_out(it: World) -> None:
    """80 who asked for an example had two of three operators refused."""
    with asked(it, f"apart{FOR_ALL}", 200) as first:
        eventually(lambda: it.guard.gate.busy == 1)
        assert it.guard.gate_apart.busy == 0
        assert first.reply().status == 200


def test_f5_one_that_fills_the_queue_while_it_sends_its_body_is_refused_as_well(it: World) -> None:
    with Wire(it.port) as slow:
        slow.send(request("POST", content_length="2") + b"x")
        eventually(lambda: it.guard.budget.held == 1)
        with full(it):
            slow.send(b"x")
            assert slow.reply().status == 503


def test_f6_what_expires_in_the_queue_is_never_computed(it: World) -> None:
    with asked(it, "a", 300) as first:
        eventually(lambda: it.guard.gate.busy == 1)
        began = time.monotonic()
        with asked(it, "late", 1, x_deadline_ms="30") as second:
            reply = second.reply()
        assert (reply.status, reply.headers.get("retry-after")) == (504, None)
        assert "waited" in reply.error
        assert 0.03 <= time.monotonic() - began < 0.28
        assert first.reply().status == 200
    assert ask(it.port, request()).status == 200
    assert it.begun == ["a"]


def test_f6_what_is_not_done_in_time_is_answered_and_keeps_its_place_until_it_is(
    it: World,
) -> None:
    with asked(it, "long", 250, x_deadline_ms="40") as wire:
        reply = wire.reply()
        assert reply.status == 504
        assert "computed" in reply.error
        assert it.guard.gate.busy == 1
        wire.send(request())
        assert wire.reply().status == 200
    assert it.done == ["long"]
    eventually(lambda: it.statuses == [504, 200])


def test_f6_a_body_that_comes_after_its_deadline_is_in_vain(it: World) -> None:
    with Wire(it.port) as wire:
        wire.send(request("POST", content_length="5", x_deadline_ms="30"))
        assert wire.reply().status == 504


def test_f6_an_answer_that_has_begun_is_not_cut_by_the_deadline(it: World) -> None:
    with Wire(it.port) as wire:
        wire.send(request("GET", "/slowly", x_deadline_ms="40", connection="close"))
        assert b"one" in (told := wire.rest())
        assert told.endswith(b"two\r\n0\r\n\r\n")


def test_f6_a_deadline_is_the_clients_up_to_the_most_that_is_allowed() -> None:
    limits = LIMITS.model_copy(
        update={"default_deadline_seconds": 2.0, "max_deadline_seconds": 5.0}
    )
    with world(limits) as it:
        for header, most in ((None, 2.0), ("700", 0.7), ("999999999", 5.0)):
            headers: dict[str, Any] = {} if header is None else {"x_deadline_ms": header}
            left = ask(it.port, request(**headers)).json()["remaining"]
            assert most - 0.6 < left <= most
        for bad in ("0", "-5", "1.5", "1e3", "", "abc", "1" * 10, "１"):
            sent = request().replace(
                b"\r\n\r\n", b"\r\nx-deadline-ms: " + bad.encode() + b"\r\n\r\n"
            )
            assert ask(it.port, sent).status == 400, bad
        twice = request("GET", x_deadline_ms="5", X_Deadline_Ms="5")
        assert ask(it.port, twice).status == 400


def test_e9_who_leaves_before_the_body_is_whole_holds_nothing(it: World) -> None:
    with Wire(it.port) as wire:
        wire.send(request("POST", content_length="5000") + b"x" * 100)
        eventually(lambda: it.guard.budget.held == 100)
    eventually(lambda: it.statuses == [CLIENT_GONE])
    assert (it.guard.budget.held, it.guard.gate.busy) == (0, 0)


def test_e9_who_leaves_the_queue_is_never_computed_and_its_room_is_free(it: World) -> None:
    with asked(it, "a", 300) as first:
        eventually(lambda: it.guard.gate.busy == 1)
        with asked(it, "gone", 1):
            eventually(lambda: it.guard.gate.waiting == 1)
        eventually(lambda: it.guard.gate.waiting == 0)
        assert it.statuses == [CLIENT_GONE]
        assert first.reply().status == 200
    assert it.begun == ["a"]
    eventually(lambda: it.guard.gate.busy == 0)


def test_e9_who_leaves_while_it_is_computed_is_known_to_be_gone(
    it: World, capfd: pytest.CaptureFixture[str]
) -> None:
    with asked(it, "a", 60):
        eventually(lambda: it.begun == ["a"])
    eventually(lambda: it.statuses == [CLIENT_GONE])
    assert it.done == ["a"]
    eventually(lambda: it.guard.gate.busy == 0)
    assert capfd.readouterr().err == ""


def test_e9_who_leaves_with_the_answer_is_not_missed(
    it: World, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        with Wire(it.port, receive_buffer=4_096) as wire:
            wire.send(request("GET", "/big?bytes=5000000"))
            wire.socket.recv(10)
    eventually(lambda: len(it.statuses) == 5)
    eventually(lambda: len(it.server.server_state.connections) == 0)
    assert capfd.readouterr().err == ""


def test_g4_each_client_has_a_rate_and_is_told_when_to_come_again() -> None:
    limits = LIMITS.model_copy(update={"rate_per_second": 4.0, "rate_burst": 3})
    with world(limits) as it:
        statuses = [ask(it.port, request()).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = ask(it.port, request())
        assert int(refused.headers["retry-after"]) == 1
        assert ask(it.port, request("GET", "/v2/health/live")).status == 200
        time.sleep(0.3)
        assert ask(it.port, request()).status == 200


def test_until_it_is_ready_only_health_is_answered() -> None:
    readiness = Readiness(ready=False)
    with world(LIMITS, readiness=readiness) as it:
        reply = ask(it.port, request())
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert ask(it.port, request("GET", "/v2/health/live")).status == 200
        assert ask(it.port, request("GET", "/v2/health/ready")).status == 503
        readiness.begin()
        assert ask(it.port, request("GET", "/v2/health/ready")).status == 200
        assert ask(it.port, request()).status == 200


async def ask_at(port: int, instant: float, sent: bytes) -> tuple[Reply, float]:
    """One request at its own time, whatever became of the others; seconds from that time on."""
    await asyncio.sleep(max(0.0, instant - time.monotonic()))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
    body = await reader.readexactly(int(headers["content-length"]))
    took = time.monotonic() - instant
    writer.close()
    await writer.wait_closed()
    return Reply(int(head.split(" ")[1]), headers, body), took


@pytest.mark.parametrize(
    ("times", "seconds"),
    [(5, 1.5), pytest.param(10, 20.0, marks=pytest.mark.nightly)],
)
def test_f5_t12_far_more_than_it_can_do_is_shed_and_the_rest_is_served_in_time(
    times: int, seconds: float
) -> None:
    """Open loop: requests come when they come. Capacity is 2 places / 200 ms = 10 a second."""
    limits = LIMITS.model_copy(
        update={"max_requests": 2, "queue_length": 3, "default_deadline_seconds": 4.0}
    )
    waiting: list[int] = []
    guards: list[Guard] = []

    async def flood(it: World) -> list[tuple[Reply, float]]:
        number = int(10 * times * seconds)
        start = time.monotonic() + 0.05
        instants = [start + i * seconds / number for i in range(number)]
        sent = request("GET", "/work/x?ms=200")
        return await asyncio.gather(*(ask_at(it.port, instant, sent) for instant in instants))

    with world(limits, report=lambda _: waiting.extend(each.gate.waiting for each in guards)) as it:
        guards.append(it.guard)
        replies = asyncio.run(flood(it))
        assert {reply.status for reply, _ in replies} == {200, 503}
        shed = [reply for reply, _ in replies if reply.status == 503]
        served = [took for reply, took in replies if reply.status == 200]
        assert all(int(reply.headers["retry-after"]) >= 1 and reply.error for reply in shed)
        assert max(waiting) <= 3
        assert max(served) <= 4.0
        assert len(served) >= 0.5 * 10 * seconds
        began = time.monotonic()
        assert ask(it.port, request()).status == 200
        assert time.monotonic() - began < 2.0


def test_f13_connections_over_the_bound_are_told_so_and_then_it_recovers() -> None:
    with world(LIMITS.model_copy(update={"max_connections": 3})) as it:
        with contextlib.ExitStack() as held:
            for _ in range(3):
                held.enter_context(Wire(it.port))
            eventually(lambda: len(it.server.server_state.connections) == 3)
            for _ in range(3):
                reply = ask(it.port, request("POST", body=b"x" * 1000))
                assert (reply.status, reply.headers["retry-after"]) == (503, "1")
                assert "connections" in reply.error
            for _ in range(40):
                held.enter_context(Wire(it.port))
            eventually(lambda: len(it.server.server_state.connections) <= 3 + 16)
        eventually(lambda: len(it.server.server_state.connections) == 0)
        assert ask(it.port, request()).status == 200


def test_f13_running_out_of_files_pauses_and_does_not_crash(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with world(LIMITS) as it, contextlib.ExitStack() as held:
        wires = [held.enter_context(Wire(it.port)) for _ in range(3)]
        eventually(lambda: len(it.server.server_state.connections) == 3)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(wire.socket.fileno() for wire in wires)
        late = held.enter_context(Wire(None))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            late.connect(it.port)
            time.sleep(0.05)
            wires[0].send(request())
            assert wires[0].reply().status == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        late.send(request())
        assert late.reply().status == 200
    assert 1 <= capfd.readouterr().err.count("out of system resource") <= 2
