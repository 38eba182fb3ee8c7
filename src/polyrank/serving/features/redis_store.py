"""Rows in Redis: one ``MGET`` for the header of the table and all rows of a call.

Keys, of a side table ``items``:

- ``polyrank:items``: what was filled last, for whoever looks;
- ``polyrank:items:<fingerprint>``: the header, with the generation that is in force;
- ``polyrank:items:<fingerprint>:<generation>:<id>``: a row.

The header comes with every answer, so that a store that lost its rows (a restart without a
snapshot, ``FLUSHALL``) is not taken for one that knows no id, and one filled anew while in use is
taken over between two calls and never mixed. Bundles with other columns have their own rows.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from polyrank.errors import ArtefactError, StorageError
from polyrank.serving.deadline import Deadline
from polyrank.serving.features.backend import StoreDown, StoreLate, check_header
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.columns import WrongBytes
from polyrank.serving.features.pool import Pool
from polyrank.serving.features.resp import Address, Connection, Reply

_CHANGES = 3
"""Times that a table may be filled anew during one call."""
_BATCH = 1000
_FILL_S = 30.0


@dataclass(frozen=True)
class _Header:
    """What stands under the fingerprint."""

    raw: bytes
    generation: bytes


class RedisBackend:
    """The rows of one side table in Redis.

    Args:
        address: Of the server.
        codec: Of the table.
        prefix: Before every key.
        most: Connections at once.
        connect_s: Seconds to make one in.

    Raises:
        ArtefactError: The server is there and has no such rows. One that is not there is asked
            again when rows are wanted.
    """

    kind = "redis"

    def __init__(
        self, address: Address, codec: RowCodec, *, prefix: str, most: int, connect_s: float
    ) -> None:
        self._codec = codec
        self._where = str(address)
        self._keys = _Keys(prefix, codec)
        self._header: _Header | None = None
        self._pool = Pool(lambda: Connection(address, Deadline.within(connect_s)), most)
        try:
            with self._pool.taken(Deadline.within(connect_s)) as connection:
                self._look(connection, Deadline.within(connect_s))
        except (StoreDown, StoreLate, WrongBytes):
            return
        except ArtefactError:
            self.close()
            raise

    def get(self, keys: Sequence[bytes], deadline: Deadline) -> Sequence[bytes | None]:
        """The rows of one generation; asked again at once where idle connections broke."""
        try:
            return self._get(keys, deadline)
        except StoreDown:
            self._pool.forget_idle()
            return self._get(keys, deadline)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _get(self, keys: Sequence[bytes], deadline: Deadline) -> Sequence[bytes | None]:
        header = self._header
        with self._pool.taken(deadline) as connection:
            for _ in range(_CHANGES):
                wanted = [] if header is None else self._keys.rows(header.generation, keys)
                replies = connection.call([b"MGET", self._keys.header, *wanted], deadline)
                first, *rows = _values(replies, 1 + len(wanted))
                if header is not None and first == header.raw:
                    return rows
                self._header = header = self._read(first)
        raise WrongBytes("filled anew all the time")

    def _look(self, connection: Connection, deadline: Deadline) -> None:
        """Read the header; tell what differs where there is none."""
        words = [b"MGET", self._keys.header, self._keys.table]
        header, latest = _values(connection.call(words, deadline), 2)
        if header is None:
            wanted, other = self._codec.header, _tree(latest)
            there = {name: other.get(name) for name in wanted} if other else None
            check_header(None if there == wanted else there, self._codec, self._where)
        self._header = self._read(header)

    def _read(self, raw: bytes | None) -> _Header:
        generation = _tree(raw).get("generation") if raw is not None else None
        if raw is None or not isinstance(generation, str):
            raise WrongBytes("the rows of this table are gone")
        return _Header(raw, generation.encode())


class _Keys:
    """The keys of one side table."""

    def __init__(self, prefix: str, codec: RowCodec) -> None:
        self.table = f"{prefix}:{codec.name}".encode()
        self.header = self.table + b":" + codec.fingerprint.encode()

    def rows(self, generation: bytes, keys: Sequence[bytes]) -> list[bytes]:
        """The keys of rows."""
        front = self.header + b":" + generation + b":"
        return [front + key for key in keys]

    def all_rows(self) -> bytes:
        """A pattern of the keys of all generations."""
        special = b"\\*?[]^-"
        plain = b"".join(b"\\" + bytes([c]) if c in special else bytes([c]) for c in self.header)
        return plain + b":*"


def fill_redis(
    address: Address, codec: RowCodec, rows: Iterable[tuple[bytes, bytes]], *, prefix: str
) -> int:
    """Put rows of a side table into Redis, in force all at once; older ones of it are removed.

    Returns:
        The number of rows.

    Raises:
        StorageError: The server is not there, or refuses: full, read-only, no permission.
    """
    try:
        connection = Connection(address, Deadline.within(_FILL_S))
        try:
            return _fill(connection, _Keys(prefix, codec), codec, rows)
        finally:
            connection.close()
    except (StoreDown, StoreLate, WrongBytes) as error:
        raise StorageError(
            f"cannot fill side table {codec.name!r}: {error}",
            where=str(address),
            hint="What was in force before still is. See that the server runs and has room.",
        ) from error


def _fill(
    connection: Connection, keys: _Keys, codec: RowCodec, rows: Iterable[tuple[bytes, bytes]]
) -> int:
    generation = secrets.token_hex(4)
    number = 0
    for batch in _batches(rows):
        names = keys.rows(generation.encode(), [key for key, _ in batch])
        pairs = zip(names, (row for _, row in batch), strict=True)
        _call(connection, [b"MSET", *(word for pair in pairs for word in pair)])
        number += len(batch)
    header = codec.header | {"generation": generation, "rows": number}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    _call(connection, [b"MSET", keys.table, text, keys.header, text])
    _remove_others(connection, keys, generation.encode())
    return number


def _remove_others(connection: Connection, keys: _Keys, generation: bytes) -> None:
    front = keys.header + b":" + generation + b":"
    cursor = b"0"
    while True:
        words = [b"SCAN", cursor, b"MATCH", keys.all_rows(), b"COUNT", b"%d" % _BATCH]
        cursor, found = _call(connection, words)
        old = [key for key in found if not key.startswith(front)]
        if old:
            _call(connection, [b"UNLINK", *old])
        if cursor == b"0":
            return


def _call(connection: Connection, words: Sequence[bytes]) -> Reply:
    return connection.call(words, Deadline.within(_FILL_S))


def _batches(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    stream = iter(rows)
    while batch := list(islice(stream, _BATCH)):
        yield batch


def _values(reply: Reply, number: int) -> list[bytes | None]:
    good = isinstance(reply, list) and len(reply) == number
    if not good or not all(value is None or isinstance(value, bytes) for value in reply):
        raise WrongBytes("not so many values as asked for")
    values: list[bytes | None] = reply
    return values


def _tree(raw: bytes | None) -> dict[str, Any]:
    try:
        tree = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return tree if isinstance(tree, dict) else {}
