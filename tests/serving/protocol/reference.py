"""A slow second writer and reader of the protocol, from its text alone: ``struct`` and ``json``."""

from __future__ import annotations

import json
import struct
from typing import Any

CODES = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}


def element(datatype: str, value: Any) -> bytes:
    if datatype == "BYTES":
        text: bytes = value.encode()
        return struct.pack("<I", len(text)) + text
    return struct.pack("<" + CODES[datatype], value)


def request(
    tensors: list[dict[str, Any]], binary: set[str], **more: Any
) -> tuple[bytes, str | None]:
    """A body and its header's length; of ``tensors`` (name, datatype, shape, data flat), those
    named in ``binary`` go behind the JSON."""
    entries, tail = [], b""
    for tensor in tensors:
        entry = dict(tensor)
        if tensor["name"] in binary:
            raw = b"".join(element(tensor["datatype"], x) for x in entry.pop("data"))
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        entries.append(entry)
    head = json.dumps({"inputs": entries, **more}).encode()
    return head + tail, str(len(head)) if binary else None


def nested(flat: list[Any], shape: list[int]) -> Any:
    if len(shape) <= 1:
        return flat
    step = len(flat) // shape[0] if shape[0] else 0
    return [nested(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def answer(body: bytes, header_length: str | None) -> dict[str, Any]:
    """The document of an answer, with the data of each output in place."""
    length = len(body) if header_length is None else int(header_length)
    document: dict[str, Any] = json.loads(body[:length])
    tail = body[length:]
    for output in document["outputs"]:
        if "data" not in output:
            size = output.pop("parameters")["binary_data_size"]
            output["data"] = elements(output["datatype"], tail[:size])
            tail = tail[size:]
    assert tail == b""
    return document


def elements(datatype: str, raw: bytes) -> list[Any]:
    values: list[Any] = []
    while raw:
        if datatype == "BYTES":
            size = 4 + struct.unpack("<I", raw[:4])[0]
            values.append(raw[4:size].decode())
        else:
            size = struct.calcsize("<" + CODES[datatype])
            values += struct.unpack("<" + CODES[datatype], raw[:size])
        raw = raw[size:]
    return values
