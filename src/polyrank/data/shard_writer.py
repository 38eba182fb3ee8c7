"""A stream of encoded rows, cut into shards as it is written."""

from __future__ import annotations

from collections.abc import Iterable

from polyrank.data.records import RecordFormat, Rows, join
from polyrank.data.shards import Entry, Index, Shard, write_shard
from polyrank.errors import ConfigError


class ShardWriter:
    """Cuts a stream of rows into shards, whatever pieces it comes in."""

    def __init__(
        self,
        descriptor: int,
        form: RecordFormat,
        shard_rows: int,
        max_bytes: int | None,
        where: str,
    ) -> None:
        self._descriptor = descriptor
        self._form = form
        self._shard_rows = shard_rows
        self._max_bytes = max_bytes
        self._where = where
        self._waiting: list[Rows] = []
        self._num_waiting = 0
        self._shards: list[Shard] = []
        self._num_bytes = 0

    def add(self, rows: Rows) -> None:
        """Takes the next rows."""
        self._waiting.append(rows)
        self._num_waiting += len(rows)
        if self._num_waiting >= self._shard_rows:
            self._write_waiting(self._shard_rows)

    def finish(self, fingerprint: str, data: str) -> Index:
        """Writes what is left; the index of the file."""
        if self._num_waiting:
            self._write_waiting(1)
        return index_of(self._shards, self._form, fingerprint, data)

    def _write_waiting(self, fewest: int) -> None:
        """Writes shards while at least ``fewest`` rows wait."""
        rest = join(self._waiting)
        while len(rest) >= fewest:
            shard, rest = self._form.split(rest, min(self._shard_rows, len(rest)))
            self._write(shard)
        # Copied, so that the rows already written are not kept alive.
        self._waiting = [Rows(rest.records.copy(), tuple(ids.copy() for ids in rest.values))]
        self._num_waiting = len(rest)

    def _write(self, rows: Rows) -> None:
        num_values = tuple(len(ids) for ids in rows.values)
        num_bytes = rows.records.nbytes + 4 * sum(num_values)
        rows_so_far = len(rows) + sum(shard.num_rows for shard in self._shards)
        check_room(rows_so_far, self._num_bytes + num_bytes, self._max_bytes)
        crc32 = write_shard(self._descriptor, rows, self._where)
        self._shards.append(Shard(len(rows), self._num_bytes, num_values, num_bytes, crc32))
        self._num_bytes += num_bytes


def check_room(num_rows: int, num_bytes: int, max_bytes: int | None) -> None:
    """Refuse to grow beyond a bound.

    Raises:
        ConfigError: So many rows take more than ``max_bytes``.
    """
    if max_bytes is None or num_bytes <= max_bytes:
        return
    raise ConfigError(
        f"the encoded log does not fit `max_bytes` = {max_bytes}: its first {num_rows} "
        f"rows alone take {num_bytes} bytes ({num_bytes / num_rows:.0f} a row)",
        hint="raise `max_bytes`, or give null for no bound",
    )


def index_of(
    shards: Iterable[Shard],
    form: RecordFormat,
    fingerprint: str,
    data: str,
    longest_request: int | None = None,
) -> Index:
    """The index of these shards."""
    return Index(
        fingerprint=fingerprint,
        data=data,
        groups=form.groups,
        signature=form.signature(),
        entries=tuple(
            Entry(rows=shard.num_rows, values=shard.num_values, crc32=shard.crc32)
            for shard in shards
        ),
        longest_request=longest_request,
    )
