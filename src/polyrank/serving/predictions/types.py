"""Types of columns that requests give in different ways, made one.

JSON writes ``1`` and ``1.5`` into one column, and leaves another out. A file has one type a column:
the widest of those seen, so that each change of mind of the clients ends at most one file.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from polyrank.data.arrays import is_list, plain_type


def wider(first: Any, second: Any) -> Any:
    """The narrowest type that both can be cast to without loss of meaning; None: there is none.

    >>> import pyarrow as pa
    >>> wider(pa.null(), pa.int32()), wider(pa.int64(), pa.float32()), wider(pa.int64(), pa.utf8())
    (DataType(int64), DataType(double), None)
    """
    first, second = _widest_of_kind(plain_type(first)), _widest_of_kind(plain_type(second))
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if is_list(first) and is_list(second):
        inner = wider(first.value_type, second.value_type)
        return None if inner is None else pa.large_list(inner)
    kinds = {_kind(first), _kind(second)}
    if kinds == {"bool", "int"}:
        return pa.int64()
    return pa.float64() if kinds <= {"bool", "int", "float"} else None


def widened(known: pa.Schema, given: pa.Schema) -> pa.Schema | None:
    """All columns of both, those known first, each of the wider type; None: a column has none."""
    fields = {field.name: field.type for field in known}
    for field in given:
        dtype = wider(fields.get(field.name, pa.null()), field.type)
        if dtype is None:
            return None
        fields[field.name] = dtype
    return pa.schema(list(fields.items()))


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with these columns and types; null where it lacks one.

    Raises:
        pa.ArrowInvalid: A value does not fit, as a whole number beyond 2^53 among floats.
    """
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _kind(dtype: Any) -> str:
    if pa.types.is_boolean(dtype):
        return "bool"
    if pa.types.is_integer(dtype):
        return "int"
    return "float" if pa.types.is_floating(dtype) else "other"


def _widest_of_kind(dtype: Any) -> Any:
    if is_list(dtype):
        return pa.large_list(_widest_of_kind(plain_type(dtype.value_type)))
    return {"int": pa.int64(), "float": pa.float64()}.get(_kind(dtype), dtype)
