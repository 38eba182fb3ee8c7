"""The address a server answers at, taken before anything else is done."""

from __future__ import annotations

import errno
import os
import resource
import socket
from pathlib import Path

from polyrank.errors import ConfigError

MAX_PORT = 65_535
BACKLOG = 1_024
"""Connections the kernel may hold for us."""
_MAX_ACCEPTS = 128
_SPARE_FILES = 32
_REASONS = {
    errno.EADDRINUSE: ("the port is taken", "stop what listens there, or choose another port"),
    errno.EACCES: ("this user may not listen there", "choose a port above 1023"),
    errno.EADDRNOTAVAIL: ("the host is not an address of this machine", "use 127.0.0.1"),
}


def bind(host: str, port: int) -> socket.socket:
    """Takes an address, so that nobody else can; port 0 takes one that is free.

    Raises:
        ConfigError: The address is taken, forbidden, unknown or none.
    """
    where = f"{host}:{port}"
    if not 0 <= port <= MAX_PORT:
        raise ConfigError(f"`port` must be from 0 to {MAX_PORT}, got {port}", where=where)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"`host` is not known, got {host!r}", where=where) from None
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(0)
    except OSError as error:
        listener.close()
        reason, hint = _REASONS.get(error.errno or 0, (os.strerror(error.errno or 0), None))
        raise ConfigError(f"cannot listen: {reason}", where=where, hint=hint) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Where clients find it.

    >>> with bind("127.0.0.1", 0) as listener:
    ...     url_of(listener).startswith("http://127.0.0.1:")
    True
    """
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def max_accepts(num_files: int) -> int:
    """Connections to be accepted at a stretch, where a process may open so many files.

    >>> max_accepts(64), max_accepts(1024), max_accepts(1_000_000)
    (8, 128, 128)
    """
    return min(_MAX_ACCEPTS, max(1, num_files // 8))


def affordable_connections(wanted: int) -> int:
    """So many of ``wanted`` connections as this process can hold, with files to spare.

    At least 1; ``wanted`` where the system does not say.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    open_files = Path("/proc/self/fd")
    used = len(list(open_files.iterdir())) if open_files.is_dir() else _SPARE_FILES
    return max(1, min(wanted, soft - used - _SPARE_FILES // 2 - 2 * max_accepts(soft)))


def num_files() -> int:
    """Files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return BACKLOG if soft == resource.RLIM_INFINITY else soft
