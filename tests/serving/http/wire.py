"""A client that says exactly what it is told to, and reads what comes back."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        told = self.json()
        assert set(told) == {"error"}
        assert isinstance(told["error"], str)
        assert 0 < len(told["error"]) <= 512
        return str(told["error"])


class Wire:
    """One connection, at once unless there is no port yet."""

    def __init__(self, port: int | None, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20.0)
        self._buffer = b""
        if port is not None:
            self.connect(port)

    def connect(self, port: int) -> None:
        try:
            self.socket.connect(("127.0.0.1", port))
        except ConnectionError:
            self.socket.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def offer(self, data: bytes) -> None:
        """Sends as much as the server takes."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def reply(self, *, bodiless: bool = False) -> Reply:
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
        size = 0 if bodiless else int(headers.get("content-length", 0))
        while len(self._buffer) < size:
            self._more()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return Reply(int(first.split(" ")[1]), headers, body)

    def rest(self) -> bytes:
        """All that comes until the server closes; fails where it does not within the timeout."""
        with contextlib.suppress(ConnectionError):
            while piece := self.socket.recv(1 << 20):
                self._buffer += piece
        rest, self._buffer = self._buffer, b""
        return rest

    def closed_after(self) -> float:
        """Seconds until the server closes."""
        began = time.monotonic()
        self.rest()
        return time.monotonic() - began

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(mark)
        return head

    def _more(self) -> None:
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise EOFError(f"closed after {self._buffer[:200]!r}")
        self._buffer += piece


def request(
    method: str = "GET",
    target: str = "/echo",
    body: bytes | None = None,
    *,
    version: str = "1.1",
    **headers: str,
) -> bytes:
    """A request as bytes; ``x_name="v"`` becomes the header ``x-name: v``."""
    lines = [f"{method} {target} HTTP/{version}", "host: test"]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def ask(port: int, data: bytes) -> Reply:
    """One request on a connection of its own; a refusal may come before all is sent."""
    with Wire(port) as wire:
        wire.offer(data)
        return wire.reply()


def chunks(*pieces: bytes) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (*pieces, b""))


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)


def rss_mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20
