"""What one column's values show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polyrank.schema.guessing.words import is_id

Kind = Literal["boolean", "integer", "number", "text", "instant", "list", "vector", "other"]


@dataclass(frozen=True)
class Profile:
    """One column of a sample. NaN counts as null; a dictionary is what it stands for."""

    name: str
    kind: Kind
    values: Any
    """A plain Arrow array: bool, int64, double, large_string, a time, or a large list of these."""
    why_other: str = ""
    """Of kind ``other``: why no feature can be made of it."""

    @property
    def rows(self) -> int:
        """Rows of the sample."""
        return len(self.values)

    @cached_property
    def nulls(self) -> int:
        """Rows without a value."""
        return int(self.values.null_count)

    @cached_property
    def _dictionary(self) -> Any:
        return self.values.dictionary_encode(null_encoding="mask")

    @cached_property
    def codes(self) -> npt.NDArray[np.int64]:
        """A number for each row, equal where the values are; -1 for null."""
        codes = self._dictionary.indices.cast(pa.int64()).fill_null(-1)
        return np.asarray(codes)

    @cached_property
    def uniques(self) -> list[Any]:
        """The different values, the first seen first."""
        return list(self._dictionary.dictionary.to_pylist())

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Rows of each of ``uniques``."""
        return np.bincount(self.codes[self.codes >= 0], minlength=self.distinct)

    @cached_property
    def distinct(self) -> int:
        """How many different values there are."""
        return len(self._dictionary.dictionary)

    @cached_property
    def numbers(self) -> npt.NDArray[Any]:
        """The values that are not null, of a boolean, whole or real column."""
        values = self.values.cast(pa.int64()) if self.kind == "boolean" else self.values
        return np.asarray(values.drop_null())

    @cached_property
    def moments(self) -> npt.NDArray[np.int64]:
        """Whole numbers in the order of the moments of a column without nulls."""
        values = self.values
        if pa.types.is_date32(values.type):
            values = values.cast(pa.int32())
        return np.asarray(values.cast(pa.int64()))

    @property
    def is_whole(self) -> bool:
        """Whether all numbers are whole, floats included."""
        if self.kind == "integer":
            return True
        return self.kind == "number" and bool((self.numbers == np.floor(self.numbers)).all())

    @property
    def all_differ(self) -> bool:
        """Whether every row has a value of its own."""
        return self.rows >= 20 and self.distinct == self.rows


def profile(name: str, column: Any) -> Profile:
    """The profile of a chunked ``column``, of whatever type it is.

    Whole numbers with gaps, and ids, are often written as floats: they count as integers where a
    float of their type holds every integer up to the largest of them.
    """
    try:
        kind, values, why = _plain(column.combine_chunks())
        values.validate(full=True)
    except pa.ArrowException as error:
        kind, values, why = "other", column, f"it cannot be read: {str(error).splitlines()[0]}"
    if kind != "other" and len(values) == values.null_count:
        return Profile(name, "other", values, "it is null in every row of the sample")
    if kind == "number" and not bool(np.isfinite(np.asarray(values.drop_null())).all()):
        return Profile(name, "other", values, "it holds infinity, which training refuses")
    if kind == "number" and (values.null_count or is_id(name)) and _is_exact(values, column.type):
        kind, values = "integer", values.cast(pa.int64())
    return Profile(name, kind, values, why)


def _is_exact(values: Any, source: Any) -> bool:
    """Whether ``values``, of type ``source`` in the log, are the integers that were meant."""
    numbers = np.asarray(values.drop_null())
    limit = 2 ** {16: 11, 32: 24}.get(source.bit_width, 53)
    return bool(((numbers == np.floor(numbers)) & (np.abs(numbers) <= limit)).all())


def _plain(array: Any) -> tuple[Kind, Any, str]:
    """Kind, plain array, and why it is ``other``."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _plain(array.cast(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if pa.types.is_null(kind):
        return "other", array, "it is null in every row of the sample"
    if pa.types.is_boolean(kind):
        return "boolean", array, ""
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0):
        return _whole(array)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number", _real(array), ""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view":
        return "text", array.cast(pa.large_string()), ""
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "instant", array, ""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _list(array)
    return "other", array, f"nothing is made of the type {str(kind)[:60]}"


def _whole(array: Any) -> tuple[Kind, Any, str]:
    try:
        return "integer", array.cast(pa.int64()), ""
    except pa.ArrowInvalid:
        return "other", array, "it holds numbers beyond int64; write them as text"


def _real(array: Any) -> Any:
    values = array.cast(pa.float64())
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)


def _list(array: Any) -> tuple[Kind, Any, str]:
    inner, _, _ = _plain(array.flatten())
    if inner in ("integer", "text"):
        values = pa.int64() if inner == "integer" else pa.large_string()
        return "list", array.cast(pa.large_list(values)), ""
    if inner == "number":
        return _vector(array)
    if len(array.flatten()) == 0:
        return "other", array, "its lists are empty in every row of the sample"
    return "other", array, f"nothing is made of the type {str(array.type)[:60]}"


def _vector(array: Any) -> tuple[Kind, Any, str]:
    lengths = pc.unique(pc.list_value_length(array).drop_null())
    if len(lengths) != 1:
        return "other", array, "its lists of floats differ in length, so it is no embedding"
    flat = np.asarray(array.flatten().cast(pa.float64()).drop_null())
    if len(flat) == 0 or not bool(np.isfinite(flat).all()):
        return "other", array, "its vectors hold NaN, null or infinity"
    return "vector", array, ""
