"""The encoded log on disk: written in the first pass, so that no later one parses anything.

A directory with one file of shards and one index that names it. The file gets a fresh name in each
build and the index is replaced in one step when the file is whole: a reader finds the old log, the
new one or none, and two processes that build at the same time do not touch each other's file. The
directory is safe to delete at any time.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from polyrank.data.batch import Batch
from polyrank.data.encoders import Encoders
from polyrank.data.encoding.columns import pieces
from polyrank.data.gather import gather
from polyrank.data.layout import Layout
from polyrank.data.loader import WINDOW_BYTES, Cursor, stream, windows_of
from polyrank.data.records import RecordFormat, Rows
from polyrank.data.shard_writer import ShardWriter, check_room, index_of
from polyrank.data.shards import Index, Shard, parse_index, read_shards
from polyrank.errors import ArtefactError, ConfigError, DataError
from polyrank.storage.failures import storage_errors

_INDEX = "encoded.json"
_DATA = re.compile(r"rows-[0-9a-f]{16}\.bin")
_SHARD_BYTES = 8 << 20
_FEWEST_ROWS = 1024
_PIECE = 1 << 16
"""Rows encoded together while building: bounds the memory for a large chunk."""


class EncodedLog:
    """A log after encoding, on disk; batches from any cursor on. Made by ``build`` and ``open``.

    The file stays open, so nothing that happens to the directory disturbs a reader.

    Attributes:
        num_rows: Rows of the log.
        longest_request: Rows of the longest request, where ``by_request`` brought those of each
            together; else None.
    """

    def __init__(self, descriptor: int, form: RecordFormat, index: Index, where: str) -> None:
        weakref.finalize(self, os.close, descriptor)
        self._descriptor = descriptor
        self._form = form
        self._shards = index.shards(form.row_bytes)
        self._where = where
        self.num_rows = sum(shard.num_rows for shard in self._shards)
        self.longest_request = index.longest_request

    @classmethod
    def build(
        cls,
        directory: Path,
        encoders: Encoders,
        chunks: Iterable[pa.Table],
        *,
        fingerprint: str,
        shard_rows: int = 262_144,
        max_bytes: int | None = None,
    ) -> EncodedLog:
        """Encodes the chunks into the directory, in place of an encoded log that is there.

        The bytes do not depend on how the rows are cut into chunks.

        Args:
            directory: Made if missing. Files of other programs in it are left alone.
            encoders: Fitted.
            chunks: Tables with labels.
            fingerprint: Of log and encoders; ``open`` asks for it.
            shard_rows: Rows of a shard at most; fewer where 8 MiB hold fewer.
            max_bytes: Of the file of shards; None for no bound.

        Raises:
            ConfigError: It would grow beyond ``max_bytes``; what was written is removed.
            StorageError: The disk refused; what was written is removed.
            DataError: As from ``Encoders.encode``.
        """
        if shard_rows < 1:
            raise ConfigError(f"`shard_rows` must be at least 1, got {shard_rows}")
        keys = encoders.schema.keys.named()
        form = RecordFormat(
            encoders.layout, tuple(role for role in ("user", "request") if role in keys)
        )
        with storage_errors("make the directory of the encoded log", directory.name):
            directory.mkdir(parents=True, exist_ok=True)
        _clear_stale(directory)
        with _fresh_file(directory) as (name, descriptor):
            writer = ShardWriter(descriptor, form, min(shard_rows, _rows_of(form)), max_bytes, name)
            for chunk in chunks:
                for piece in pieces(chunk, _PIECE):
                    writer.add(form.pack(encoders.encode(piece)))
            index = writer.finish(fingerprint, name)
            _publish(directory, index)
            log = cls(os.dup(descriptor), form, index, name)
        _clear_stale(directory)
        pa.default_memory_pool().release_unused()
        return log

    def by_request(
        self,
        directory: Path,
        *,
        fingerprint: str,
        max_bytes: int | None = None,
        shard_bytes: int = _SHARD_BYTES,
    ) -> EncodedLog:
        """Writes the same rows into another directory, so that no request is cut.

        Rows of a request stand in the order of the log, requests in one of their own. As ``build``
        otherwise: fresh file, ``fingerprint``, errors. The schema has a key "request".

        Args:
            directory: As for ``build``.
            fingerprint: As for ``build``.
            max_bytes: As for ``build``.
            shard_bytes: Of a shard, about; one that holds a longer request is larger.
        """
        total = sum(shard.num_bytes for shard in self._shards)
        check_room(self.num_rows, total, max_bytes)
        with storage_errors("make the directory of the encoded log", directory.name):
            directory.mkdir(parents=True, exist_ok=True)
        _clear_stale(directory)
        with _fresh_file(directory) as (name, descriptor):
            made = gather(
                self._shards,
                self._load,
                self._form,
                descriptor,
                part_bytes=shard_bytes,
                where=name,
            )
            index = index_of(made.shards, self._form, fingerprint, name, made.longest)
            _publish(directory, index)
            log = EncodedLog(os.dup(descriptor), self._form, index, name)
        _clear_stale(directory)
        return log

    @classmethod
    def open(cls, directory: Path, fingerprint: str, layout: Layout) -> EncodedLog | None:
        """The encoded log of this fingerprint, every byte checked; None if it is not there whole.

        None means: absent, of another log or other encoders, incomplete, or altered. Build again.

        Raises:
            StorageError: The disk refused.
        """
        try:
            index = _read_index(directory)
            if index is None or index.fingerprint != fingerprint:
                return None
            form = RecordFormat(layout, index.groups)
            return cls._open_data(directory, form, index)
        except ArtefactError:
            return None

    def num_batches(self, batch_size: int) -> int:
        """Batches of an epoch, a smaller last one counted."""
        if batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1, got {batch_size}")
        return -(-self.num_rows // batch_size)

    def batches(
        self,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        start: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        whole_requests: bool = False,
    ) -> Iterator[Batch]:
        """The batches of an epoch from number ``start`` on, without reading what lies before.

        Each row comes once an epoch, in an order that is a function of ``seed`` and ``epoch``:
        shards are permuted, and rows within windows of shards of 64 MiB. Two windows are in memory.

        Args:
            batch_size: Rows of a batch, of all processes together. The last batch may be smaller.
            seed: Of the order, at least 0.
            epoch: From 0.
            start: The number of the first batch.
            shuffle: Without, the rows come in the order of the log.
            rank: This process; it takes rows ``rank::world`` of each batch, perhaps none.
            world: How many processes there are.
            whole_requests: Shuffle requests instead of rows, and cut none: batch i has those whose
                last row is one of the rows [i, i + 1) * ``batch_size`` of the epoch, so there are
                as many batches, of ``batch_size`` rows on average, none empty and none larger by
                more than the longest request; of these, ``rank`` takes every ``world``-th.

        Raises:
            ConfigError: A value out of its range; whole requests of a log that is not by request.
            DataError: A request is longer than ``batch_size``.
            ArtefactError: The file was altered since it was opened.
        """
        cursor = Cursor(
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            start=start,
            shuffle=shuffle,
            rank=rank,
            world=world,
            whole_requests=whole_requests,
        )
        if whole_requests:
            self._check_requests(batch_size)
        if start > self.num_batches(batch_size):
            raise ConfigError(
                f"`start` must be at most {self.num_batches(batch_size)}, the number of batches, "
                f"got {start}",
                hint="resume with the log and the batch size that the cursor comes from",
            )
        return stream(
            windows_of(self._shards, cursor, WINDOW_BYTES), cursor, self._form, self._load
        )

    def _check_requests(self, batch_size: int) -> None:
        longest = self.longest_request
        if longest is None:
            raise ConfigError(
                "`whole_requests` needs a log whose requests stand together",
                hint="give the log that `by_request` makes",
            )
        if longest > batch_size:
            raise DataError(
                f"the longest request has {longest} rows, and a batch of `batch_size` = "
                f"{batch_size} must hold a request whole",
                hint=f"raise `batch_size` to at least {longest}, or leave such requests out of the "
                "log: count its rows by request to find them",
            )

    def whole(self) -> Iterator[Batch]:
        """All rows in the order of the log, a shard at a time (for evaluation)."""
        for shard in self._shards:
            yield self._form.unpack(self._load([shard]))

    def _load(self, shards: Sequence[Shard]) -> Rows:
        return read_shards(self._descriptor, shards, self._form, self._where)

    @classmethod
    def _open_data(cls, directory: Path, form: RecordFormat, index: Index) -> EncodedLog | None:
        if index.signature != form.signature() or not _DATA.fullmatch(index.data):
            return None
        with storage_errors("open the encoded log", directory.name):
            try:
                descriptor = os.open(directory / index.data, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        log = cls(descriptor, form, index, index.data)
        if os.fstat(descriptor).st_size != sum(shard.num_bytes for shard in log._shards):
            return None
        for shard in log._shards:
            log._load([shard])
        return log


def _rows_of(form: RecordFormat) -> int:
    """Rows of a shard, so that it fits 8 MiB even if all lists are full (or has 1,024 rows)."""
    return max(_FEWEST_ROWS, _SHARD_BYTES // form.most_bytes)


def _read_index(directory: Path) -> Index | None:
    """The index; None if there is none.

    Raises:
        ArtefactError: It is not one, or was altered.
    """
    with storage_errors("read the index of the encoded log", directory.name):
        try:
            content = (directory / _INDEX).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return parse_index(content, _INDEX)


def _publish(directory: Path, index: Index) -> None:
    """Replaces the index in one step."""
    temporary = _draft_of(directory / index.data)
    with storage_errors("write the index of the encoded log", directory.name):
        temporary.write_bytes(index.to_bytes())
        temporary.replace(directory / _INDEX)


def _draft_of(data: Path) -> Path:
    """Where the index of a file of shards stands until it is published."""
    return data.with_suffix(".json")


@contextmanager
def _fresh_file(directory: Path) -> Iterator[tuple[str, int]]:
    """A new locked file of shards, open for reading and writing; removed if the block fails."""
    with storage_errors("make the file of the encoded log", directory.name):
        path, descriptor = _claim(directory)
    try:
        yield path.name, descriptor
    except BaseException:
        _remove(path)
        raise
    finally:
        os.close(descriptor)


def _claim(directory: Path) -> tuple[Path, int]:
    """A new file with a lock, which ends with the process however that ends.

    So a file that can be locked, and that the index does not name, is left over.
    """
    while True:
        path = directory / f"rows-{secrets.token_hex(8)}.bin"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
        with suppress(OSError):  # A file system without locks: then nothing is ever left over.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # Another process cleared it away before the lock.


def _clear_stale(directory: Path) -> None:
    """Removes files of shards that the index does not name and no process holds; never raises."""
    with suppress(OSError):
        for name in sorted(os.listdir(directory)):  # noqa: PTH208 - names only
            if _DATA.fullmatch(name):
                _remove_if_stale(directory / name)


def _remove_if_stale(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Read only now: whoever held the lock may have published the file meanwhile.
        if not _is_named(path):
            _remove(path)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)


def _is_named(path: Path) -> bool:
    try:
        index = _read_index(path.parent)
    except ArtefactError:
        return False
    return index is not None and index.data == path.name


def _remove(path: Path) -> None:
    with suppress(OSError):
        _draft_of(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
