"""Codes of users and requests: the same key has the same code in every chunk and process."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.arrays import nulls_of
from polyrank.data.hashing import hash_column
from polyrank.evaluation import NO_GROUP


def as_codes(keys: pa.Array) -> NDArray[np.int64]:
    """A 64-bit hash of each key (integers, strings, times); ``NO_GROUP`` where it is null.

    Two of n distinct keys share a code with probability below n² / 2^65, integers but for one pair
    never.
    """
    codes = hash_column(keys).view(np.int64)
    return np.where(nulls_of(keys), NO_GROUP, np.where(codes == NO_GROUP, 1, codes))
