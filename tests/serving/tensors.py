"""Requests and answers of the Open Inference Protocol as this suite's own hands write them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

Tensors = Sequence[tuple[str, str, list[int], list[Any]]]
"""Name, datatype, shape and values of each."""
Answer = dict[str, NDArray[np.float64]]
_LAYOUTS = {"INT64": "<i8", "FP64": "<f8"}


def infer(
    client: httpx.Client, model: str, tensors: Tensors, outputs: Sequence[str], *, binary: bool
) -> Answer:
    """What the server answers, sent and answered in JSON or in bytes."""
    inputs: list[dict[str, Any]] = []
    parts = []
    for name, datatype, shape, values in tensors:
        entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if binary:
            parts.append(_bytes_of(datatype, values))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = values
        inputs.append(entry)
    wanted = [{"name": name, "parameters": {"binary_data": binary}} for name in outputs]
    head = json.dumps({"inputs": inputs, "outputs": wanted}).encode()
    headers = {"content-type": "application/json", "x-deadline-ms": "60000"}
    if binary:
        headers |= {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(head)),
        }
    answer = client.post(
        f"/v2/models/{model}/infer", content=b"".join([head, *parts]), headers=headers
    )
    assert answer.status_code == 200, answer.text[:300]
    return _outputs(answer.content, answer.headers)


def _bytes_of(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(values, _LAYOUTS[datatype]).tobytes()


def _outputs(body: bytes, headers: Mapping[str, str]) -> Answer:
    length = int(headers.get("inference-header-content-length", len(body)))
    found, start = {}, length
    for each in json.loads(body[:length])["outputs"]:
        assert each["datatype"] == "FP64"
        size = each.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[each["name"]] = np.array(each["data"], np.float64)
        else:
            found[each["name"]] = np.frombuffer(body[start : start + size], "<f8")
            start += size
    return found
