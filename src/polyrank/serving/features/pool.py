"""Connections to a Redis server that many threads share.

A connection is made by a thread of its own, which may take longer than a request has: looking up a
name and agreeing on keys do. The request that asked for it waits no longer than its deadline, and
later ones find it there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from polyrank.serving.deadline import Deadline
from polyrank.serving.features.backend import StoreDown, StoreLate
from polyrank.serving.features.columns import WrongBytes
from polyrank.serving.features.resp import Connection


class Pool:
    """Connections, at most so many.

    Args:
        connect: Makes one, in bounded time; raises ``StoreDown``, ``StoreLate`` or ``WrongBytes``.
        most: Connections at once.
    """

    def __init__(self, connect: Callable[[], Connection], most: int) -> None:
        self._connect = connect
        self._most = most
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._num_open = 0
        self._num_connecting = 0
        self._num_waiting = 0
        self._refusals = 0
        self._closed = False

    @contextmanager
    def taken(self, deadline: Deadline) -> Iterator[Connection]:
        """A connection for one caller; it is kept only if the block ends without an error.

        Raises:
            StoreDown: None can be made.
            StoreLate: None came free by the deadline.
        """
        connection = self._take(deadline)
        try:
            yield connection
        except BaseException:
            self._leave(connection, kept=False)
            raise
        self._leave(connection, kept=True)

    def forget_idle(self) -> None:
        """Close what nobody uses: the server they led to is gone."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._num_open -= len(idle)
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Close all; those in use once they are given back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.forget_idle()

    def _take(self, deadline: Deadline) -> Connection:
        with self._changed:
            refusals = self._refusals
            self._num_waiting += 1
            try:
                while not self._idle:
                    if self._closed or self._refusals > refusals:
                        raise StoreDown("closed" if self._closed else "no connection")
                    self._ask()
                    left = deadline.remaining()
                    if left <= 0.0:
                        raise StoreLate("no connection in time")
                    self._changed.wait(None if left == float("inf") else left)
                return self._idle.pop()
            finally:
                self._num_waiting -= 1

    def _ask(self) -> None:
        """Begin to make one, unless as many as are waited for are under way."""
        room = self._num_open + self._num_connecting < self._most
        if room and self._num_connecting < self._num_waiting:
            self._num_connecting += 1
            threading.Thread(target=self._make, name="polyrank-redis", daemon=True).start()

    def _make(self) -> None:
        made: Connection | None = None
        try:
            made = self._connect()
        except (StoreDown, StoreLate, WrongBytes):
            pass
        finally:
            with self._changed:
                self._num_connecting -= 1
                if made is None:
                    self._refusals += 1
                else:
                    self._num_open += 1
                    self._give(made)
                self._changed.notify_all()

    def _leave(self, connection: Connection, *, kept: bool) -> None:
        with self._changed:
            if kept:
                self._give(connection)
            else:
                self._num_open -= 1
                connection.close()
            self._changed.notify()

    def _give(self, connection: Connection) -> None:
        if self._closed:
            self._num_open -= 1
            connection.close()
        else:
            self._idle.append(connection)
