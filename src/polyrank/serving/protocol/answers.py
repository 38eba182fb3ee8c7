"""What is answered: inference in JSON or bytes, metadata, health and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from polyrank.serving.errors import MAX_MESSAGE, RequestError
from polyrank.serving.protocol.infer import HEADER_LENGTH, InferRequest
from polyrank.serving.protocol.spec import WIRE, ModelSpec, TensorSpec
from polyrank.serving.protocol.strict_json import dumps
from polyrank.serving.protocol.tensors import PREFIX, Array

JSON = "application/json"
"""Without a charset: the kserve client compares the whole value."""
BINARY = "application/octet-stream"
EXTENSIONS = ("binary_tensor_data",)
"""Extensions of the protocol that are spoken."""


@dataclass(frozen=True)
class Answer:
    """A body and the headers that describe it; Content-Length is left to the server."""

    body: bytes
    headers: dict[str, str]


def infer_answer(
    spec: ModelSpec,
    request: InferRequest,
    outputs: Mapping[str, Array],
    *,
    version: str,
    parameters: Mapping[str, str] = MappingProxyType({}),
) -> Answer:
    """The answer to ``request``: what it asked for, in its order, with its id.

    Args:
        spec: The model that answers.
        request: What was asked.
        outputs: At least what was asked for, of the declared type and shape, with the request's
            sizes in the named dimensions; BYTES as an object array of str or bytes.
        version: The version that answers, whole.
        parameters: What the answer says of itself.

    Raises:
        RequestError: 500 where an output is not finite.
    """
    entries: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for wanted in request.outputs:
        tensor, array = spec.output_by_name[wanted.name], outputs[wanted.name]
        _check(tensor, array, request.sizes)
        entry = _describe(tensor, list(array.shape))
        if wanted.binary:
            parts.append(_to_bytes(array))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = _to_json(array)
        entries.append(entry)
    document: dict[str, Any] = {"model_name": spec.name, "model_version": version}
    if request.id is not None:
        document["id"] = request.id
    if parameters:
        document["parameters"] = dict(parameters)
    head = dumps({**document, "outputs": entries})
    if not parts:
        return Answer(head, {"Content-Type": JSON})
    headers = {"Content-Type": BINARY, HEADER_LENGTH: str(len(head))}
    return Answer(b"".join((head, *parts)), headers)


def _check(spec: TensorSpec, array: Array, sizes: Mapping[str, int]) -> None:
    assert array.dtype == WIRE[spec.datatype], f"{spec.name}: {array.dtype}"
    assert array.ndim == len(spec.shape), f"{spec.name}: {array.shape}"
    for size, declared in zip(array.shape, spec.shape, strict=True):
        fixed = sizes.get(declared, size) if isinstance(declared, str) else declared
        assert fixed in (size, -1), f"{spec.name}: {array.shape}"
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        where = [int(axis) for axis in np.argwhere(~finite)[0]]
        raise RequestError(500, f"output {spec.name!r} at {where} is not a finite number")


def _to_bytes(array: Array) -> bytes:
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [text.encode() if isinstance(text, str) else text for text in array.ravel().tolist()]
    return b"".join(part for text in texts for part in (PREFIX.pack(len(text)), text))


def _to_json(array: Array) -> Array | list[str]:
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array.ravel())
    texts = array.ravel().tolist()
    return [text if isinstance(text, str) else text.decode() for text in texts]


def error_answer(message: str) -> Answer:
    """What every failure is answered with; clients decode ``{"error": text}`` only."""
    return _json({"error": message[:MAX_MESSAGE]})


def live_answer() -> Answer:
    """``GET /v2/health/live``."""
    return _json({"live": True})


def ready_answer(ready: bool) -> Answer:
    """``GET /v2/health/ready``; its status is 503 while not."""
    return _json({"ready": ready})


def model_ready_answer(name: str, ready: bool) -> Answer:
    """``GET /v2/models/{name}[/versions/{version}]/ready``; its status is 503 while not."""
    return _json({"name": name, "ready": ready})


def server_answer(name: str, version: str) -> Answer:
    """``GET /v2``: what the server is called and which extensions it speaks."""
    return _json({"name": name, "version": version, "extensions": list(EXTENSIONS)})


def model_answer(spec: ModelSpec, versions: Sequence[str]) -> Answer:
    """``GET /v2/models/{name}[/versions/{version}]``: what the model takes and gives.

    An input that may be left out says ``"optional": true``, which the protocol does not know and
    clients pass over.
    """
    return _json(
        {
            "name": spec.name,
            "versions": list(versions),
            "platform": spec.platform,
            "inputs": [
                _describe(tensor, tensor.declared) | ({"optional": True} if tensor.optional else {})
                for tensor in spec.inputs
            ],
            "outputs": [_describe(tensor, tensor.declared) for tensor in spec.outputs],
            "properties": dict(spec.properties),
        }
    )


def _describe(spec: TensorSpec, shape: list[int]) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape}


def _json(document: dict[str, Any]) -> Answer:
    return Answer(dumps(document), {"Content-Type": JSON})
