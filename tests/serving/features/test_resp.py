"""What a server may say, word for word, and a connection that nobody can read."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polyrank.serving.deadline import Deadline
from polyrank.serving.features.backend import StoreDown, StoreLate
from polyrank.serving.features.columns import WrongBytes
from polyrank.serving.features.resp import Address, Connection
from tests.serving.features import world
from tests.serving.features.redis_process import RedisProcess, running
from tests.serving.features.stores import filled, opened, redis_settings

SOON = 10.0


@contextmanager
def _saying(*pieces: bytes) -> Iterator[Connection]:
    """A connection to who answers the first question so, piece by piece, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1 << 16)
                for piece in pieces:
                    peer.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection(Address(server.getsockname()), Deadline.within(SOON))
        try:
            yield connection
        finally:
            connection.close()
            thread.join()


def _call(connection: Connection) -> Any:
    return connection.call([b"PING"], Deadline.within(SOON))


@pytest.mark.parametrize(
    ("pieces", "reply"),
    [
        ([b"+PONG\r\n"], b"PONG"),
        ([b":-17\r\n"], -17),
        ([b"$-1\r\n"], None),
        ([b"$0\r\n\r\n"], b""),
        ([b"$4\r\n\r\n\r\n\r\n"], b"\r\n\r\n"),
        ([b"*3\r\n$1\r\na\r\n$-1\r\n*1\r\n:5\r\n"], [b"a", None, [5]]),
        ([b"*2\r", b"\n$3\r\nab", b"c\r", b"\n$", b"1\r\nd\r\n"], [b"abc", b"d"]),
        ([b"*0\r\n"], []),
    ],
)
def test_what_is_an_answer(pieces: list[bytes], reply: Any) -> None:
    with _saying(*pieces) as connection:
        assert _call(connection) == reply


@pytest.mark.parametrize(
    "piece",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"\r\n",
        b"-\r\n",
        b"$x\r\n",
        b"$1_0\r\n",
        b"$-2\r\n",
        b"$99999999999\r\n",
        b"$" + b"1" * 999 + b"\r\n",
        b"*-1\r\n",
        b"$3\r\nabcd\r\n",
        b"*1\r\n" * 6 + b"$1\r\na\r\n",
        b"x" * 5000,
        b"+" + b"x" * 5000,
    ],
)
def test_what_is_no_answer(piece: bytes) -> None:
    with _saying(piece) as connection, pytest.raises(WrongBytes, match="no Redis answers there"):
        _call(connection)


@pytest.mark.parametrize(
    ("piece", "told"),
    [
        (b"", "hung up"),
        (b"$5\r\nab", "hung up"),
        (b"-LOADING Redis is loading secrets\r\n", "Redis: LOADING$"),
        (b"*1\r\n-NOAUTH hush\r\n", "Redis: NOAUTH$"),
    ],
)
def test_who_does_not_answer(piece: bytes, told: str) -> None:
    with _saying(piece) as connection, pytest.raises(StoreDown, match=told):
        _call(connection)


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next() -> None:
    with _saying(b"+one\r\n+two\r\n") as connection:
        assert _call(connection) == b"one"
        with pytest.raises(WrongBytes, match="unasked"):
            _call(connection)


def test_who_takes_connections_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address(server.getsockname(), password="hush")
        with pytest.raises(StoreLate):
            Connection(address, Deadline.within(0.05))


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[RedisProcess]:
    """A server with a certificate of its own making."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    kind = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = ("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem"))
    subprocess.run(["openssl", *kind, *names, *files], check=True, capture_output=True)
    with running(tmp_path, tls=True) as found:
        yield found


def test_nobody_in_between_can_read_or_answer(
    certified: RedisProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = certified.url.replace("redis://", "rediss://").replace("127.0.0.1", "localhost")
    settings = redis_settings(url, connect_ms=5000)
    store = opened(settings, "items")
    assert store.fetch([7], Deadline.within(SOON)).degraded == "down"  # a stranger's certificate
    store.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    store = opened(filled(settings), "items")
    found = store.fetch([7, 1], Deadline.within(SOON))
    assert world.same(found.table, world.expected("items", [7, 1]))
    assert found.degraded is None
    store.close()
