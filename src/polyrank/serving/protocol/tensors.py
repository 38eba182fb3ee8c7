"""One tensor's data, from JSON or from bytes, as an array; refused where it breaks its datatype."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.serving.errors import RequestError
from polyrank.serving.protocol.spec import WIRE, TensorSpec

Array = NDArray[Any]
Shape = tuple[int, ...]
EXACT = 2.0**53
"""Whole numbers up to here are themselves as a float."""
PREFIX = struct.Struct("<I")
KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
    int: "a number",
    float: "a number",
}


def from_json(spec: TensorSpec, shape: Shape, data: object) -> Array:
    """The array that JSON ``data`` holds, row-major: flat, or nested as ``shape`` says.

    Whole numbers may be written as floats and the reverse, and BOOL as 0 and 1, for clients that
    know one kind of number only; nothing is rounded but decimals for FP16, FP32 and FP64.

    Raises:
        RequestError: 400 naming tensor and index.
    """
    flat = _flat(spec.name, shape, data)
    family = _FAMILIES[WIRE[spec.datatype].kind]
    return family(spec, shape, flat).reshape(shape)


def from_bytes(spec: TensorSpec, shape: Shape, data: memoryview) -> Array:
    """The array that ``data`` holds, row-major and little-endian; of BYTES, strings in UTF-8 with a
    length of 4 bytes before each.

    Raises:
        RequestError: 400 naming tensor and index.
    """
    count = math.prod(shape)
    if spec.datatype == "BYTES":
        return _strings_from_bytes(spec.name, shape, data).reshape(shape)
    wire = WIRE[spec.datatype]
    if len(data) != count * wire.itemsize:
        raise _refused(
            spec.name,
            f"{len(data):,} bytes; {count:,} elements of {spec.datatype} take"
            f" {count * wire.itemsize:,}",
        )
    if spec.datatype == "BOOL":
        return _booleans_from_bytes(spec.name, shape, data)
    array = np.frombuffer(data, dtype=wire).astype(wire.newbyteorder("="))
    return _finite(spec, shape, array).reshape(shape)


def _refused(name: str, message: str) -> RequestError:
    return RequestError(400, f"input {name!r}: {message}")


def _at(shape: Shape, place: int) -> str:
    return str([int(axis) for axis in np.unravel_index(place, shape)]) if shape else "[]"


def _flat(name: str, shape: Shape, data: object) -> list[Any]:
    if not isinstance(data, list):
        raise _refused(name, f"'data' is {KINDS[type(data)]}, an array is wanted")
    if data and isinstance(data[0], list):
        return _unnested(name, shape, data)
    if len(data) != math.prod(shape):
        raise _refused(
            name, f"{len(data):,} elements; shape {list(shape)} has {math.prod(shape):,}"
        )
    return data


def _unnested(name: str, shape: Shape, data: list[Any]) -> list[Any]:
    level: list[Any] = [data]
    for axis, size in enumerate(shape):
        if not set(map(type, level)) <= {list}:
            place = next(i for i, part in enumerate(level) if not isinstance(part, list))
            where = _at(shape[:axis], place)
            raise _refused(name, f"{KINDS[type(level[place])]} at {where}, an array is wanted")
        if not set(map(len, level)) <= {size}:
            place = next(i for i, part in enumerate(level) if len(part) != size)
            raise _refused(
                name,
                f"{len(level[place]):,} elements at {_at(shape[:axis], place)}, shape"
                f" {list(shape)} wants {size:,}",
            )
        level = list(chain.from_iterable(level))
    return level


def _check_kinds(spec: TensorSpec, shape: Shape, flat: list[Any], *allowed: type) -> set[type]:
    kinds = set(map(type, flat))
    if not kinds <= set(allowed):
        place = next(i for i, x in enumerate(flat) if type(x) not in allowed)
        raise _refused(
            spec.name,
            f"{KINDS[type(flat[place])]} at {_at(shape, place)}, {spec.datatype} is wanted",
        )
    return kinds


def _floats(spec: TensorSpec, shape: Shape, flat: list[Any]) -> Array:
    _check_kinds(spec, shape, flat, float, int)
    with np.errstate(over="ignore"):
        array = np.array(flat, dtype=WIRE[spec.datatype].newbyteorder("="))
    return _finite(spec, shape, array)


def _finite(spec: TensorSpec, shape: Shape, array: Array) -> Array:
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        place = int(np.argmin(finite))
        raise _refused(spec.name, f"not a finite {spec.datatype} at {_at(shape, place)}")
    return array


def _integers(spec: TensorSpec, shape: Shape, flat: list[Any]) -> Array:
    if float in _check_kinds(spec, shape, flat, int, float):
        flat = [_whole(spec, shape, place, x) for place, x in enumerate(flat)]
    dtype = WIRE[spec.datatype].newbyteorder("=")
    limits = np.iinfo(dtype)
    if flat and not (min(flat) >= limits.min and max(flat) <= limits.max):
        place = next(i for i, x in enumerate(flat) if not limits.min <= x <= limits.max)
        raise _refused(spec.name, f"beyond {spec.datatype} at {_at(shape, place)}")
    return np.array(flat, dtype=dtype)


def _whole(spec: TensorSpec, shape: Shape, place: int, number: int | float) -> int:
    if isinstance(number, float) and not (number.is_integer() and abs(number) <= EXACT):
        raise _refused(
            spec.name, f"not a whole number at {_at(shape, place)}, {spec.datatype} is wanted"
        )
    return int(number)


def _booleans(spec: TensorSpec, shape: Shape, flat: list[Any]) -> Array:
    _check_kinds(spec, shape, flat, bool, int, float)
    if not set(flat) <= {0, 1}:
        place = next(i for i, x in enumerate(flat) if x not in (0, 1))
        raise _refused(spec.name, f"neither true nor false at {_at(shape, place)}")
    return np.array(flat, dtype=np.bool_)


def _strings(spec: TensorSpec, shape: Shape, flat: list[Any]) -> Array:
    _check_kinds(spec, shape, flat, str)
    return np.array(flat, dtype=object)


_FAMILIES: dict[str, Callable[[TensorSpec, Shape, list[Any]], Array]] = {
    "f": _floats,
    "i": _integers,
    "u": _integers,
    "b": _booleans,
    "O": _strings,
}


def _booleans_from_bytes(name: str, shape: Shape, data: memoryview) -> Array:
    letters = np.frombuffer(data, dtype=np.uint8)
    if (wrong := letters > 1).any():
        place = int(np.argmax(wrong))
        raise _refused(name, f"neither 0 nor 1 at {_at(shape, place)}")
    return letters.astype(np.bool_).reshape(shape)


def _strings_from_bytes(name: str, shape: Shape, data: memoryview) -> Array:
    count = math.prod(shape)
    if len(data) < count * PREFIX.size:
        raise _refused(name, f"{len(data):,} bytes are too few for {count:,} elements of BYTES")
    array = np.empty(count, dtype=object)
    start = 0
    for place in range(count):
        text = start + PREFIX.size
        end = text + PREFIX.unpack_from(data, start)[0] if text <= len(data) else text
        if end > len(data):
            raise _refused(name, f"{end - len(data):,} bytes missing at {_at(shape, place)}")
        try:
            array[place] = str(data[text:end], "utf-8")
        except UnicodeDecodeError:
            raise _refused(name, f"not UTF-8 at {_at(shape, place)}") from None
        start = end
    if start != len(data):
        raise _refused(name, f"{len(data) - start:,} bytes left over")
    return array
