"""How much memory the rows of a Parquet file can take, before they are decoded.

A file of a megabyte can decode to gigabytes: runs of equal values, or a dictionary page with one
long string that stands for any number of rows. Numbers are bounded by the footer; strings by the
longest one in the dictionary, since outside of dictionaries they take as much room in the file as
in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyrank.data.arrays import is_list

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}
_TEXT = "BYTE_ARRAY"


@dataclass(frozen=True)
class Leaf:
    """One physical column of the file."""

    place: int
    column: str
    path: str
    physical: str
    length: int
    """Bytes of a fixed-length binary."""

    @property
    def is_text(self) -> bool:
        """Whether its values have a length each."""
        return self.physical == _TEXT

    def width(self, longest: int = 0) -> int:
        """Bytes of one value at most."""
        return longest if self.is_text else _WIDTHS.get(self.physical, self.length)


def leaves_of(metadata: Any, schema: Any, columns: Sequence[str] | None = None) -> list[Leaf]:
    """The physical columns below ``columns`` (all, if None)."""
    owners = [field.name for field in schema for _ in range(_num_leaves(field.type))]
    found = [
        (place, owner, metadata.schema.column(place))
        for place, owner in enumerate(owners)
        if columns is None or owner in columns
    ]
    return [
        Leaf(place, owner, column.path, column.physical_type, column.length or 0)
        for place, owner, column in found
    ]


def declared_bytes(metadata: Any, schema: Any) -> int:
    """What the file decodes to, as its footer declares it; a string counts as it is stored."""
    return sum(
        _leaf_bytes(metadata.row_group(group).column(leaf.place), leaf)
        for group in range(metadata.num_row_groups)
        for leaf in leaves_of(metadata, schema)
    )


def row_bytes(group: Any, leaves: Sequence[Leaf], longest: dict[str, int]) -> float:
    """Bytes of a row of the row group at most, lists at their mean length."""
    total = sum(
        group.column(leaf.place).num_values * (leaf.width(longest.get(leaf.column, 0)) + 4)
        for leaf in leaves
    )
    return float(total / max(group.num_rows, 1))


def longest_strings(first_row: Any) -> dict[str, int]:
    """Length of the longest string in each dictionary of a batch read as dictionaries."""
    return {
        name: max((_longest(values) for values in _dictionaries(column)), default=0)
        for name, column in zip(first_row.schema.names, first_row.columns, strict=True)
    }


def _longest(values: Any) -> int:
    if not pa.types.is_string(values.type) and not pa.types.is_binary(values.type):
        values = values.cast(pa.large_binary())
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _dictionaries(array: Any) -> Iterator[Any]:
    if pa.types.is_dictionary(array.type):
        yield array.dictionary
    elif is_list(array.type):
        yield from _dictionaries(array.values)


def _leaf_bytes(chunk: Any, leaf: Leaf) -> int:
    if leaf.is_text:
        return int(chunk.total_uncompressed_size)
    return int(chunk.num_values) * leaf.width()


def _num_leaves(dtype: Any) -> int:
    if pa.types.is_dictionary(dtype) or not dtype.num_fields:
        return 1
    return sum(_num_leaves(dtype.field(place).type) for place in range(dtype.num_fields))
