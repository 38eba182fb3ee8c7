"""One trainer per run directory."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from typing import Self

from polyrank.errors import ArtefactError, ConfigError
from polyrank.storage import jsonio
from polyrank.storage.failures import storage_errors

LOCK = ".lock"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAX_RECORD_BYTES = 4096


class RunLock:
    """Holds a run directory for this process; released at its end, however it ends.

    The kernel's ``flock`` decides; the process id, boot id and host in the file only tell a person
    who holds it. A record that a dead process left is taken over with a notice. Forked children
    (data loaders) do not keep the lock alive.

    Attributes:
        notices: Whose stale lock was taken over, if any.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run, RunLock(Path(run)) as lock:
    ...     lock.notices
    []
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.notices: list[str] = []
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock without waiting.

        Raises:
            ConfigError: Another process (or this one) holds it; its id is named.
            StorageError: The directory is missing or read-only, or has no locks.
        """
        assert self._descriptor is None, "acquired twice"
        with storage_errors("lock the run directory", self.directory.name):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.directory / LOCK, flags, 0o666)
            try:
                self._take(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        _held.add(self)

    def release(self) -> None:
        """Gives the lock back; the file stays, empty."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                with storage_errors("unlock the run directory", self.directory.name):
                    os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another trainer holds this run directory: {_holder(descriptor)}",
                where=self.directory.name,
                hint="wait for it or stop it, or train into another directory",
            ) from error
        stale = os.pread(descriptor, _MAX_RECORD_BYTES, 0)
        if stale:
            self.notices.append(f"took over the lock of a dead process: {_holder(descriptor)}")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, jsonio.dumps(_record()), 0)

    def _forget_in_child(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _close_in_child() -> None:
    for lock in list(_held):
        lock._forget_in_child()


os.register_at_fork(after_in_child=_close_in_child)


def _record() -> dict[str, object]:
    return {"pid": os.getpid(), "boot_id": _boot_id(), "host": os.uname().nodename}


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


def _holder(descriptor: int) -> str:
    try:
        record = jsonio.loads(os.pread(descriptor, _MAX_RECORD_BYTES, 0), where=LOCK)
    except ArtefactError:
        return "a process that left no readable record"
    if not isinstance(record, dict):
        return "a process that left no readable record"
    pid, host = ascii(record.get("pid"))[:40], ascii(record.get("host"))[:80]
    boot = "this boot" if record.get("boot_id") == _boot_id() else "another boot or machine"
    return f"pid {pid} on {host} ({boot})"
