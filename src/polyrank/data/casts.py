"""From the type a column has to the one handed on, losing nothing; what would lose is a fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data.arrays import (
    blank,
    failing,
    floats_of,
    is_list,
    is_text,
    lengths_of,
    lists,
    nulls_of,
    plain,
)
from polyrank.data.faults import Fault, Rule, broken
from polyrank.data.roles import Missing, Wanted
from polyrank.data.sources.text import parse

Cast = tuple[Any, list[Fault]]

_EXACT_FLOAT = {16: 2**11, 32: 2**24, 64: 2**53}
"""Up to here a float holds every integer, by its bits."""


def cast(array: Any, wanted: Wanted, dtype: Any) -> Cast:
    """``array`` as ``dtype``, null where that would lose something, and those rows as faults."""
    array = plain(array)
    column = wanted.column
    if pa.types.is_fixed_size_list(dtype):
        return _vectors(array, column, dtype.list_size)
    if wanted.roles == {"passed"} or array.type == pa.null():
        return (array if array.type == dtype else array.cast(dtype)), []
    if is_list(dtype) and wanted.roles & {"ids", "joined_ids"}:
        return _lists(array, wanted, dtype)
    values, faults = _scalars(array, column, dtype)
    return without(values, wanted.missing), faults


def without(array: Any, missing: Missing) -> Any:
    """``array``, null where it holds a value that stands for missing."""
    if not missing:
        return array
    if is_text(array.type):
        listed = pa.array([str(value) for value in missing], array.type)
    else:
        numbers = [value for value in missing if not isinstance(value, str)]
        whole = pa.types.is_integer(array.type)
        listed = pa.array([v for v in numbers if not whole or v == int(v)]).cast(array.type)
    found = pc.is_in(array, value_set=listed)
    return pc.if_else(found, pa.scalar(None, array.type), array) if pc.any(found).as_py() else array


def _scalars(array: Any, column: str, dtype: Any) -> Cast:
    if is_text(dtype):
        return _texts(array, column)
    if pa.types.is_timestamp(dtype):
        return _timestamps(array, column, dtype)
    if pa.types.is_int64(dtype):
        return _integers(array, column)
    if pa.types.is_float64(dtype) and array.type != dtype:
        return pa.array(floats_of(array), from_pandas=False, mask=_mask(array)), []
    return (array if array.type == dtype else array.cast(dtype)), []


def _integers(array: Any, column: str) -> Cast:
    source = array.type
    if source == pa.int64():
        return array, []
    if pa.types.is_floating(source):
        return _whole_floats(array, column)
    if source == pa.uint64() or pa.types.is_decimal(source):
        return _guarded(array, pa.int64(), _beyond_int64(column))
    return array.cast(pa.int64()), []


def _whole_floats(array: Any, column: str) -> Cast:
    limit = _EXACT_FLOAT[array.type.bit_width]
    value_B = floats_of(array)
    null_B = np.isnan(value_B)
    good_B = (np.abs(np.where(null_B, 0.0, value_B)) <= limit) & (np.floor(value_B) == value_B)
    rule = Rule(
        column,
        f"only whole numbers up to {limit} in {array.type} are sure to be what was meant",
        "Write it as int64 or string.",
    )
    whole_B = np.where(good_B, value_B, 0.0).astype(np.int64)
    missing_B = null_B | ~good_B
    values = pa.array(whole_B, mask=missing_B if missing_B.any() else None)
    return values, broken(rule, ~good_B & ~null_B, array)


def _guarded(array: Any, dtype: Any, rule: Rule) -> Cast:
    """A cast of which some values may lie beyond ``dtype``."""
    try:
        return array.cast(dtype), []
    except pa.ArrowInvalid:
        bad_B = failing(array, lambda piece: piece.cast(dtype))
        return blank(array, bad_B).cast(dtype), broken(rule, bad_B, array)


def _timestamps(array: Any, column: str, dtype: Any) -> Cast:
    rule = Rule(column, f"it lies beyond what {dtype} holds", "Write one unit in all files.")
    return _guarded(array, dtype, rule)


def _texts(array: Any, column: str) -> Cast:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return _valid_texts(array, column)
    return array, []


def _valid_texts(array: Any, column: str) -> Cast:
    binary = array.view(pa.large_binary())
    bad_B = failing(binary, lambda piece: piece.cast(pa.large_string()))
    rule = Rule(column, "text is UTF-8", "Write the file in UTF-8.")
    return blank(binary, bad_B).cast(pa.large_string()), broken(rule, bad_B, binary)


def _lists(array: Any, wanted: Wanted, dtype: Any) -> Cast:
    if is_text(array.type):
        array, undecoded = _texts(array, wanted.column)
        split = _split(array, wanted.separator)
        values, faults = _tokens(split.flatten(), wanted.column, dtype.value_type)
    else:
        split, undecoded = array, []
        values, faults = _scalars(plain(array.flatten()), wanted.column, dtype.value_type)
    length_B = lengths_of(split)
    made = lists(without(values, wanted.missing), length_B, nulls_of(split))
    if not faults:
        return made, undecoded
    row_V = np.repeat(np.arange(len(length_B)), length_B)
    bad_B = np.zeros(len(length_B), dtype=np.bool_)
    bad_B[row_V[np.concatenate([fault.rows_K for fault in faults])]] = True
    return made, [*undecoded, *broken(faults[0].rule, bad_B, array)]


def _split(array: Any, separator: str) -> Any:
    """Lists of the tokens between separators, trimmed, without the empty ones."""
    pieces = plain(pc.split_pattern(array, separator))
    tokens = pc.utf8_trim_whitespace(pieces.flatten())
    full_V = pc.not_equal(tokens, "").to_numpy(zero_copy_only=False)
    length_B = lengths_of(pieces)
    num_full_V = np.concatenate([np.zeros(1, np.int64), np.cumsum(full_V)])
    end_B = np.cumsum(length_B)
    num_B = num_full_V[end_B] - num_full_V[end_B - length_B]
    return lists(tokens.filter(pa.array(full_V)), num_B, nulls_of(array))


def _tokens(texts: Any, column: str, dtype: Any) -> Cast:
    if is_text(dtype):
        return _texts(texts, column)
    values, bad_V = parse(texts, dtype)
    rule = Rule(
        column,
        "every id of the list is a whole number, as those it shares a vocabulary with",
        "Mend it, or make both text.",
    )
    return values, broken(rule, bad_V, texts)


def _vectors(array: Any, column: str, dim: int) -> Cast:
    null_B = nulls_of(array)
    if array.type == pa.null():
        null_B = np.ones(len(array), dtype=np.bool_)
        length_B = np.zeros(len(array), dtype=np.int64)
    else:
        length_B = np.where(null_B, 0, lengths_of(array))
    fits_B = length_B == dim
    vector_BD = np.zeros((len(array), dim), dtype=np.float32)
    if fits_B.any():
        chosen = array if fits_B.all() else array.filter(pa.array(fits_B))
        with np.errstate(over="ignore"):
            flat_V = floats_of(plain(chosen.flatten())).astype(np.float32)
        vector_BD[fits_B] = flat_V.reshape(-1, dim)
    finite_B = np.asarray(np.isfinite(vector_BD).all(axis=1), dtype=np.bool_)
    faults = [
        *broken(
            Rule(column, f"the embedding has {dim} numbers a row", "Mend it, or write null."),
            ~fits_B & ~null_B,
            array,
        ),
        *broken(
            Rule(column, "the numbers of an embedding are finite", "Mend it, or write null."),
            ~finite_B,
            array,
        ),
    ]
    bad_B = null_B | ~fits_B | ~finite_B
    mask = pa.array(bad_B) if bad_B.any() else None
    return pa.FixedSizeListArray.from_arrays(pa.array(vector_BD.ravel()), dim, mask=mask), faults


def _beyond_int64(column: str) -> Rule:
    return Rule(column, "an integer id lies within int64", "Write it as a string.")


def _mask(array: Any) -> NDArray[np.bool_] | None:
    return nulls_of(array) if array.null_count else None
