"""Filling a store with the side tables that a bundle reads."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from polyrank.errors import ConfigError, StorageError
from polyrank.serving.features.backend import StoreDown
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.files import FileFormat
from polyrank.serving.features.lmdb_file import LmdbFormat
from polyrank.serving.features.redis_store import fill_redis
from polyrank.serving.features.settings import (
    LmdbStoreSettings,
    MemoryStoreSettings,
    RedisStoreSettings,
    SqliteStoreSettings,
    StoreSettings,
)
from polyrank.serving.features.sqlite_file import SqliteFormat
from polyrank.storage.targets import check_file

_CHUNK_ROWS = 10_000
Filled = Mapping[str, tuple[RowCodec, pa.Table]]


def fill(settings: StoreSettings, tables: Filled) -> dict[str, int]:
    """Put side tables into a store, in force all at once; servers that read it take them over.

    A file is written beside and given the name, with these tables and no others; in Redis each
    table is replaced by itself.

    Args:
        settings: Where to.
        tables: Codec and rows by name.

    Returns:
        The number of rows by table.

    Raises:
        ConfigError: Nothing fills such a store, or another file lies in its place.
        StorageError: The disk or the server refused; what was there before is in force.
    """
    match settings:
        case RedisStoreSettings():
            address = settings.address()
            return {
                name: fill_redis(address, codec, _rows(codec, table), prefix=settings.prefix)
                for name, (codec, table) in tables.items()
            }
        case SqliteStoreSettings():
            check_file(settings.path, kind="SQLite", replace=True)
            _write(SqliteFormat(), settings.path, tables)
        case LmdbStoreSettings():
            check_file(settings.path, kind="LMDB", replace=True)
            _write(LmdbFormat(), settings.path, tables)
        case MemoryStoreSettings():
            raise ConfigError(
                "what is in memory is filled when the server starts",
                hint="Name a .sqlite or .lmdb file, or redis://host.",
            )
    return {name: table.num_rows for name, (_, table) in tables.items()}


def held(settings: StoreSettings, names: Iterable[str]) -> tuple[str, ...]:
    """Which of these side tables a file has: those that ``fill`` without them drops.

    Raises:
        ConfigError: What its format needs is not installed.
    """
    if not isinstance(settings, SqliteStoreSettings | LmdbStoreSettings):
        return ()
    file_format = SqliteFormat() if isinstance(settings, SqliteStoreSettings) else LmdbFormat()
    return tuple(name for name in names if _has(file_format, settings.path, name))


def _has(file_format: FileFormat, path: Path, name: str) -> bool:
    if not path.is_file():
        return False
    try:
        reader, header = file_format.open(path, name)
    except StoreDown:
        return False
    reader.close()
    return header is not None


def _write(file_format: FileFormat, path: Path, tables: Filled) -> None:
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    contents = (
        (name, json.dumps(codec.header, ensure_ascii=False), _rows(codec, table))
        for name, (codec, table) in tables.items()
    )
    try:
        file_format.write(temporary, contents)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.absolute().parent)
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error}",
            where=path.name,
            hint="Free space, or choose a folder that can be written to.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rows(codec: RowCodec, table: pa.Table) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, table.num_rows, _CHUNK_ROWS):
        yield from codec.encode(table.slice(start, _CHUNK_ROWS))
