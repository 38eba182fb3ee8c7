"""The log: takes answers from the server's threads, writes them from one of its own."""

from __future__ import annotations

import hashlib
import re
import threading
from pathlib import Path

import pyarrow as pa

from polyrank.serving.predictions.answer import Answer, size_of
from polyrank.serving.predictions.columns import rows_of
from polyrank.serving.predictions.counts import Counted, Counts
from polyrank.serving.predictions.folder import Folder
from polyrank.serving.predictions.settings import PredictionLogSettings
from polyrank.serving.predictions.waiting import Waiting
from polyrank.serving.sampling import is_sampled

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


class PredictionLog:
    """Logs answered requests into Parquet files, a folder a model.

    Adding never waits: not for the disk, not for room. One thread writes; a file gets its name once
    it is whole and on the disk, so a killed process loses what was in its open part and no reader
    ever takes half a file for a whole one. A disk that refuses costs the requests of the open part
    and of the next ``retry_seconds``, which are counted; then it is tried again.

    Args:
        folder: Where; made when it is first needed.
        settings: What and how much.
    """

    def __init__(self, folder: Path, settings: PredictionLogSettings | None = None) -> None:
        self.folder = folder
        self.settings = settings or PredictionLogSettings()
        self._counts = Counts()
        self._waiting = Waiting(self.settings.queue_bytes)
        self._folders: dict[str, Folder] = {}
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def append(self, answer: Answer) -> bool:
        """Log a request.

        Returns:
            Whether it waits to be written; else it was sampled out, or dropped and counted.
        """
        name = answer.request.encode()
        if not is_sampled(name, self.settings.sample, person=b"prediction-log"):
            self._counts.add(sampled_out=1)
            return False
        taken = self._waiting.offer(answer, size_of(answer))
        if not taken:
            self._counts.add(dropped=1)
        return taken

    def fits(self, num_bytes: int) -> bool:
        """Whether an answer of so many bytes could ever wait: to be asked before it is made.

        Where it could not, a request is counted as dropped.
        """
        fits = num_bytes <= self.settings.queue_bytes
        if not fits:
            self._counts.add(dropped=1)
        return fits

    def folder_of(self, model: str) -> Path:
        """Where the files of a model are; what ``polyrank monitor`` reads."""
        plain = _PLAIN_NAME.fullmatch(model)
        digest = hashlib.sha256(model.encode()).hexdigest()[:16]
        return self.folder / (model if plain else f"model-{digest}")

    def counts(self) -> Counted:
        """What became of the requests so far."""
        return self._counts.read(len(self._waiting))

    @property
    def unfinished(self) -> int:
        """Requests that were taken and are in no file yet, but for the one in hand."""
        return len(self._waiting) + sum(each.num_open for each in list(self._folders.values()))

    def close(self, timeout: float | None = None) -> bool:
        """Take no more, write what waits, and finish the open files.

        Args:
            timeout: Seconds to wait for it; null: as long as it takes.

        Returns:
            Whether all was done in time.
        """
        self._waiting.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not (self._waiting.closed and not len(self._waiting)):
                answer = self._waiting.take(self._seconds_left())
                if answer is not None:
                    self._take(answer)
                for folder in self._folders.values():
                    folder.finish_due()
            for folder in self._folders.values():
                folder.finish()
        finally:
            self._waiting.close()

    def _take(self, answer: Answer) -> None:
        try:
            table = rows_of(answer, self.settings)
        except (ValueError, TypeError, pa.ArrowException):
            self._counts.add(unfit=1)
            return
        path = self.folder_of(answer.model)
        if answer.model not in self._folders:
            self._folders[answer.model] = Folder(path, self.settings, self._counts)
        if table.num_rows:
            self._folders[answer.model].add(table)

    def _seconds_left(self) -> float | None:
        left = [folder.seconds_left() for folder in self._folders.values()]
        return min((each for each in left if each is not None), default=None)
