"""Which types a column may have for its use, and the one type in which it is handed on.

Only casts that lose nothing are made. Ids become int64 or text (null where all are null), numbers
and labels float64, lists large lists of ids, vectors fixed-size lists of float32; times keep their
unit, zones become UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa

from polyrank.data.arrays import is_list, is_text, plain_type
from polyrank.data.roles import Role, Use, Wanted

_CURES: dict[Role, str] = {
    "id": "Cast it to int64 or string.",
    "ids": "Give a list of int64 or string, or set `separator` if it is text.",
    "joined_ids": "Give text that the `separator` splits, or a list of int64 or string.",
    "number": "Cast it to a number, or declare the feature as categorical.",
    "vector": "Give a list of floats (CSV cannot hold one: use Parquet).",
    "label": "Cast it to a number, or list the values that mean 1 in `positive`.",
    "named_label": "List values of the column's own type in `positive`.",
    "class": "Name the column's own values in `classes`.",
    "mask": "Write 1 where the label was observed, else 0.",
    "time": "Give int64, a date or a timestamp.",
    "position": "Cast it to int64.",
    "amount": "Cast it to float64.",
    "compared": "Leave it out of `deduplicate.columns`.",
    "passed": "",
}
_SAYS: dict[Role, str] = {
    "id": "an id is an integer or a string",
    "ids": "it needs a list of ids",
    "joined_ids": "it needs text or a list of ids",
    "number": "it needs a number",
    "vector": "it needs a list of floats",
    "label": "a label is a number",
    "named_label": "its `positive` values are of another type",
    "class": "its `classes` are of another type",
    "mask": "a mask is 0 or 1",
    "time": "a time is an integer, a date or a timestamp",
    "position": "a position is an integer",
    "amount": "it needs a number",
    "compared": "such values cannot be compared",
    "passed": "",
}


@lru_cache(maxsize=1024)
def family(dtype: Any) -> str:
    """What a type holds: int, float, whole (a decimal without places), decimal, bool, text, ..."""
    dtype = plain_type(dtype)
    checks = (
        ("null", pa.types.is_null),
        ("int", pa.types.is_integer),
        ("float", pa.types.is_floating),
        ("bool", pa.types.is_boolean),
        ("text", is_text),
        ("date", pa.types.is_date),
        ("timestamp", pa.types.is_timestamp),
        ("list", is_list),
    )
    if pa.types.is_decimal(dtype):
        return "whole" if dtype.scale <= 0 else "decimal"
    return next((name for name, check in checks if check(dtype)), "other")


_NUMBERS = {"int", "float", "whole", "decimal", "bool", "null"}
_IDS = {"int", "float", "whole", "bool", "text", "null"}
_FAMILIES: dict[Role, set[str]] = {
    "id": _IDS,
    "joined_ids": {"text", "null"},
    "ids": {"null"},
    "vector": {"null"},
    "number": _NUMBERS,
    "label": _NUMBERS,
    "named_label": _NUMBERS | {"text"},
    "class": _NUMBERS | {"text"},
    "mask": _NUMBERS,
    "time": {"int", "float", "whole", "date", "timestamp", "null"},
    "position": {"int", "float", "whole", "null"},
    "amount": _NUMBERS - {"bool"},
    "compared": _NUMBERS | _IDS | {"date", "timestamp"},
}


def refusal(use: Use, dtype: Any) -> tuple[str, str] | None:
    """Why ``dtype`` does not do for ``use``, and the cure; None if it does."""
    if _accepts(use, dtype):
        return None
    return f"is {dtype}, and {_SAYS[use.role]}", use.cure or _CURES[use.role]


def _accepts(use: Use, dtype: Any) -> bool:
    if use.role == "passed":
        return True
    kind = family(dtype)
    if kind == "list":
        return _accepts_list(use.role, family(plain_type(dtype).value_type))
    if use.role == "named_label" and kind != "null":
        return any(isinstance(value, str) == (kind == "text") for value in use.positive)
    if use.role == "class" and kind in _NUMBERS - {"null"}:
        return any(isinstance(value, int) for value in use.positive)
    return kind in _FAMILIES[use.role]


def _accepts_list(role: Role, element: str) -> bool:
    if role == "vector":
        return element in _NUMBERS - {"bool"}
    if role == "compared":
        return element in _FAMILIES["compared"]
    return role in ("ids", "joined_ids") and element in _IDS - {"bool"}


def canonical(wanted: Wanted, dtypes: Sequence[Any], shared: Any = None) -> Any:
    """The type handed on, from the types that the parts have; None if they do not go together.

    Args:
        wanted: The column and its uses.
        dtypes: Its type in each part.
        shared: The type of the ids whose vocabulary a list shares, if known.
    """
    plain = [plain_type(dtype) for dtype in dtypes if family(dtype) != "null"]
    if "vector" in wanted.roles:
        return pa.list_(pa.float32(), wanted.dim)
    if wanted.roles & {"ids", "joined_ids"}:
        return _canonical_list(plain, shared)
    if "time" in wanted.roles:
        return _canonical_time(plain)
    if "id" in wanted.roles:
        return _canonical_id(plain)
    if "position" in wanted.roles:
        return pa.int64()
    if wanted.roles & {"number", "label", "mask", "amount"}:
        return pa.float64()
    return _canonical_other(wanted, plain)


def _canonical_id(plain: Sequence[Any]) -> Any:
    """Null where no part says more: such a column has no kind of id."""
    if not plain:
        return pa.null()
    text = {family(dtype) == "text" for dtype in plain}
    if len(text) > 1:
        return None
    return pa.large_string() if text == {True} else pa.int64()


def _canonical_list(plain: Sequence[Any], shared: Any) -> Any:
    if not plain:
        return pa.null()
    lists = [dtype for dtype in plain if is_list(dtype)]
    if len(lists) < len(plain):
        return None if lists else pa.large_list(shared or pa.large_string())
    elements = [plain_type(dtype.value_type) for dtype in lists]
    element = _canonical_id([element for element in elements if family(element) != "null"])
    return None if element is None else pa.large_list(element)


def _canonical_time(plain: Sequence[Any]) -> Any:
    kinds = {
        "timestamp with zone" if getattr(dtype, "tz", None) else family(dtype) for dtype in plain
    }
    kinds = {"int" if kind in ("float", "whole") else kind for kind in kinds}
    if len(kinds) > 1:
        return None
    if not kinds & {"timestamp", "timestamp with zone"}:
        return pa.date32() if kinds == {"date"} else pa.int64()
    finest = max((dtype.unit for dtype in plain), key=["s", "ms", "us", "ns"].index)
    return pa.timestamp(finest, "UTC" if "timestamp with zone" in kinds else None)


def _canonical_other(wanted: Wanted, plain: Sequence[Any]) -> Any:
    """Labels by name, and columns that are only compared or passed on."""
    kinds = {family(dtype) for dtype in plain}
    if wanted.roles & {"named_label", "class"}:
        if "text" in kinds:
            return pa.large_string() if kinds == {"text"} else None
        return pa.float64()
    if all(dtype == plain[0] for dtype in plain[1:]):
        return plain[0] if plain else pa.null()
    if kinds <= _NUMBERS:
        return pa.int64() if kinds <= {"int", "bool"} else pa.float64()
    return None
