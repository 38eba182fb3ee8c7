"""Lists of ids, cut to a length and flattened, without touching what is cut off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.encoding.ids import as_ids
from polyrank.errors import DataError


@dataclass(frozen=True)
class FlatLists:
    """The ids of all rows, one row after the other, and how many belong to each row."""

    ids: pa.Array
    lengths_B: NDArray[np.int64]


def flatten(array: pa.Array, *, max_length: int, newest: bool, where: str) -> FlatLists:
    """At most ``max_length`` ids of each list: the last ones if ``newest``, else the first.

    A null list is empty; a null inside a list stays, as a missing id.

    Raises:
        DataError: Not a list column, or lists of something else than ids.
    """
    if pa.types.is_null(array.type):
        return FlatLists(pa.nulls(0), np.zeros(len(array), dtype=np.int64))
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        raise DataError(
            f"a column of type {array.type} is no list of ids",
            where=where,
            hint="give a list column, or a string column with `separator`",
        )
    offsets = array.offsets.to_numpy().astype(np.int64, copy=False)
    starts, ends = offsets[:-1], offsets[1:]
    if array.null_count:
        ends = np.where(array.is_null().to_numpy(zero_copy_only=False), starts, ends)
    lengths = np.minimum(ends - starts, max_length)
    firsts = ends - lengths if newest else starts
    return FlatLists(as_ids(_spans(array.values, firsts, lengths), where), lengths)


def ranges(firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of each range [first, first + length), one range after the other."""
    shift = firsts - (np.cumsum(lengths) - lengths)
    numbers: NDArray[np.int64] = np.arange(int(lengths.sum()), dtype=np.int64)
    numbers += np.repeat(shift, lengths)
    return numbers


def _spans(values: pa.Array, firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> pa.Array:
    if not len(firsts):
        return values.slice(0, 0)
    if np.array_equal(firsts[1:], (firsts + lengths)[:-1]):
        return values.slice(int(firsts[0]), int(lengths.sum()))
    return values.take(pa.array(ranges(firsts, lengths)))
