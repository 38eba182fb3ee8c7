"""Strict JSON: UTF-8, no duplicate key, no NaN or Infinity; sorted keys on the way out.

>>> dumps({"b": [1, 2.5], "a": None})
b'{\\n  "a": null,\\n  "b": [\\n    1,\\n    2.5\\n  ]\\n}\\n'
>>> loads(b'{"a": 1, "a": 2}', where="card.json")
Traceback (most recent call last):
polyrank.errors.ArtefactError: card.json: not strict JSON: key 'a' appears twice. ...
"""

from __future__ import annotations

import json
import math
from typing import TypeAlias

from polyrank.errors import ArtefactError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

_HINT_READ = "the file was altered or not written by polyrank: restore it from where it was made"
_HINT_WRITE = "write null for an undefined number, int(x) or float(x) for a NumPy scalar"


def loads(data: bytes | bytearray, *, where: str) -> JsonValue:
    """Reads UTF-8 JSON and refuses what the standard parser lets through.

    Args:
        data: The bytes of one JSON value.
        where: The name of the file, for the message.

    Raises:
        ArtefactError: Not UTF-8, not JSON, a duplicate key, NaN, Infinity, a number beyond
            float64, a lone surrogate, or nesting deeper than the parser's stack.
    """
    try:
        text = data.decode("utf-8")
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise _refused("nested too deeply", where) from error
    except ValueError as error:
        raise _refused(str(error), where) from error
    return value


def dumps(value: object) -> bytes:
    """Writes JSON with sorted keys, two spaces of indent, and a final newline.

    The same value always gives the same bytes.

    Raises:
        ArtefactError: A number that is not finite, a key that is not text, a type that JSON does
            not have, a lone surrogate or a cycle; the message names the place.
    """
    try:
        _check(value, "$")
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=2)
        return text.encode("utf-8") + b"\n"
    except RecursionError as error:
        raise _unwritable("nested too deeply or containing itself", "$") from error
    except UnicodeEncodeError as error:
        raise _unwritable("text with a lone surrogate", "$") from error


def _refused(reason: str, where: str) -> ArtefactError:
    return ArtefactError(f"not strict JSON: {reason}", where=where, hint=_HINT_READ)


def _unwritable(reason: str, place: str) -> ArtefactError:
    return ArtefactError(f"cannot be written as JSON: {reason}", where=place, hint=_HINT_WRITE)


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} appears twice")
        found[key] = value
    return found


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not a JSON number")


def _finite_float(token: str) -> float:
    number = float(token)
    if not math.isfinite(number):
        raise ValueError(f"{token[:40]} is beyond float64")
    return number


def _check(value: object, place: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _unwritable(f"key {key!r} is {type(key).__name__}, not text", place)
            _check(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _check(item, f"{place}[{position}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _unwritable(f"{value!r} is not finite", place)
    elif not (value is None or isinstance(value, bool | int | str)):
        raise _unwritable(f"a {type(value).__name__}", place)
