"""The files of one model: what is open, when it is finished, and how many stay."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pyarrow as pa

from polyrank.errors import ConfigError, counted
from polyrank.serving.predictions.counts import Counts
from polyrank.serving.predictions.part import Part, clear_left_behind, finished
from polyrank.serving.predictions.settings import PredictionLogSettings
from polyrank.serving.predictions.types import fitted, widened

BUFFER_BYTES = 8 * 2**20
"""Rows that are held until so many can be written as one group."""
_logger = logging.getLogger("polyrank.serving")


def check_folder(path: Path) -> None:
    """Make the folder of a log, before anything is answered.

    Raises:
        ConfigError: It cannot be made, or nothing can be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or type(error).__name__
    else:
        if os.access(path, os.W_OK | os.X_OK):
            return
        why = "no permission to write"
    raise ConfigError(
        f"nothing can be logged there: {why}",
        where=str(path),
        hint="Give a folder that this process may write to, or switch the log off.",
    )


class Folder:
    """Takes rows and writes files; for one thread. What the disk refuses is counted and told on
    the log of the process, never raised.

    Args:
        path: The folder; made when the first row comes.
        settings: How large files are, and how many stay.
        counts: Where everything is counted.
    """

    def __init__(self, path: Path, settings: PredictionLogSettings, counts: Counts) -> None:
        self._path, self._settings, self._counts = path, settings, counts
        self._known = pa.schema([])
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._part: Part | None = None
        self._requests = 0
        """In the buffer and the part: what a refusal loses."""
        self._due = self._blocked_until = -float("inf")
        self._is_ready = False

    def add(self, table: pa.Table) -> None:
        """The rows of one request."""
        schema = widened(self._known, table.schema)
        if schema is None:  # of other types: a file of its own, which ends what is open
            schema = widened(pa.schema([]), table.schema)
            assert schema is not None, "nothing stands against it"
        if schema != self._known:
            self.finish()
            self._known = schema
        now = time.monotonic()
        if now < self._blocked_until:
            self._counts.add(lost=1)
            return
        try:
            self._held.append(fitted(table, schema))
        except pa.ArrowInvalid:
            self._counts.add(unfit=1)
            return
        if not self._requests:
            self._due = now + self._settings.file_seconds
        self._requests += 1
        self._held_bytes += self._held[-1].nbytes
        if self._held_bytes >= min(BUFFER_BYTES, self._settings.file_bytes):
            self._write(whole=False)

    @property
    def num_open(self) -> int:
        """Requests that are in no file yet."""
        return self._requests

    def seconds_left(self) -> float | None:
        """Until ``finish_due`` has something to do; null: no row is open."""
        return max(0.0, self._due - time.monotonic()) if self._requests else None

    def finish_due(self) -> None:
        """Finish the file if it is old enough."""
        if self._requests and time.monotonic() >= self._due:
            self.finish()

    def finish(self) -> None:
        """Write what is held, and make the open part a file."""
        if self._requests:
            self._write(whole=True)

    def _write(self, *, whole: bool) -> None:
        try:
            self._flush()
            assert self._part is not None, "a flush opens it"
            if whole or self._part.size >= self._settings.file_bytes:
                self._publish(self._part)
        except OSError as error:
            self._give_up(error)

    def _flush(self) -> None:
        if not self._held:
            return
        if not self._is_ready:
            self._path.mkdir(parents=True, exist_ok=True)
            clear_left_behind(self._path)
            self._is_ready = True
        if self._part is None:
            self._part = Part(self._path, self._known)
        self._part.write(pa.concat_tables(self._held))
        self._held, self._held_bytes = [], 0

    def _publish(self, part: Part) -> None:
        path = part.publish()
        self._part = None
        self._counts.add(written=self._requests, files=1, bytes=path.stat().st_size)
        self._requests = 0
        self._retire()

    def _give_up(self, error: OSError) -> None:
        """Lose what is open, and let the disk rest."""
        told = "the prediction log %s was refused: %s; %s lost, tried again in %g s"
        lost, pause = counted(self._requests, "answered request"), self._settings.retry_seconds
        _logger.warning(told, self._path, error.strerror or type(error).__name__, lost, pause)
        if self._part is not None:
            self._part.discard()
        self._counts.add(lost=self._requests, refusals=1)
        self._part, self._held, self._held_bytes, self._requests = None, [], 0, 0
        self._is_ready = False
        self._blocked_until = time.monotonic() + self._settings.retry_seconds

    def _retire(self) -> None:
        """Remove the oldest files beyond what may stay; the newest always does."""
        files = [(path, path.stat().st_size) for path in finished(self._path)]
        total = sum(size for _, size in files)
        for place, (path, size) in enumerate(files[:-1]):
            few = len(files) - place <= self._settings.keep_files
            if few and total <= self._settings.keep_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size
            self._counts.add(removed=1)
