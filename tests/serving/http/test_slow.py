"""E8, T18: clients that take their time, against clocks short enough for tests."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from polyrank.serving.http import Limits, bind
from tests.serving.http.app import World, world
from tests.serving.http.wire import Wire, ask, eventually, request

SOON = 0.15
LIMITS = Limits(
    header_seconds=SOON,
    body_seconds=SOON,
    idle_seconds=SOON,
    write_seconds=SOON,
    linger_seconds=SOON,
    max_requests=2,
    queue_length=2,
    grace_seconds=0,
    drain_seconds=1,
    max_body_bytes=100_000,
)
SLACK = 6.0


@pytest.fixture(scope="module")
def it() -> Iterator[World]:
    with world(LIMITS) as it:
        yield it


def drip(wire: Wire, data: bytes, seconds: float) -> None:
    """A byte now and then, until the server hangs up or the time is over."""
    end = time.monotonic() + seconds
    with contextlib.suppress(ConnectionError):
        for byte in data:
            wire.send(bytes([byte]))
            wire.socket.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                if wire.socket.recv(1, socket.MSG_PEEK) is not None:
                    break
            if time.monotonic() > end:
                break
    wire.socket.settimeout(20.0)


def test_e8_headers_that_trickle_are_cut_and_told_so(it: World) -> None:
    with Wire(it.port) as wire:
        began = time.monotonic()
        drip(wire, b"GET /echo HTTP/1.1\r\nhost: test\r\nx: " + b"v" * 1_000, 2 * SLACK)
        reply = wire.reply()
        assert reply.status == 408
        assert "header" in reply.error
        assert wire.rest() == b""
        assert SOON <= time.monotonic() - began < SOON + SLACK


def test_e8_positive_control_a_plain_server_never_cuts_them() -> None:
    class Plain:
        async def __call__(self, scope: object, receive: object, send: object) -> None:
            raise AssertionError("no request ever arrives")

    with bind("127.0.0.1", 0) as listener:
        config = uvicorn.Config(Plain(), log_config=None, lifespan="off", http="h11", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        with Wire(listener.getsockname()[1]) as wire:
            drip(wire, b"GET / HTTP/1.1\r\nx: " + b"v" * 1_000, 4 * SOON)
            wire.socket.settimeout(0.05)
            with pytest.raises(TimeoutError):
                wire.socket.recv(1)
        server.should_exit = True
        thread.join()


def test_e8_who_connects_and_says_nothing_is_let_go_without_a_word(it: World) -> None:
    with Wire(it.port) as wire:
        began = time.monotonic()
        assert wire.rest() == b""
        assert SOON * 0.9 <= time.monotonic() - began < SOON + SLACK


def test_e8_an_idle_connection_is_let_go_and_a_trickle_after_it_too(it: World) -> None:
    with Wire(it.port) as wire:
        wire.send(request())
        assert wire.reply().status == 200
        assert SOON * 0.9 <= wire.closed_after() < SOON + SLACK
    with Wire(it.port) as wire:
        wire.send(request())
        assert wire.reply().status == 200
        drip(wire, b"GET /echo HTTP/1.1\r\nx: " + b"v" * 1_000, 2 * SLACK)
        assert wire.reply().status == 408


def test_e8_the_clock_of_headers_does_not_count_the_time_of_an_answer(it: World) -> None:
    with Wire(it.port) as wire:
        for _ in range(2):
            wire.send(request("GET", f"/work/a?ms={SOON * 1e3 * 1.5}"))
            assert wire.reply().status == 200


def test_e8_half_a_header_behind_a_request_has_a_clock_of_its_own(it: World) -> None:
    with Wire(it.port) as wire:
        wire.send(request("GET", "/work/a?ms=50") + b"GET /echo HT")
        assert wire.reply().status == 200
        assert wire.reply().status == 408


@pytest.mark.parametrize("chunked", [False, True])
def test_e8_a_body_that_trickles_is_cut_and_told_so(it: World, chunked: bool) -> None:
    framing: dict[str, Any] = {"content_length": "5000"}
    if chunked:
        framing = {"transfer_encoding": "chunked"}
    with Wire(it.port) as wire:
        wire.send(request("POST", **framing) + (b"1388\r\n" if chunked else b""))
        began = time.monotonic()
        drip(wire, b"v" * 1_000, 2 * SLACK)
        reply = wire.reply()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        wire.rest()
        assert time.monotonic() - began < 2 * SOON + SLACK
    eventually(lambda: it.guard.budget.held == 0)


def refused_for(port: int, piece: bytes, pause: float) -> float:
    """Seconds for which one may go on sending what is refused."""
    with Wire(port) as wire:
        wire.send(request("POST", "//", content_length=str(10**9)))
        assert wire.reply().status == 404
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 3 * SLACK:
                wire.send(piece)
                time.sleep(pause)
        return time.monotonic() - began


def test_a_refused_sender_may_go_on_for_a_while_so_that_it_can_read_why(it: World) -> None:
    assert SOON * 0.5 <= refused_for(it.port, b"x", 0.005) < SOON + SLACK


def test_a_refused_sender_may_not_go_on_for_any_number_of_bytes() -> None:
    with world(LIMITS.model_copy(update={"linger_seconds": 60.0})) as it:
        assert refused_for(it.port, b"x" * 10_000, 0.0) < SLACK


def test_e8_who_does_not_read_the_answer_is_cut_off(it: World) -> None:
    with Wire(it.port, receive_buffer=4_096) as wire:
        it.forget()
        wire.send(request("GET", "/big?bytes=20000000"))
        eventually(lambda: it.statuses == [200])
        eventually(lambda: len(it.server.server_state.connections) == 0, SOON + SLACK)
        assert len(wire.rest()) < 20_000_000


def test_e8_who_asks_on_without_reading_takes_no_place_of_others(it: World) -> None:
    with Wire(it.port, receive_buffer=4_096) as wire:
        it.forget()
        wire.send(request("GET", "/big?bytes=20000000") + request("GET", "/work/next") * 5)
        eventually(lambda: it.statuses == [200])
        time.sleep(SOON / 3)
        assert (it.guard.gate.busy, it.begun) == (0, [])
        eventually(lambda: len(it.server.server_state.connections) == 0, SOON + SLACK)
    assert it.begun == []


def test_e8_who_reads_slowly_but_surely_gets_all_of_it() -> None:
    with (
        world(LIMITS.model_copy(update={"write_seconds": 5.0})) as it,
        Wire(it.port, receive_buffer=65_536) as wire,
    ):
        wire.send(request("GET", "/big?bytes=4000000") + request("GET", "/work/next"))
        time.sleep(2 * SOON)
        assert len(wire.reply().body) == 4_000_000
        assert wire.reply().status == 200
        wire.send(request())
        assert wire.reply().status == 200


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /echo HTT", request("POST", content_length="50") + b"x", request("GET", "/work/a")],
)
def test_e8_who_closes_its_half_is_gone_wherever_it_stands(it: World, sent: bytes) -> None:
    with Wire(it.port) as wire:
        wire.send(sent)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.closed_after() < SLACK
    eventually(lambda: it.guard.gate.busy == 0 and it.guard.budget.held == 0)
    eventually(lambda: len(it.server.server_state.connections) == 0)


@pytest.mark.parametrize("number", [60, pytest.param(500, marks=pytest.mark.nightly)])
def test_t18_slow_clients_take_no_place_from_others(number: int) -> None:
    patient = LIMITS.model_copy(update={"header_seconds": 30.0, "body_seconds": 30.0})
    starts = (
        b"GET /echo HTTP/1.1\r\nhost: te",
        request("POST", content_length="5000") + b"x",
        request("POST", transfer_encoding="chunked") + b"5\r\nx",
    )
    with world(patient) as it, contextlib.ExitStack() as slow:
        for i in range(number):
            slow.enter_context(Wire(it.port)).send(starts[i % len(starts)])
        eventually(lambda: len(it.server.server_state.connections) == number)
        assert it.guard.gate.busy == 0
        for _ in range(20):
            assert ask(it.port, request("POST", body=b"abc")).status == 200
    assert it.statuses.count(200) == 20
