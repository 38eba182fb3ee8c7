"""Where what was set while serving is kept: beside the bundle, which itself never changes.

Every change is committed as a snapshot of its own behind those before it, so that a damaged one
falls back on the one before; the last few are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from polyrank.errors import ArtefactError, ConfigError
from polyrank.schema import parse
from polyrank.serving.errors import RequestError
from polyrank.serving.models.history import Changes
from polyrank.storage import CheckpointStore, RunLock, jsonio
from polyrank.storage.failures import storage_errors

KIND = "value-models"
FILE = "changes.json"
SNAPSHOTS = 8


class ChangeStore:
    """The changes of one model on the disk; several processes may share it.

    Args:
        folder: Made by the first change.

    Raises:
        ArtefactError: Every snapshot is damaged.
        StorageError: The disk cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = CheckpointStore(folder, SNAPSHOTS, kind=KIND)
        self._step = 0
        self._changes = Changes()
        self.refresh()

    @property
    def current(self) -> Changes:
        """What is in force, as far as this process knows."""
        return self._changes

    @property
    def notices(self) -> tuple[str, ...]:
        """Snapshots that were set aside."""
        return tuple(self._store.notices)

    def refresh(self) -> Changes:
        """What is in force, also where another process set it."""
        if max(self._store.steps(), default=0) > self._step:
            committed = self._store.newest()
            if committed is not None:
                with committed:
                    extra: Any = committed.manifest.extra
                    tree: Any = committed.json(FILE)
                if not isinstance(tree, dict):
                    raise ArtefactError("must be an object", where=FILE, hint="Restore it.")
                self._changes = parse(Changes, tree, where=FILE)
                self._step = int(extra["step"])
        return self._changes

    def change(self, how: Callable[[Changes], Changes]) -> Changes:
        """Apply ``how`` to what is in force now, and keep the result; durable when it returns.

        Raises:
            RequestError: 409, another process is changing it.
            StorageError: The disk refused; all is as before.
        """
        with storage_errors("make the folder of value models", self._folder.name):
            self._folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(self._folder)
        try:
            lock.acquire()
        except ConfigError as error:
            raise RequestError(409, "value models are being changed: try again") from error
        try:
            changed = how(self.refresh())
            step = max(self._store.steps(), default=0) + 1
            files = {FILE: jsonio.dumps(changed.model_dump(mode="json"))}
            self._store.save(step, files, extra={"step": step})
            self._step, self._changes = step, changed
        finally:
            lock.release()
        return changed
