"""What the load forbids is refused without being parsed: never another request than the one sent.

A server that is still starting turns away all there is, so nothing here depends on time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from polyrank.serving.http import Finished, Guard, Limits, Readiness
from polyrank.serving.http.plain import plain_request
from polyrank.serving.http.protocol import GuardedProtocol
from polyrank.serving.http.strict import StrictConnection
from tests.serving.http.app import World, world
from tests.serving.http.wire import Reply, Wire, ask, eventually, request

LIMITS = Limits(
    max_requests=1,
    queue_length=0,
    max_body_bytes=5_000,
    max_header_bytes=2_000,
    max_target_bytes=100,
    max_headers=10,
    idle_seconds=0.3,
    write_seconds=0.3,
    linger_seconds=0.3,
    grace_seconds=0,
    drain_seconds=1,
    allowed_hosts=("test",),
)
GOOD = request("POST", "/echo?a=1", b'{"candidates":[1]}', content_type="application/json")


@contextlib.contextmanager
def starting(**changes: Any) -> Iterator[World]:
    readiness = Readiness(ready=False)
    with world(LIMITS.model_copy(update=changes), readiness=readiness) as it:
        yield it


def kept(reply: Reply, status: int = 503) -> bool:
    """Whether it is a refusal, and the connection is kept: with a body only this way does."""
    assert reply.status == status
    assert reply.error
    assert int(reply.headers["retry-after"]) >= 1
    assert re.fullmatch("[A-Za-z0-9._:-]{1,128}", reply.headers["x-request-id"])
    return "connection" not in reply.headers


def test_what_is_turned_away_is_told_so_in_the_words_of_all_others_and_asks_on() -> None:
    with starting() as it, Wire(it.port) as wire:
        for _ in range(3):
            wire.send(GOOD)
            reply = wire.reply()
            assert kept(reply)
        slow = ask(it.port, GOOD.replace(b"host:", b"te: x\r\nhost:"))
        assert not kept(slow)
        assert reply.body == slow.body
        assert set(reply.headers) == set(slow.headers) - {"connection"}
        same = ("content-type", "content-length", "retry-after", "x-content-type-options")
        assert [reply.headers[name] for name in same] == [slow.headers[name] for name in same]
        assert ask(it.port, request("POST", "/v2/health/live", b"x")).status == 405
        it.readiness.begin()
        wire.send(GOOD)
        assert wire.reply().json()["size"] == 18
        wire.send(request("GET", "/work/a?ms=1"))
        assert wire.reply().json()["label"] == "a"
    told = [(each.method, each.route, each.status) for each in it.finished[:3]]
    assert told == [("POST", "-", 503)] * 3
    assert [each.bytes_in for each in it.finished[:4]] == [18, 18, 18, 0]
    assert {each.bytes_out for each in it.finished[:3]} == {len(reply.body)}
    assert it.finished[2].request_id == reply.headers["x-request-id"]


@pytest.mark.parametrize(("offered", "echoed"), [("checkout-42", True), ("a b", False)])
def test_e10_a_request_id_is_echoed_by_the_rule_of_all_others(offered: str, echoed: bool) -> None:
    with starting() as it, Wire(it.port) as wire:
        wire.send(request("POST", body=b"x", x_request_id=offered))
        reply = wire.reply()
        assert kept(reply)
        assert (reply.headers["x-request-id"] == offered) == echoed
        eventually(lambda: it.ids == [reply.headers["x-request-id"]])


def test_f5_a_full_server_turns_away_and_the_same_connection_is_answered_later() -> None:
    with world(LIMITS) as it, Wire(it.port) as wire:
        it.guard.gate.busy = 1
        for _ in range(3):
            wire.send(GOOD)
            assert kept(wire.reply())
        it.guard.gate.busy = 0
        wire.send(GOOD)
        assert wire.reply().json()["size"] == 18
    assert it.statuses == [503, 503, 503, 200]


def test_g4_a_client_above_its_rate_is_turned_away_and_pays_once_for_what_it_gets() -> None:
    limits = LIMITS.model_copy(update={"rate_per_second": 1.0, "rate_burst": 3})
    with world(limits) as it, Wire(it.port) as wire:
        for status in (200, 200, 200, 429, 429):
            wire.send(GOOD)
            reply = wire.reply()
            assert reply.status == status
        assert kept(reply, 429)
        assert reply.headers["retry-after"] == "1"
        assert "many requests" in reply.error


def test_one_that_is_leaving_closes_what_it_refuses() -> None:
    with starting() as it, Wire(it.port) as wire:
        it.readiness.leave()
        wire.send(GOOD)
        assert not kept(wire.reply())
        assert wire.rest() == b""


SMUGGLED = request("GET", "/work/smuggled")


@pytest.mark.parametrize(
    "sent",
    [
        GOOD + GOOD,
        GOOD + SMUGGLED,
        GOOD + b"G",
        GOOD.replace(b"length: 18", b"length: 5"),
        request("POST", body=b"").replace(b"length: 0", b"length: 0\r\nContent-Length: 35")
        + SMUGGLED,
        request("POST", body=SMUGGLED).replace(b"length: ", b"length: 0, "),
        request("POST", transfer_encoding="chunked", content_length="5") + b"0\r\n\r\n" + SMUGGLED,
        request("POST", body=SMUGGLED, Transfer_Encoding=" chunked"),
        GOOD.replace(b"host: test", b"host: test\nx: y"),
        GOOD.replace(b"host: test", b"host: test\r\n transfer: y"),
        GOOD.replace(b"host: test\r\n", b""),
        request("POST", body=SMUGGLED, version="1.0"),
        request("POST", body=SMUGGLED, connection="close"),
        b"\r\n" + GOOD,
    ],
)
def test_e6_what_is_not_one_whole_plain_request_is_left_to_the_parser(sent: bytes) -> None:
    """Two in one piece, lengths that lie or are told twice, chunks, folds, bare line feeds."""
    assert plain_request(sent, LIMITS) is None
    with starting() as it, Wire(it.port) as wire:
        wire.offer(sent)
        assert wire.reply().status in (400, 503)
        it.readiness.begin()
        wire.offer(GOOD)
        wire.rest()
        assert it.begun == []


@pytest.mark.parametrize("cut", [1, 30, len(GOOD) - 18, len(GOOD) - 1])
@pytest.mark.parametrize("again", [False, True])
def test_e6_what_comes_in_pieces_is_the_parsers_even_if_one_of_them_is_plain(
    cut: int, again: bool
) -> None:
    with starting() as it, Wire(it.port) as wire:
        wire.send(GOOD)
        assert kept(wire.reply())
        wire.send(GOOD[:cut])
        time.sleep(0.03)
        wire.offer(GOOD if again else GOOD[cut:])
        reply = wire.reply()
        assert reply.status in (400, 405, 503)
        assert reply.headers["connection"] == "close"
        assert wire.rest() == b""


def test_e6_pieces_cut_anywhere_get_as_many_answers_as_there_are_requests() -> None:
    """Refused and answered ones in turns on one connection, each in its place."""
    dice = random.Random(5)
    with world(LIMITS, readiness=Readiness(ready=False)) as it, Wire(it.port) as wire:
        for turn in range(40):
            if turn == 20:
                it.readiness.begin()
            label = f"x{turn}"
            wire.send(request("POST", f"/work/{label}?ms=0", b"z" * dice.randrange(50)))
            reply = wire.reply()
            assert kept(reply) if turn < 20 else reply.json()["label"] == label
    assert it.begun == [f"x{turn}" for turn in range(20, 40)]


def test_e8_its_connection_is_let_go_when_it_says_nothing_more() -> None:
    with starting(header_seconds=60.0) as it, Wire(it.port) as wire:
        wire.send(GOOD)
        assert kept(wire.reply())
        assert 0.2 < wire.closed_after() < 6.0


def test_e8_who_asks_on_without_reading_is_cut_off_and_piles_nothing_up() -> None:
    unread: list[int] = []

    def look(_: Finished) -> None:
        for each in worlds[0].server.server_state.connections:
            assert isinstance(each, GuardedProtocol)
            unread.append(each._patient._inner.get_write_buffer_size())

    worlds: list[World] = []
    with world(LIMITS, readiness=Readiness(ready=False), report=look) as it:
        worlds.append(it)
        listener = it.server.servers[0].sockets[0]
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        with Wire(it.port, receive_buffer=4_096) as wire, contextlib.suppress(ConnectionError):
            for number in range(1, 150):
                wire.send(GOOD)
                with contextlib.suppress(AssertionError):  # at the end nothing is taken any more
                    eventually(lambda number=number: len(unread) >= number, 0.5)  # type: ignore[misc]
            assert len(wire.rest()) < 100_000
        eventually(lambda: not it.server.server_state.connections)
    assert 20 < len(unread) < 149
    assert max(unread) < 1_000


NAMES = (
    *("host", "Host", "content-length", "Content-Length", "content-type", "content-encoding"),
    *("x-request-id", "x-deadline-ms", "transfer-encoding", "connection", "origin", "expect"),
    *("x", "x y", "", "upgrade", "X-Forwarded-For"),
)
VALUES = (
    *("test", "test:80", "other", "", "0", "2", "3", "02", "+2", "2, 2", "9999", "1" * 15),
    *("application/json", "Application/JSON; charset=utf-8", "text/html", "gzip", "br", "chunked"),
    *("close", "keep-alive", "http://test", "100-continue", "500", "0500", "a" * 129),
    *("a\tb", "a\x00b", "a\rb", "é", "x" * 1_990),
)
TARGETS = ("/echo", "/echo?a", "/", "//", "/a%2f", "/a b", "*", "http://test/echo", "/" + "a" * 200)


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """Requests with a few things about them, of which many are wrong."""
    body = draw(st.sampled_from([b"", b"{}", b"\r\n\r\n", b"abc"]))
    usual = [("host", "test"), ("content-length", str(len(body)))]
    odd = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=2))
    fields = draw(st.permutations(usual + odd))
    first = draw(st.sampled_from(("POST",) * 6 + ("post", "GET", "PUT", "TRACE")))
    target = draw(st.sampled_from(("/echo",) * 6 + TARGETS))
    version = draw(st.sampled_from(("1.1",) * 6 + ("1.0", "2.0", "1.1 ")))
    lines = [f"{first} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in fields)]
    ends = draw(st.sampled_from(("\r\n",) * 8 + ("\n", "\r", "\r\n ")))
    data = bytearray(("\r\n".join(lines[:-1]) + ends + lines[-1] + "\r\n\r\n").encode("latin-1"))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        place = draw(st.integers(0, len(data) - 1))
        data[place : place + draw(st.integers(0, 1))] = draw(st.binary(max_size=1))
    more: bytes = draw(st.sampled_from((b"",) * 6 + (b"x",)))
    return bytes(data) + body + more


def parsed(data: bytes) -> Scope | None:
    """What the parser makes of it, as the guard is asked; none where it is not one request."""
    connection = StrictConnection(LIMITS)
    connection.receive_data(data)
    try:
        events = [connection.next_event()]
        while events[-1] not in (h11.NEED_DATA, h11.PAUSED):
            events.append(connection.next_event())
    except h11.RemoteProtocolError:
        return None
    asked = events[0]
    ended = connection.their_state is h11.DONE and not connection.trailing_data[0]
    if not (ended and isinstance(asked, h11.Request)):
        return None
    path = asked.target.partition(b"?")[0]
    told = {"method": asked.method.decode(), "path": path.decode(), "raw_path": path}
    version = asked.http_version.decode()
    headers = [(bytes(name), bytes(value)) for name, value in asked.headers]
    body = b"".join(bytes(each.data) for each in events if isinstance(each, h11.Data))
    return {"type": "http", "http_version": version, "headers": headers, "body": body} | told


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the app is not asked")


async def forever() -> Message:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")


def slow_decision(guard: Guard, scope: Scope) -> tuple[int, str, dict[bytes, bytes]]:
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    asyncio.run(guard(scope, forever, send))
    return said[0]["status"], json.loads(said[1]["body"])["error"], dict(said[0]["headers"])


@settings(max_examples=250)
@given(nearly_plain())
def test_e6_what_is_turned_away_the_parser_reads_as_one_request_and_refuses_in_the_same_words(
    data: bytes,
) -> None:
    plain = plain_request(data, LIMITS)
    if plain is None:
        return
    scope = parsed(data)
    assert scope is not None
    assert (scope["raw_path"], scope["method"]) == (plain.path, "POST")
    assert (dict(scope["headers"]), len(scope["body"])) == (plain.headers, plain.num_bytes)
    guard = Guard(nothing, LIMITS, readiness=Readiness(ready=False))
    error = guard.turned_away(plain, ("10.0.0.1", 1))
    if error is not None:
        status, message, headers = slow_decision(guard, scope)
        assert (error.status, error.message) == (status, message)
        offered = plain.headers.get(b"x-request-id", b"")
        assert (headers[b"x-request-id"] == offered) == bool(
            re.fullmatch(rb"[\w.:-]{1,128}", offered)
        )


@pytest.mark.parametrize("header", ["x-deadline-ms: 500", "content-encoding: gzip", "x-any: thing"])
def test_usual_requests_are_plain(header: str) -> None:
    """Or else the law above would hold of nothing."""
    sent = GOOD.replace(b"host:", header.encode() + b"\r\nhost:")
    plain = plain_request(sent, LIMITS)
    assert plain is not None
    guard = Guard(nothing, LIMITS, readiness=Readiness(ready=False))
    assert guard.turned_away(plain, None) is not None
    assert guard.turned_away(plain._replace(path=b"/metrics"), None) is None
    assert guard.turned_away(plain._replace(headers={b"host": b"other"}), None) is None
    assert Guard(nothing, LIMITS).turned_away(plain, None) is None
