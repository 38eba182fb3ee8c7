"""An inference request of the Open Inference Protocol v2: from bytes to named arrays.

Source: Open Inference Protocol, REST, "Inference Request JSON Object"; the extension "binary tensor
data". What a server must read of it, clients decide: the three in ``tests/serving/clients``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from polyrank.errors import suggest
from polyrank.serving.errors import RequestError
from polyrank.serving.protocol.spec import ModelSpec, TensorSpec
from polyrank.serving.protocol.strict_json import MAX_SHOWN, loads, shown
from polyrank.serving.protocol.tensors import KINDS, Array, Shape, from_bytes, from_json

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header that says how many bytes of the body are JSON; the rest are tensors."""
PARAMETERS: Mapping[str, type] = MappingProxyType(
    {"binary_data_output": bool, "timeout": int, "priority": int}
)
"""Request parameters that every model knows: whether outputs come as bytes, microseconds that the
answer may take, and its priority, which is accepted and has no effect."""
MAX_ID = 128
"""Characters of a request's id."""
MAX_ELEMENTS = 2**31
"""Elements that a shape may have."""


@dataclass(frozen=True)
class Wanted:
    """An output that the answer shall have, as bytes or as JSON."""

    name: str
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """A request, checked against its model.

    Args:
        id: To be echoed; None where the request has none.
        inputs: By name, in native byte order and of the declared shape and type; BYTES as an object
            array of str. An optional input that was left out is not there.
        outputs: What is asked for, in the order asked.
        parameters: Of the request; their names and types are those that were allowed.
        sizes: Of each named dimension of the inputs.
    """

    id: str | None
    inputs: dict[str, Array]
    outputs: tuple[Wanted, ...]
    parameters: dict[str, bool | int | float | str]
    sizes: dict[str, int]


@dataclass(frozen=True)
class _Given:
    """An input as the request describes it: its data in JSON or, of a number of bytes, behind."""

    spec: TensorSpec
    shape: Shape
    data: object
    num_bytes: int | None


def parse_request(
    body: bytes,
    header_length: str | None,
    spec: ModelSpec,
    *,
    caps: Mapping[str, int] = MappingProxyType({}),
    parameters: Mapping[str, type] = MappingProxyType({}),
) -> InferRequest:
    """What a client asks of the model: pure, and without any effect on what it is given.

    Args:
        body: The body, decompressed.
        header_length: The value of ``HEADER_LENGTH``, or None where the header is absent.
        spec: What the model takes and gives.
        caps: The most that a named dimension may be; checked before any array is made.
        parameters: Request parameters beyond ``PARAMETERS``, and their types.

    Raises:
        RequestError: 400 for anything that breaks the protocol or the model's metadata, naming the
            tensor and the index; 413 for a dimension beyond its cap.
    """
    head, tail = _split(body, header_length)
    document = loads(head, what="the request")
    _check_kind(document, dict, "the request")
    request_id = _id(document.get("id"))
    known = {**PARAMETERS, **parameters}
    given_parameters = _parameters(document.get("parameters"), known, "the request")
    outputs = _outputs(document.get("outputs"), spec, bool(given_parameters.get(_BINARY, False)))
    given = _inputs(document.get("inputs"), spec)
    sizes = _sizes(given, caps)
    return InferRequest(
        id=request_id,
        inputs=_arrays(given, tail),
        outputs=outputs,
        parameters=given_parameters,
        sizes=sizes,
    )


_BINARY = "binary_data_output"


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    digits = header_length.strip(" \t")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise RequestError(400, f"{HEADER_LENGTH} must be a number of bytes")
    length = int(digits)
    if length > len(body):
        raise RequestError(
            400, f"{HEADER_LENGTH} says {length:,} bytes, the body has {len(body):,}"
        )
    return body[:length], memoryview(body)[length:]


def _check_kind(value: object, wanted: type, where: str) -> None:
    if type(value) is not wanted:
        raise RequestError(400, f"{where} is {KINDS[type(value)]}, {KINDS[wanted]} is wanted")


def _id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_ID:
        raise RequestError(400, f"'id' must be a string of at most {MAX_ID} characters")
    return value


def _parameters(
    value: object, known: Mapping[str, type], where: str
) -> dict[str, bool | int | float | str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(400, f"'parameters' of {where} is not an object")
    for name, parameter in value.items():
        if name not in known:
            raise RequestError(
                400, f"{where}: unknown parameter {shown(name)}. {suggest(name[:MAX_SHOWN], known)}"
            )
        if type(parameter) not in ((int, float) if known[name] is float else (known[name],)):
            raise RequestError(
                400,
                f"{where}: parameter {name!r} must be {_WORDS[known[name]]}, got"
                f" {KINDS[type(parameter)]}",
            )
    return value


_WORDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
}


def _entries(value: object, key: str) -> list[tuple[str, dict[str, Any]]]:
    """The tensors that the request lists under ``key``, each with its name."""
    if not isinstance(value, list):
        raise RequestError(400, f"{key!r} is {KINDS[type(value)]}, an array of objects is wanted")
    entries = []
    for place, entry in enumerate(value):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise RequestError(400, f"{key}[{place}] must be an object with a string 'name'")
        entries.append((entry["name"], entry))
    return entries


def _outputs(value: object, spec: ModelSpec, binary: bool) -> tuple[Wanted, ...]:
    if value is None or value == []:
        return tuple(Wanted(output.name, binary) for output in spec.outputs)
    wanted: dict[str, Wanted] = {}
    for name, entry in _entries(value, "outputs"):
        _find(name, spec.output_by_name, wanted, "output")
        own = _parameters(entry.get("parameters"), {"binary_data": bool}, f"output {name!r}")
        wanted[name] = Wanted(name, bool(own.get("binary_data", binary)))
    return tuple(wanted.values())


def _find(
    name: str, known: Mapping[str, TensorSpec], seen: Mapping[str, object], what: str
) -> TensorSpec:
    if name not in known:
        raise RequestError(400, f"unknown {what} {shown(name)}. {suggest(name[:MAX_SHOWN], known)}")
    if name in seen:
        raise RequestError(400, f"{what} {name!r} stands twice")
    return known[name]


def _inputs(value: object, spec: ModelSpec) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for name, entry in _entries(value, "inputs"):
        given[name] = _given(_find(name, spec.input_by_name, given, "input"), entry)
    for tensor in spec.inputs:
        if not (tensor.optional or tensor.name in given):
            raise RequestError(400, f"input {tensor.name!r} is missing")
    return given


def _given(spec: TensorSpec, entry: dict[str, Any]) -> _Given:
    where = f"input {spec.name!r}"
    if entry.get("datatype") != spec.datatype:
        raise RequestError(400, f"{where}: 'datatype' must be {spec.datatype}")
    shape = _shape(spec, entry.get("shape"))
    own = _parameters(entry.get("parameters"), {"binary_data_size": int}, where)
    data, size = entry.get("data"), own.get("binary_data_size")
    if (data is None) == (size is None):
        raise RequestError(400, f"{where} needs either 'data' or 'parameters.binary_data_size'")
    if size is None:
        return _Given(spec, shape, data, None)
    if int(size) < 0:
        raise RequestError(400, f"{where}: 'binary_data_size' is below 0")
    return _Given(spec, shape, None, int(size))


def _shape(spec: TensorSpec, value: object) -> Shape:
    where = f"input {spec.name!r}"
    if not isinstance(value, list) or not set(map(type, value)) <= {int}:
        raise RequestError(400, f"{where}: 'shape' must be an array of whole numbers")
    if len(value) != len(spec.shape):
        raise RequestError(
            400, f"{where}: {len(value)} dimensions, the model takes {spec.declared}"
        )
    for axis, (size, declared) in enumerate(zip(value, spec.shape, strict=True)):
        fits = size == declared if isinstance(declared, int) and declared > 0 else size > 0
        if not (fits or (size == 0 and isinstance(declared, str))):
            raise RequestError(
                400, f"{where}: dimension {axis} is {size}, the model takes {spec.declared}"
            )
    if math.prod(max(size, 1) for size in value) > MAX_ELEMENTS:
        raise RequestError(400, f"{where}: 'shape' has more than {MAX_ELEMENTS:,} elements")
    return tuple(value)


def _sizes(given: Mapping[str, _Given], caps: Mapping[str, int]) -> dict[str, int]:
    """The size of each named dimension, one for all inputs and within its cap."""
    sizes: dict[str, int] = {}
    for name, tensor in given.items():
        for size, dimension in zip(tensor.shape, tensor.spec.shape, strict=True):
            if not isinstance(dimension, str):
                continue
            if sizes.setdefault(dimension, size) != size:
                raise RequestError(
                    400,
                    f"input {name!r}: {size:,} {dimension}, inputs before it have"
                    f" {sizes[dimension]:,}",
                )
            if size > caps.get(dimension, size):
                raise RequestError(
                    413, f"input {name!r}: {size:,} {dimension}, at most {caps[dimension]:,}"
                )
    return sizes


def _arrays(given: Mapping[str, _Given], tail: memoryview) -> dict[str, Array]:
    promised = sum(tensor.num_bytes or 0 for tensor in given.values())
    if promised != len(tail):
        raise RequestError(
            400, f"binary data: the inputs take {promised:,} bytes, the body has {len(tail):,}"
        )
    arrays: dict[str, Array] = {}
    start = 0
    for name, tensor in given.items():
        if tensor.num_bytes is None:
            arrays[name] = from_json(tensor.spec, tensor.shape, tensor.data)
        else:
            end = start + tensor.num_bytes
            arrays[name] = from_bytes(tensor.spec, tensor.shape, tail[start:end])
            start = end
    return arrays
