"""The columns of all side tables by id, as the offline join would have added them.

Shapes: N rows of a request, R distinct ids among them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.errors import ConfigError, suggest
from polyrank.schema import Schema
from polyrank.serving.deadline import Deadline
from polyrank.serving.features.counts import Counts
from polyrank.serving.features.memory import MemoryStore
from polyrank.serving.features.opening import open_store
from polyrank.serving.features.settings import MemoryStoreSettings, StoreSettings
from polyrank.serving.features.side import Side
from polyrank.serving.features.store import FeatureStore, Reason


@dataclass(frozen=True)
class Completed:
    """A request's rows with all that is known of their ids."""

    table: pa.Table
    """(N rows) What was given, then the columns of the side tables that it lacked."""
    known: Mapping[str, NDArray[np.bool_]]
    """By side table that was asked: (N,) whether it has a row of the id."""
    degraded: Mapping[str, Reason]
    """By side table that gave defaults: why."""


class Provider:
    """The side tables of one bundle, each in its store; any number of threads may use it at once.

    Args:
        schema: The bundle's.
        tables: The bundle's; their columns and types count.
        stores: By side table, as ``open_store`` gives them.
    """

    def __init__(
        self, schema: Schema, tables: Mapping[str, pa.Table], stores: Mapping[str, FeatureStore]
    ) -> None:
        self._stores = dict(stores)
        self._in_memory = {
            name: store for name, store in stores.items() if isinstance(store, MemoryStore)
        }
        types = {side.name: tables[side.name].schema for side in schema.tables}
        kinds = {side.on: types[side.name].field(side.key).type for side in schema.tables}
        self._sides = [Side(side, schema, types[side.name], kinds) for side in schema.tables]

    @classmethod
    def open(
        cls,
        schema: Schema,
        tables: Mapping[str, pa.Table],
        settings: Mapping[str, StoreSettings],
    ) -> Provider:
        """The provider of a bundle.

        Args:
            schema: The bundle's.
            tables: The bundle's.
            settings: By side table; those not named are in memory, as in ``tables``.

        Raises:
            ConfigError: A table that the schema does not declare, or a file that is not there.
            ArtefactError: A store holds other columns than the bundle reads.
        """
        for name in settings:
            if name not in tables:
                raise ConfigError(
                    f"the schema declares no side table {name!r}", hint=suggest(name, tables)
                )
        stores: dict[str, FeatureStore] = {}
        try:
            for side in schema.tables:
                given = settings.get(side.name, MemoryStoreSettings())
                stores[side.name] = open_store(given, side, schema, tables[side.name])
        except BaseException:
            for store in stores.values():
                store.close()
            raise
        return cls(schema, tables, stores)

    def complete(
        self, table: pa.Table, deadline: Deadline, tables: Collection[str] | None = None
    ) -> Completed:
        """The table with the columns of every side table that it has not all of.

        A column that is given stays. Ids are read as the offline join reads them: values declared
        missing are null, and null is unknown.

        Args:
            table: (N rows) With the key columns of the side tables it lacks columns of.
            deadline: Of all stores together; they are asked one after the other.
            tables: Side tables that are asked; null: all.

        Raises:
            DataError: A key column is missing, or of another kind than the table's key.
        """
        known: dict[str, NDArray[np.bool_]] = {}
        degraded: dict[str, Reason] = {}
        for side in self._sides:
            if tables is not None and side.name not in tables:
                continue
            there = table.column_names
            lacking = side.lacking(there)
            if not lacking:
                continue
            ids, row_N = _distinct(side.keys_in(table))
            fetched = self._stores[side.name].fetch(ids, deadline)
            if fetched.degraded is not None:
                degraded[side.name] = fetched.degraded
            known[side.name] = np.append(fetched.known_N, np.False_)[row_N]
            found = fetched.table
            if len(lacking) < found.num_columns:
                found = found.select(lacking)
            if len(ids) < len(row_N):  # else each row has an id of its own, in this order
                found = found.take(pa.array(row_N, mask=row_N < 0))
            table = _with_columns(table, side, found)
        return Completed(table, known, degraded)

    def rows_of(self, name: str) -> pa.Table | None:
        """All rows of a side table without its key, where they are in memory."""
        return self._in_memory[name].table if name in self._in_memory else None

    def find(self, table: pa.Table, name: str) -> NDArray[np.int64]:
        """(N,) Where the ids of a table's rows stand in a side table in memory; -1: unknown.

        Raises:
            DataError: As ``complete``.
        """
        side = next(side for side in self._sides if side.name == name)
        ids, row_N = _distinct(side.keys_in(table))
        found_N: NDArray[np.int64] = np.append(self._in_memory[name].find(ids), -1)[row_N]
        return found_N

    def extended(
        self, table: pa.Table, name: str, row_N: NDArray[np.int64], columns: Sequence[str]
    ) -> pa.Table:
        """The table with columns of a side table in memory, of the rows that ``find`` found."""
        side = next(side for side in self._sides if side.name == name)
        found = self._in_memory[name].take(row_N, columns)
        return _with_columns(table, side, found)

    def counts(self) -> dict[str, Counts]:
        """By side table, what was counted since it was opened; ids that repeat within a request
        count once."""
        return {name: store.counts for name, store in self._stores.items()}

    def describe(self) -> dict[str, dict[str, Any]]:
        """By side table, kind and state of its store."""
        return {name: store.describe() for name, store in self._stores.items()}

    def close(self) -> None:
        """Close every store, as soon as nobody is using it."""
        for store in self._stores.values():
            store.close()


def _with_columns(table: pa.Table, side: Side, found: pa.Table) -> pa.Table:
    names = found.column_names
    added = side.agreeing(dict(zip(names, found.columns, strict=True)), table.schema)
    columns = [*table.columns, *added.values()]
    return pa.Table.from_arrays(columns, names=[*table.column_names, *names])


def _distinct(keys: Any) -> tuple[Any, NDArray[np.int64]]:
    """(R,) The ids that are not null, and (N,) which of them each row has, -1 where null."""
    if len(keys) == 1 and not keys.null_count:
        return keys, np.zeros(1, dtype=np.int64)
    encoded = keys.dictionary_encode()
    indices = encoded.indices.fill_null(-1) if keys.null_count else encoded.indices
    return encoded.dictionary, indices.to_numpy(zero_copy_only=False).astype(np.int64)
