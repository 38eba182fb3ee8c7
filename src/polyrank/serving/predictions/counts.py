"""What became of the requests that were offered."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Requests, unless said otherwise. All but ``waiting`` only rise."""

    written: int = 0
    """In files that are whole."""
    sampled_out: int = 0
    dropped: int = 0
    """Since too much waited, or the log was closed."""
    lost: int = 0
    """Since the disk refused."""
    unfit: int = 0
    """Since their columns could not be logged: a type unlike the one the bundle knows, or numbers
    that no type of the open file holds."""
    waiting: int = 0
    files: int = 0
    """Files that were finished."""
    bytes: int = 0
    """Of these files."""
    removed: int = 0
    """Files that made room for newer ones."""
    refusals: int = 0
    """Times that the disk refused."""


class Counts:
    """The same, while several threads count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._so_far = Counted()

    def add(self, **more: int) -> None:
        """Count more."""
        with self._lock:
            now = dataclasses.asdict(self._so_far)
            self._so_far = Counted(**{**now, **{name: now[name] + more[name] for name in more}})

    def read(self, waiting: int) -> Counted:
        """So far."""
        with self._lock:
            return dataclasses.replace(self._so_far, waiting=waiting)
