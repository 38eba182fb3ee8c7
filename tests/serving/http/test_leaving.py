"""F9, F10, T16: how a server starts, or does not, and how it goes, with real signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from polyrank.errors import ConfigError, DataError, PolyrankError
from polyrank.serving.http import Guard, Limits, Server, bind, run, serving, url_of
from tests.serving.http.app import world
from tests.serving.http.process import Home
from tests.serving.http.wire import Wire, ask, eventually, request

QUICK: dict[str, Any] = {"grace_seconds": 0.1, "drain_seconds": 3}
SLACK = 6.0
"""Seconds for a machine that is busy with other things."""


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with Home() as home:
        yield home
        lines = home.close().splitlines()
    for line in lines:
        if line.startswith("{"):
            assert json.loads(line)["event"] == "request"
        else:
            assert line.startswith(("Traceback", " ", "request")) is False, line


class Crowd:
    """Clients that ask one request after the other, on connections they keep, until refused."""

    def __init__(self, port: int, turn: int, number: int) -> None:
        self.port = port
        self.turn = turn
        self.answered = 0
        self.unanswered: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(number)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        serial = 0
        while True:
            try:
                wire = Wire(self.port)
            except ConnectionError:
                return
            with wire:
                kept = True
                while kept:
                    serial += 1
                    kept = self._one(wire, f"{self.turn}-{number}-{serial}")

    def _one(self, wire: Wire, label: str) -> bool:
        try:
            wire.send(request("GET", f"/work/{label}?ms=20", x_request_id=label))
            reply = wire.reply()
        except (ConnectionError, EOFError):
            self.unanswered.append(label)
            return False
        assert reply.status == 200
        assert reply.json()["label"] == label
        self.answered += 1
        return reply.headers.get("connection") != "close"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.nightly)])
def test_f9_t16_sigterm_under_load_loses_no_request(rounds: int) -> None:
    """No request that the server has seen; who connects in vain may go elsewhere."""
    lost: set[str] = set()
    with Home() as home:
        for turn in range(rounds):
            lost |= leave_under_load(home, turn)
        seen = {json.loads(line)["request_id"] for line in home.close().splitlines()}
    assert len(seen) > 6 * rounds
    assert lost & seen == set()


def leave_under_load(home: Home, turn: int) -> set[str]:
    """One server's end; the requests that were sent and not answered."""
    pid, port = home.start(**QUICK)
    crowd = Crowd(port, turn, number=6)
    eventually(lambda: crowd.answered > turn % 7)
    os.kill(pid, signal.SIGTERM)
    asked = time.monotonic()
    with Wire(port) as wire:
        wire.send(request("GET", "/v2/health/ready"))
        assert wire.reply().status == 503
    code, at = home.ended()
    crowd.join()
    assert code == 0
    assert 0.1 <= at - asked < 3.0 + SLACK
    return set(crowd.unanswered)


def test_f9_what_is_under_way_at_the_end_of_grace_is_finished(home: Home) -> None:
    pid, port = home.start(grace_seconds=0, drain_seconds=5)
    with Wire(port) as wire:
        wire.send(request("GET", "/work/long?ms=600"))
        time.sleep(0.1)
        os.kill(pid, signal.SIGTERM)
        assert wire.reply().json()["label"] == "long"
        assert wire.rest() == b""
    assert home.ended()[0] == 0


def test_f9_a_request_that_arrives_on_an_open_connection_while_it_stops_is_answered() -> None:
    with world(Limits(grace_seconds=0.0, drain_seconds=5)) as it, Wire(it.port) as wire:
        wire.send(request())
        assert wire.reply().status == 200
        with Wire(it.port) as fresh:
            eventually(lambda: len(it.server.server_state.connections) == 2)
            it.server.leave()
            eventually(lambda: it.server.servers[0].sockets == ())
            for each in (wire, fresh):
                each.send(request())
                reply = each.reply()
                assert (reply.status, reply.headers["connection"]) == (200, "close")
                assert each.rest() == b""


def test_f9_who_has_connected_before_it_stops_is_taken_in() -> None:
    """The kernel has them, the server not yet."""
    with world(Limits(grace_seconds=0.0, drain_seconds=5)) as it, contextlib.ExitStack() as held:
        assert it.loop is not None
        listening = it.server.servers[0].sockets[0].fileno()
        it.loop.call_soon_threadsafe(it.loop.remove_reader, listening)
        wires = [held.enter_context(Wire(it.port)) for _ in range(3)]
        for wire in wires[1:]:
            wire.send(request())
        it.server.leave()
        assert [wire.reply().status for wire in wires[1:]] == [200, 200]
        assert [wire.rest() for wire in wires] == [b""] * 3


def test_f9_requests_that_outlast_the_drain_are_cut_and_told_so(home: Home) -> None:
    pid, port = home.start(grace_seconds=0, drain_seconds=0.2)
    with Wire(port) as wire:
        wire.send(request("GET", "/work/long?ms=30000"))
        time.sleep(0.1)
        os.kill(pid, signal.SIGTERM)
        asked = time.monotonic()
        reply = wire.reply()
        assert reply.status == 503
        assert "shutting down" in reply.error
    code, at = home.ended()
    assert (code, at - asked < 0.2 + SLACK) == (1, True)


def test_f9_an_app_that_hangs_does_not_keep_the_process(home: Home) -> None:
    pid, port = home.start(grace_seconds=0, drain_seconds=0.2)
    with Wire(port) as wire:
        wire.send(request("GET", "/work/stuck"))
        time.sleep(0.2)
        os.kill(pid, signal.SIGTERM)
        asked = time.monotonic()
        code, at = home.ended()
    assert (code, at - asked < 1.7 + SLACK) == (1, True)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_f9_a_second_signal_ends_it_on_the_spot(home: Home, first: signal.Signals) -> None:
    pid, port = home.start(grace_seconds=30, drain_seconds=30)
    assert ask(port, request()).status == 200
    os.kill(pid, first)
    eventually(lambda: ask(port, request("GET", "/v2/health/ready")).status == 503)
    os.kill(pid, signal.SIGTERM)
    asked = time.monotonic()
    code, at = home.ended()
    assert code == 128 + signal.SIGTERM
    assert at - asked < SLACK


def test_f9_the_first_signal_is_a_request_to_leave() -> None:
    server = Server(Guard(world_of_nobody))
    server.handle_exit(signal.SIGTERM, None)
    assert server.guard.readiness.leaving
    assert server.ended() == 0


async def world_of_nobody(scope: object, receive: object, send: object) -> None:
    raise AssertionError("nobody asks")


def test_f10_a_port_that_is_taken_is_told_before_anything_else() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"127.0.0.1:{port}: cannot listen: the port is taken"
        ):
            bind("127.0.0.1", port)
    bind("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("127.0.0.1", -1, "`port` must be from 0 to 65535, got -1"),
        ("127.0.0.1", 65_536, "`port` must be"),
        ("no.such.host.invalid", 80, "`host` is not known"),
        ("a" * 70, 80, "`host` is not known"),
        ("192.0.2.1", 0, "not an address of this machine"),
    ],
)
def test_f10_an_address_nobody_can_listen_at_is_a_configuration_error(
    host: str, port: int, told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        bind(host, port)
    assert caught.value.exit_code == 2


def test_f10_a_port_that_is_forbidden_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As root nothing is forbidden, so the kernel's answer is put in its mouth."""

    def forbidden(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", forbidden)
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:80: cannot listen: this user may not"):
        bind("127.0.0.1", 80)


def test_a_url_is_one_that_clients_can_use() -> None:
    for host, begin in (("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")):
        with bind(host, 0) as listener:
            url = url_of(listener)
            assert url.startswith(begin)
            assert int(url[len(begin) :]) > 0


@pytest.mark.parametrize("error", [DataError("no rows", hint="add some"), KeyError("users")])
def test_f10_an_app_that_does_not_start_ends_the_server_with_its_own_error(
    error: Exception,
) -> None:
    async def broken(scope: object, receive: object, send: object) -> None:
        raise error

    for start in (_served, run):
        with pytest.raises(PolyrankError) as caught, bind("127.0.0.1", 0) as listener:
            start(Guard(broken), listener)
        if isinstance(error, DataError):
            assert caught.value is error
        else:
            assert "did not start: KeyError('users')" in str(caught.value)


def _served(guard: Guard, listener: socket.socket) -> None:
    with serving(guard, listener):
        pytest.fail("it must not start")
