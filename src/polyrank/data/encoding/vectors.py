"""Vectors computed elsewhere: a fixed number of floats a row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.encoding.ids import null_mask
from polyrank.errors import DataError


def as_vectors(array: pa.Array, dim: int, where: str) -> NDArray[np.float32]:
    """The vectors (B, dim); zero where null.

    Raises:
        DataError: Another length, not numbers, or a component that is null or not finite.
    """
    if pa.types.is_null(array.type):
        return np.zeros((len(array), dim), dtype=np.float32)
    try:
        array = array.cast(pa.list_(pa.float32(), dim))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"a column of type {array.type} is no vector of {dim} floats: {error}",
            where=where,
            hint=f"give {dim} numbers a row, or null, or set `dim` to their length",
        ) from error
    flat = array.values.slice(array.offset * dim, len(array) * dim)
    # A copy: the memory of the table is its owner's, and may be read-only.
    vectors = np.array(flat.to_numpy(zero_copy_only=False), np.float32).reshape(len(array), dim)
    missing = null_mask(array)
    if missing is not None:
        vectors[missing] = 0
    if not np.isfinite(vectors).all():
        bad = int(np.count_nonzero(~np.isfinite(vectors).all(axis=1)))
        raise DataError(
            f"{bad} vectors hold a null, a NaN or an infinity",
            where=where,
            hint="write null for a vector that is not known",
        )
    return vectors
