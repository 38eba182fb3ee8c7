"""How much memory the rows of a Parquet file can take, before they are decoded.

A file of a megabyte can decode to gigabytes: runs of equal values, or a dictionary page with one
long string that stands for any number of rows. Numbers are bounded by schema and number of rows;
lists by the number of values in the footer; strings by the longest one in the dictionary, since
outside of dictionaries they take as much room in the file as in memory.
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
    repeated: bool
    """Whether a row can hold any number of values."""

    @property
    def is_text(self) -> bool:
        """Whether its values have a length each."""
        return self.physical == _TEXT

    @property
    def is_open(self) -> bool:
        """Whether the schema alone does not bound what a row holds."""
        return self.is_text or self.repeated

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
        Leaf(
            place=place,
            column=owner,
            path=column.path,
            physical=column.physical_type,
            length=column.length or 0,
            repeated=column.max_repetition_level > 0,
        )
        for place, owner, column in found
    ]


def declared_bytes(metadata: Any, schema: Any) -> int:
    """What the columns of one number a row decode to, as the footer declares it."""
    widths = [leaf.width() for leaf in leaves_of(metadata, schema) if not leaf.is_open]
    return int(metadata.num_rows) * sum(widths)


def row_bytes(group: Any, leaves: Sequence[Leaf], longest: dict[str, int]) -> float:
    """Bytes of a row of the row group at most, lists at their mean length.

    The footer of open columns must have been read without an error before: pyarrow ends the
    process on some damaged ones when asked for them here.
    """
    total = 0.0
    for leaf in leaves:
        num_values = group.column(leaf.place).num_values if leaf.is_open else group.num_rows
        total += num_values * (leaf.width(longest.get(leaf.column, 0)) + 4)
    return float(total / max(group.num_rows, 1))


def longest_strings(first_row: Any) -> dict[str, int]:
    """Length of the longest string in each dictionary of a batch read as dictionaries."""
    return {
        name: max((_longest(values) for values in _dictionaries(column)), default=0)
        for name, column in zip(first_row.schema.names, first_row.columns, strict=True)
    }


def _longest(values: Any) -> int:
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _dictionaries(array: Any) -> Iterator[Any]:
    if pa.types.is_dictionary(array.type):
        yield array.dictionary
    elif is_list(array.type):
        yield from _dictionaries(array.values)


def _num_leaves(dtype: Any) -> int:
    if pa.types.is_dictionary(dtype) or not dtype.num_fields:
        return 1
    return sum(_num_leaves(dtype.field(place).type) for place in range(dtype.num_fields))
