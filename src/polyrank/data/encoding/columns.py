"""Which features read ids, which lists, and how the columns of a table are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from polyrank.data.encoding.ids import as_ids
from polyrank.data.encoding.lists import FlatLists, flatten
from polyrank.errors import DataError
from polyrank.schema import Bag, Categorical, Schema, Sequence

ListFeature = Bag | Sequence


def owner_of(feature: Categorical | Bag | Sequence) -> str:
    """The feature whose vocabulary this one uses; itself if it has its own."""
    shares = None if isinstance(feature, Categorical) else feature.shares
    return shares or feature.name


def owners(schema: Schema) -> tuple[Categorical | Bag, ...]:
    """The features with a vocabulary of their own, in the order of the schema."""
    return tuple(
        feature
        for feature in schema.features
        if isinstance(feature, Categorical) or (isinstance(feature, Bag) and not feature.shares)
    )


def place_of(name: str, column: str) -> str:
    """How messages name a feature."""
    return f"feature {name!r}, column {column!r}"


def id_column(feature: Categorical, columns: dict[str, pa.Array]) -> pa.Array:
    """The ids of a categorical feature."""
    return as_ids(columns[feature.column], place_of(feature.name, feature.column))


def list_column(feature: ListFeature, columns: dict[str, pa.Array]) -> FlatLists:
    """The ids of a bag (its first ones) or a sequence (its newest ones)."""
    return flatten(
        columns[feature.column],
        max_length=feature.max_length,
        newest=isinstance(feature, Sequence),
        where=place_of(feature.name, feature.column),
    )


def pick(table: pa.Table, names: Iterable[str]) -> dict[str, pa.Array]:
    """The named columns, each as one array.

    Raises:
        DataError: Columns that the table lacks, all of them.
    """
    wanted = list(dict.fromkeys(names))
    known = set(table.column_names)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise DataError(
            f"the table lacks the columns {', '.join(map(repr, missing))}",
            hint=f"it has {', '.join(map(repr, table.column_names)) or 'none'}",
        )
    return {name: _whole(table.column(name)) for name in wanted}


def pieces(table: pa.Table, num_rows: int) -> Iterator[pa.Table]:
    """The table in slices of at most that many rows; none for an empty table."""
    for start in range(0, table.num_rows, num_rows):
        yield table.slice(start, num_rows)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
