"""Ids as the key of a side table: int64 or text, compared byte for byte, nothing normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from polyrank.data.arrays import is_text, plain
from polyrank.errors import DataError
from polyrank.serving.features.store import Id


def keys_of(ids: Sequence[Id] | Any, dtype: Any, table: str) -> Any:
    """(N,) The ids as an array of ``dtype``: int64 or large_string.

    Args:
        ids: Strings, whole numbers or null, all of the kind of ``dtype``; or such an array.
        dtype: The type of the key.
        table: Its side table, for messages.

    Raises:
        DataError: Another kind, a number beyond int64, or text that is not UTF-8.
    """
    try:
        array = plain(ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids))
    except (OverflowError, UnicodeEncodeError, TypeError, pa.ArrowInvalid) as error:
        raise _refusal(dtype, table, "an id is of another kind or out of range") from error
    if pa.types.is_null(array.type):
        return array.cast(dtype)
    whole = pa.types.is_integer(array.type)
    if array.type != dtype and not (whole and pa.types.is_int64(dtype)):
        raise _refusal(dtype, table, f"the ids are {array.type}: no row would be found")
    try:
        return array.cast(dtype)
    except pa.ArrowInvalid as error:  # an unsigned number
        raise _refusal(dtype, table, "an id is out of range") from error


def key_bytes(keys: Any) -> list[bytes | None]:
    """What a store compares: the digits of a number, the UTF-8 of a text."""
    if is_text(keys.type):
        texts: list[bytes | None] = keys.cast(pa.large_binary()).to_pylist()
        return texts
    return [None if key is None else b"%d" % key for key in keys.to_pylist()]


def _refusal(dtype: Any, table: str, told: str) -> DataError:
    kind = "text in UTF-8" if is_text(dtype) else "whole numbers within int64"
    return DataError(told, where=f"ids of table {table!r}", hint=f"Its key is {kind}.")
