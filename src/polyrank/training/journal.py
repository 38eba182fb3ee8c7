"""The log of a run: ``log.jsonl``, one JSON record a line.

Apart from the key ``timing`` of each record it is a function of the configuration and the data: on
resume it is cut back to where the checkpoint was made, and ends as that of an uninterrupted run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Self

from polyrank.storage.failures import storage_errors
from polyrank.training.records import Record, as_json

LOG = "log.jsonl"


class Journal:
    """The log of one run, open for appending.

    Args:
        path: The file; made if it is missing.
        position: Bytes of it that stay; 0 starts afresh.

    Attributes:
        notices: What a user should know: a log shorter than the checkpoint remembers.

    Raises:
        StorageError: The disk refused.
    """

    def __init__(self, path: Path, position: int) -> None:
        self.notices: list[str] = []
        self._where = path.name
        with storage_errors("open the log", self._where):
            self._file = path.open("ab")
            length = path.stat().st_size
            if length < position:
                self.notices.append(
                    f"{path.name} has {length} bytes, the checkpoint remembers {position}: "
                    "what is missing stays missing"
                )
            self._file.truncate(min(position, length))

    def record(self, record: Record) -> None:
        """Append one line.

        Raises:
            StorageError: The disk refused.
        """
        line = json.dumps(as_json(record), ensure_ascii=False, allow_nan=False)
        with storage_errors("write the log", self._where):
            self._file.write(line.encode() + b"\n")
            self._file.flush()

    def sync(self) -> int:
        """Make what was written durable; the number of bytes so far.

        Raises:
            StorageError: The disk refused.
        """
        with storage_errors("sync the log", self._where):
            os.fsync(self._file.fileno())
            return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
