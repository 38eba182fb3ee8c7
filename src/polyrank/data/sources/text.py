"""From text to values: what a CSV column holds, and the rows that do not.

A whole number is written as 7 or -7: "007" and "+7" are text, so that ids stay what they are; a
column of 7.0 is one of numbers. Beside the empty one, the usual spellings of null count as missing,
except in columns of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data.arrays import blank, failing, nulls_of
from polyrank.data.faults import Fault, Rule, broken
from polyrank.data.sources.base import Need

NULLS = ("NULL", "null", "NA", "N/A", "n/a", "None", "none", "NaN", "nan", "\\N")
_POWERS = np.uint64(10) ** np.arange(1, 20, dtype=np.uint64)
_MOST = 0.5
_LOOKED_AT = 1000
_NUMBERS = (pa.bool_(), pa.float64())
_TIMES = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))
_NAMES = {
    pa.null(): "nothing",
    pa.int64(): "a whole number",
    pa.float64(): "a number",
    pa.bool_(): "true or false",
}


def sniff(texts: Any, need: Need | None) -> Any:
    """The type of a column, from its first texts; null if all are missing.

    Args:
        texts: A large_string array, null where empty.
        need: What the column will be used as; None: whatever all its texts are. An id that is not
            a whole number in every row is text.
    """
    kind = need.kind if need else None
    if kind == "text":
        return pa.large_string()
    present = without_nulls(texts, need.missing if need else ()).drop_null()
    if not len(present):
        spelled = texts.null_count < len(texts) and kind in (None, "id")
        return pa.large_string() if spelled else pa.null()
    if _all_are(present, pa.int64()):
        return pa.float64() if kind == "number" else pa.int64()
    if kind == "id":
        return pa.float64() if _whole_floats(present) else pa.large_string()
    return _sniff_others(present, kind)


def _whole_floats(present: Any) -> bool:
    """Whether all texts are whole numbers, some written as 7.0 (pandas does so beside a null)."""
    return bool(pc.all(pc.match_substring_regex(present, r"^-?(0|[1-9]\d{0,15})(\.0+)?$")).as_py())


def _sniff_others(present: Any, kind: str | None) -> Any:
    candidates = {"time": _TIMES, "number": _NUMBERS}.get(kind or "", (*_NUMBERS, *_TIMES))
    if kind is None and pc.any(pc.match_substring_regex(present, r"^-?0\d")).as_py():
        return pa.large_string()
    for dtype in candidates:
        if _all_are(present, dtype):
            return dtype
    # Most are what is needed: then the others are faults of theirs, not of the column.
    wanted = {"number": (pa.float64(),), "time": (pa.int64(), *_TIMES)}.get(kind or "", ())
    return next((d for d in wanted if _share(present, d) >= _MOST), pa.large_string())


def settle(dtypes: Sequence[Any], need: Need | None) -> Any:
    """One type for a column of several files: what each of them says, else text.

    A column that is empty wherever one looks is a number if it is needed as one, else null.
    """
    said = {dtype for dtype in dtypes if dtype != pa.null()}
    if not said:
        return pa.float64() if need and need.kind == "number" else pa.null()
    if said == {pa.int64(), pa.float64()}:
        return pa.float64()
    return said.pop() if len(said) == 1 else pa.large_string()


def convert(
    texts: Any, dtype: Any, column: str, missing: tuple[str, ...]
) -> tuple[Any, list[Fault]]:
    """Texts as values of ``dtype``, null where they are not, and those rows as a fault."""
    if dtype == pa.large_string():
        return texts, []
    present = without_nulls(texts, missing)
    if dtype == pa.null():
        values, bad_B = pa.nulls(len(texts)), ~nulls_of(present)
    else:
        values, bad_B = parse(present, dtype)
    rule = Rule(
        column,
        f"the first rows of the column hold {_NAMES.get(dtype, dtype)} each",
        "Mend the file; if the first rows mislead, write it as Parquet, with types.",
    )
    return values, broken(rule, bad_B, texts)


def without_nulls(texts: Any, missing: tuple[str, ...]) -> Any:
    """The texts, null where they spell null."""
    spelled = pc.is_in(texts, value_set=pa.array([*NULLS, *missing], pa.large_string()))
    if not pc.any(spelled).as_py():
        return texts
    return pc.if_else(spelled, pa.scalar(None, pa.large_string()), texts)


def _all_are(present: Any, dtype: Any) -> bool:
    try:
        present.cast(dtype)
    except pa.ArrowInvalid:
        return False
    return not parse(present, dtype)[1].any()


def _share(present: Any, dtype: Any) -> float:
    """The share of texts that are a ``dtype``, of some spread evenly."""
    step = -(-len(present) // _LOOKED_AT)
    _, bad_B = parse(present.take(pa.array(np.arange(0, len(present), step))), dtype)
    return 1.0 - float(bad_B.mean())


def parse(texts: Any, dtype: Any) -> tuple[Any, NDArray[np.bool_]]:
    """Texts (large_string) as ``dtype``, null where they do not say one, and which those are."""
    bad_B = np.zeros(len(texts), dtype=np.bool_)
    try:
        values = texts.cast(dtype)
    except pa.ArrowInvalid:
        bad_B = failing(texts, lambda piece: piece.cast(dtype))
        texts = blank(texts, bad_B)
        values = texts.cast(dtype)
    if dtype == pa.int64():
        odd_B = ~nulls_of(texts) & (_digits(values) != _lengths(texts))
        if odd_B.any():
            return blank(values, odd_B), bad_B | odd_B
    return values, bad_B


def _lengths(texts: Any) -> NDArray[np.int64]:
    lengths: NDArray[np.int64] = pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False)
    return lengths


def _digits(values: Any) -> NDArray[np.int64]:
    """How many characters each int64 takes when written plainly; 0 for null."""
    x_B = values.fill_null(0).to_numpy()
    size_B = np.abs(x_B).view(np.uint64)
    digits_B = 1 + np.searchsorted(_POWERS, size_B, side="right") + (x_B < 0)
    return np.where(nulls_of(values), 0, digits_B)
