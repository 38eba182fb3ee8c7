"""From settings to a store that is checked to hold what a bundle reads."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from polyrank.data import load_side_table
from polyrank.schema import Schema, SideTable
from polyrank.serving.features.backend import Backend, check_header
from polyrank.serving.features.breaker import Breaker
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.files import FileBackend
from polyrank.serving.features.guarded import GuardedStore
from polyrank.serving.features.lmdb_file import LmdbFormat
from polyrank.serving.features.memory import MemoryStore
from polyrank.serving.features.redis_store import RedisBackend
from polyrank.serving.features.settings import (
    LmdbStoreSettings,
    MemoryStoreSettings,
    RedisStoreSettings,
    SqliteStoreSettings,
    StoreSettings,
)
from polyrank.serving.features.sqlite_file import SqliteFormat
from polyrank.serving.features.store import FeatureStore

_MS = 1e-3


def codec_of(side: SideTable, table: pa.Table) -> RowCodec:
    """The rows of a side table as a bundle has it."""
    return RowCodec(side.name, side.key, table.schema)


def open_store(
    settings: StoreSettings, side: SideTable, schema: Schema, table: pa.Table
) -> FeatureStore:
    """A store of one side table.

    Args:
        settings: Which.
        side: The declaration of the table.
        schema: The bundle's.
        table: The bundle's; what it has, the store must have.

    Raises:
        ConfigError: A file is not there, or an address cannot be read.
        ArtefactError: The store holds other columns.
    """
    codec = codec_of(side, table)
    if isinstance(settings, MemoryStoreSettings):
        if settings.path is not None:
            table = read_side_table(settings.path, side, schema, codec)
        return MemoryStore(table, codec)
    breaker = Breaker(settings.failures, settings.cooldown_s)
    timeout_s = settings.timeout_ms * _MS
    return GuardedStore(_backend(settings, codec), codec, timeout_s=timeout_s, breaker=breaker)


def read_side_table(path: Path, side: SideTable, schema: Schema, codec: RowCodec) -> pa.Table:
    """A side table from a file, with the columns that the bundle has.

    A column without any value takes the bundle's type.

    Raises:
        ArtefactError: It has other columns.
    """
    table = load_side_table(path, side, schema)
    for place, field in enumerate(table.schema):
        wanted = codec.schema.get_field_index(field.name)
        if pa.types.is_null(field.type) and wanted >= 0:
            values = table.column(field.name).cast(codec.schema.field(wanted).type)
            table = table.set_column(place, field.name, values)
    there = [name for name in codec.schema.names if name in table.column_names]
    others = [name for name in table.column_names if name not in there]
    found = RowCodec(side.name, side.key, table.select([*there, *others]).schema)
    check_header(found.header, codec, path.name)
    return table


def _backend(
    settings: SqliteStoreSettings | LmdbStoreSettings | RedisStoreSettings, codec: RowCodec
) -> Backend:
    match settings:
        case SqliteStoreSettings():
            return FileBackend(settings.path, codec, SqliteFormat())
        case LmdbStoreSettings():
            return FileBackend(settings.path, codec, LmdbFormat())
        case RedisStoreSettings():
            return RedisBackend(
                settings.address(),
                codec,
                prefix=settings.prefix,
                most=settings.connections,
                connect_s=settings.connect_ms * _MS,
            )
