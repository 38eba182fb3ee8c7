"""The life of the process: listen, serve, be told to leave, serve on for a while, drain, end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn

from polyrank.errors import PolyrankError
from polyrank.serving.deadline import Deadline
from polyrank.serving.http.guard import Guard
from polyrank.serving.http.protocol import GuardedConfig, GuardedProtocol
from polyrank.serving.http.sockets import (
    BACKLOG,
    affordable_connections,
    max_accepts,
    num_files,
    url_of,
)

log = logging.getLogger("polyrank.serving")

CUT = 1
"""Exit code where requests did not end in the time there was to drain."""
SWITCH_SECONDS = 1e-4
"""After which Python hands the interpreter to another thread that waits for it. With its own 5 ms
the loop waits that long after each system call while requests are computed: under twice the load it
refused in 130 ms and two thirds of the capacity was lost."""
_SIGNALLED = 128
_LAST_RESORT_SECONDS = 1.5
"""Beyond all others, after which a process whose app hangs is ended from a thread."""


class Server(uvicorn.Server):
    """uvicorn, leaving politely.

    Args:
        guard: The app.
    """

    config: GuardedConfig

    def __init__(self, guard: Guard) -> None:
        config = GuardedConfig(
            guard,
            max_connections=affordable_connections(guard.limits.max_connections),
            backlog=max_accepts(num_files()),
        )
        super().__init__(config)
        self.guard = guard
        self._grace = Deadline.never()
        self._quiet = Deadline.within(0.0)
        limits = guard.limits
        seconds = limits.grace_seconds + limits.drain_seconds + _LAST_RESORT_SECONDS
        self._last_resort = threading.Timer(seconds, os._exit, args=(CUT,))
        self._last_resort.daemon = True

    def leave(self) -> None:
        """Says that the process is not ready any more; after the grace time it drains and ends."""
        self.guard.readiness.leave()
        self._grace = Deadline.within(self.guard.limits.grace_seconds)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal is a request, the second an order."""
        if self.guard.readiness.leaving:
            os._exit(_SIGNALLED + sig)
        self.leave()
        self._last_resort.start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the app, then listens."""
        asyncio.get_running_loop().set_exception_handler(self._note)
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop accepting."""
        return await super().on_tick(counter) or self._grace.expired()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops accepting and drains."""
        self.guard.readiness.leave()
        await self._accept_the_last(sockets or [])
        await super().shutdown(sockets)

    async def _accept_the_last(self, sockets: list[socket.socket]) -> None:
        """Takes in who has connected already: closing a listening socket would reset them."""
        last = []
        for listener in sockets:
            with contextlib.suppress(OSError):
                while True:
                    last.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        self.config.last_call = True
        loop = asyncio.get_running_loop()
        for connection in last:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> GuardedProtocol:
        return GuardedProtocol(self.config, self.server_state, self.lifespan.state)

    def ended(self) -> int:
        """The exit code, once nothing runs any more."""
        self._last_resort.cancel()
        log.info("ended, requests cut: %d", self.guard.num_cut)
        return CUT if self.guard.num_cut else 0

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """What the event loop stumbled over, such as a lack of file descriptors, now and then."""
        if self._quiet.expired():
            self._quiet = Deadline.within(1.0)
            log.error("%s: %r", context.get("message"), context.get("exception"))


def run(guard: Guard, listener: socket.socket) -> int:
    """Serves until SIGTERM or SIGINT; to be called in the main thread of a process.

    After the signal readiness says no at once, and answers close their connections; requests are
    taken for ``grace_seconds`` more, then nothing is accepted, and what was taken has
    ``drain_seconds`` to end. A second signal ends the process on the spot.

    Args:
        guard: The app.
        listener: Of ``bind``; closed at the end.

    Returns:
        The exit code: 0, or ``CUT`` where requests were cut.

    Raises:
        PolyrankError: The app did not start; its own error, where it is one of these.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # else each look for circles goes through all that was imported, and all wait
    server = Server(guard)
    log.info("listening at %s", url_of(listener))
    with listener:
        try:
            server.run(sockets=[listener])
        except SystemExit:
            raise _did_not_start(guard) from guard.startup_error
    return server.ended()


@contextlib.contextmanager
def serving(guard: Guard, listener: socket.socket) -> Iterator[Server]:
    """A server in a thread of this process, for notebooks and tests; drains at the end.

    Args:
        guard: The app.
        listener: Of ``bind``; closed at the end.

    Raises:
        PolyrankError: The app did not start; its own error, where it is one of these.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = Server(guard)
    thread = threading.Thread(target=_run_quietly, args=(server, listener), daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            thread.join(0.005)
        if not server.started:
            raise _did_not_start(guard) from guard.startup_error
        yield server
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _run_quietly(server: Server, listener: socket.socket) -> None:
    with contextlib.suppress(SystemExit):
        server.run(sockets=[listener])


def _did_not_start(guard: Guard) -> PolyrankError:
    if isinstance(guard.startup_error, PolyrankError):
        return guard.startup_error
    return PolyrankError(f"the server did not start: {guard.startup_error!r}")
