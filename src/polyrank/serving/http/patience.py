"""A transport that lets a refused sender finish, for a while, so that it can read the refusal.

Closing a socket with unread bytes resets the connection, and the answer is lost with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class PatientTransport(asyncio.Transport):
    """The transport of one connection, whose ``close`` waits for a client that is still sending.

    Args:
        inner: The socket's.
        is_sending: Whether the client may be in the middle of something.
        seconds: That it is waited for.
    """

    def __init__(
        self, inner: asyncio.Transport, *, is_sending: Callable[[], bool], seconds: float
    ) -> None:
        super().__init__()
        self._inner = inner
        self._is_sending = is_sending
        self._seconds = seconds
        self._end: asyncio.TimerHandle | None = None

    @property
    def lingering(self) -> bool:
        """Whether only the client's goodbye is waited for."""
        return self._end is not None

    def close(self) -> None:
        """Closes once all is written; where the client is still sending, when it stops."""
        if self.lingering or self._inner.is_closing():
            return
        if not self._is_sending() or not self._inner.can_write_eof():
            self._inner.close()
            return
        self._inner.write_eof()
        self._inner.resume_reading()
        self._end = asyncio.get_running_loop().call_later(self._seconds, self._inner.abort)

    def lost(self) -> None:
        """To be called when the connection is gone."""
        if self._end is not None:
            self._end.cancel()

    def is_closing(self) -> bool:
        """Whether nothing more can be answered."""
        return self.lingering or self._inner.is_closing()

    def abort(self) -> None:
        """Closes at once; what is not written is lost."""
        self._inner.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Writes, unless it is closing."""
        if not self.is_closing():
            self._inner.write(data)

    def pause_reading(self) -> None:
        """Stops reading, unless it only waits for the end."""
        if not self.is_closing():
            self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Reads on."""
        if not self.is_closing():
            self._inner.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the socket's transport says."""
        return self._inner.get_extra_info(name, default)
