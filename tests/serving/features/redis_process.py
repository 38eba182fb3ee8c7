"""A real redis-server of our own, on a free port, that can be killed and started again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "open sesame/@:"
"""To be quoted in an address, and never to be seen anywhere."""


class RedisProcess:
    """A server that keeps nothing on disk."""

    def __init__(self, home: Path, tls: bool) -> None:
        self._home = home
        self._tls = tls
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://:open%20sesame%2F%40%3A@127.0.0.1:{self.port}/3"
        self.path = home / "redis.socket"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "--port": "0" if self._tls else str(self.port),
            "--bind": "127.0.0.1",
            "--unixsocket": str(self.path),
            "--requirepass": PASSWORD,
            "--save": "",
            "--appendonly": "no",
            "--dir": str(self._home),
        }
        if self._tls:
            options |= {
                "--tls-port": str(self.port),
                "--tls-cert-file": str(self._home / "cert.pem"),
                "--tls-key-file": str(self._home / "key.pem"),
                "--tls-auth-clients": "no",
            }
        words = [word for pair in options.items() for word in pair]
        self._process = subprocess.Popen(
            ["redis-server", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        raise AssertionError("redis-server does not start")

    def stop(self) -> None:
        """Kill it; all it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running(home: Path, *, tls: bool = False) -> Iterator[RedisProcess]:
    """A server for the length of a block."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: `make system` installs it")
    found = RedisProcess(home, tls)
    found.start()
    try:
        yield found
    finally:
        found.stop()
