"""One connection to a Redis server, each exchange on it within a deadline.

The ``redis`` package bounds each read of a socket, so that a server which sends a byte now and then
holds a caller for as long as it likes; here the whole exchange is bounded. Protocol: RESP2
(https://redis.io/docs/latest/develop/reference/protocol-spec).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from polyrank.errors import ConfigError
from polyrank.serving.deadline import Deadline
from polyrank.serving.features.backend import StoreDown, StoreLate
from polyrank.serving.features.columns import WrongBytes

Reply = Any
"""int, bytes, None or a list of such."""
SCHEMES = ("redis", "rediss", "unix")
_PORT = 6379
_READ_BYTES = 1 << 18
_MOST_BYTES = 1 << 26
"""Of one value; a row is far smaller."""
_MOST_NESTED = 4
_LONGEST_LINE = 1 << 10


@dataclass(frozen=True)
class Address:
    """Where a Redis server is; what is secret is not in its ``repr``."""

    place: tuple[str, int] | Path
    tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    database: int = 0

    @classmethod
    def parse(cls, url: str) -> Address:
        """``redis[s]://[[user]:password@]host[:port][/database]`` or ``unix://[...@]/path``.

        Raises:
            ConfigError: It is none; what it holds is not told, for it may hold a password.
        """
        try:
            parts = urlsplit(url)
            if parts.scheme not in SCHEMES or parts.query or parts.fragment:
                raise ValueError
            return cls(
                place=_place(parts),
                tls=parts.scheme == "rediss",
                user=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password) if parts.password else None,
                database=0 if parts.scheme == "unix" else int(parts.path.strip("/") or 0),
            )
        except ValueError:  # whose own text holds parts of the URL
            raise ConfigError(
                "the address of a Redis server cannot be read",
                hint="Write redis://[user:password@]host[:port][/database], rediss:// with TLS, or "
                "unix:///path.",
            ) from None

    def __str__(self) -> str:
        if isinstance(self.place, Path):
            return f"unix:{self.place.name}"
        return f"{self.place[0]}:{self.place[1]}/{self.database}"


class Connection:
    """A connection that is ready for commands.

    Raises:
        StoreDown: Nobody is there, or it does not let us in.
        StoreLate: The deadline passed.
    """

    def __init__(self, address: Address, deadline: Deadline) -> None:
        self._deadline = deadline
        self._buffer = bytearray()
        self._at = 0
        try:
            self._socket = _connected(address, deadline)
        except TimeoutError as error:
            raise StoreLate("no connection in time") from error
        except OSError as error:
            raise StoreDown(f"no connection: {type(error).__name__}") from error
        try:
            self._greet(address, deadline)
        except BaseException:
            self.close()
            raise

    def call(self, words: Sequence[bytes], deadline: Deadline) -> Reply:
        """The answer to one command; after an error the connection is of no use any more.

        Raises:
            StoreDown: The connection broke, or the server refused.
            StoreLate: The deadline passed.
            WrongBytes: What came is no answer.
        """
        return self.calls([words], deadline)[0]

    def calls(self, commands: Sequence[Sequence[bytes]], deadline: Deadline) -> list[Reply]:
        """The answers to several commands sent at once."""
        self._deadline = deadline
        if self._at < len(self._buffer):
            raise WrongBytes("the server spoke unasked")
        self._buffer.clear()
        self._at = 0
        try:
            self._socket.settimeout(self._time_left())
            self._socket.sendall(b"".join(_packed(words) for words in commands))
            return [self._reply(0) for _ in commands]
        except StoreDown:
            raise
        except TimeoutError as error:
            raise StoreLate("no answer in time") from error
        except OSError as error:
            raise StoreDown(f"connection broken: {type(error).__name__}") from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _greet(self, address: Address, deadline: Deadline) -> None:
        words = []
        if address.password is not None:
            name = [] if address.user is None else [address.user.encode()]
            words.append([b"AUTH", *name, address.password.encode()])
        if address.database:
            words.append([b"SELECT", b"%d" % address.database])
        if words:
            self.calls(words, deadline)

    def _reply(self, depth: int) -> Reply:
        line = self._line()
        mark, rest = line[:1], line[1:]
        if mark == b"$":
            return None if rest == b"-1" else self._bulk(_number(rest, _MOST_BYTES))
        if mark == b"*" and depth < _MOST_NESTED:
            return [self._reply(depth + 1) for _ in range(_number(rest, _MOST_BYTES))]
        if mark == b":":
            size = _number(rest.removeprefix(b"-"), 2**63)
            return -size if rest[:1] == b"-" else size
        if mark == b"+":
            return bytes(rest)
        if mark == b"-" and rest:  # its first word says which error, the others may hold anything
            raise StoreDown(f"Redis: {rest.split()[0].decode('ascii', 'replace')}")
        raise WrongBytes("no Redis answers there")

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            if len(self._buffer) - self._at > _LONGEST_LINE:
                raise WrongBytes("no Redis answers there")
            self._receive()
        line = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return line

    def _bulk(self, size: int) -> bytes:
        start, end = self._at, self._at + size
        while len(self._buffer) < end + 2:
            self._receive()
        if self._buffer[end : end + 2] != b"\r\n":
            raise WrongBytes("no Redis answers there")
        self._at = end + 2
        return bytes(self._buffer[start:end])

    def _receive(self) -> None:
        self._socket.settimeout(self._time_left())
        received = self._socket.recv(_READ_BYTES)
        if not received:
            raise StoreDown("the server hung up")
        self._buffer += received

    def _time_left(self) -> float | None:
        left = self._deadline.remaining()
        if left <= 0.0:
            raise StoreLate("no answer in time")
        return None if left == float("inf") else left


def _connected(address: Address, deadline: Deadline) -> socket.socket:
    if not isinstance(address.place, Path):
        found = socket.create_connection(address.place, timeout=deadline.remaining())
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _secured(found, address.place[0]) if address.tls else found
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.settimeout(deadline.remaining())
        found.connect(str(address.place))
    except OSError:
        found.close()
        raise
    return found


def _secured(found: socket.socket, host: str) -> socket.socket:
    """TLS as the system trusts it; it takes the socket over, or closes it."""
    with found:
        return ssl.create_default_context().wrap_socket(found, server_hostname=host)


def _place(parts: SplitResult) -> tuple[str, int] | Path:
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError
        return Path(unquote(parts.path))
    host = parts.hostname or "localhost"
    host.encode("idna")
    return host, parts.port or _PORT


def _packed(words: Sequence[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def _number(digits: bytes, most: int) -> int:
    if not digits.isdigit() or len(digits) > 20 or int(digits) > most:
        raise WrongBytes("no Redis answers there")
    return int(digits)
