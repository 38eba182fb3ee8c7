"""The clients that people use, unmodified, speak with the codec."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polyrank.serving.protocol import WIRE
from tests.serving.client_runs import CLIENTS, run_clients
from tests.serving.protocol.tiny_server import CAP, ECHO, MODEL, VERSION, running

ENDS: dict[str, list[Any]] = {
    "BOOL": [True, False, False, True],
    "INT8": [-128, 127, 0, 1],
    "INT16": [-(2**15), 2**15 - 1, 0, 1],
    "INT32": [-(2**31), 2**31 - 1, 0, 1],
    "INT64": [-(2**63), 2**63 - 1, 2**53 + 1, 1],
    "UINT8": [255, 0, 1, 2],
    "UINT16": [65535, 0, 1, 2],
    "UINT32": [2**32 - 1, 0, 1, 2],
    "UINT64": [2**64 - 1, 2**63, 2**53 + 1, 0],
    "FP16": [0.5, -65504.0, 0.0, 2.0**-24],
    "FP32": [0.10000000149011612, -3.4028234663852886e38, 2.0**-149, 1.0],
    "FP64": [0.1, -1.7976931348623157e308, 5e-324, 1.0],
    "BYTES": ["", "naïve 猫 \x00", "item:1", '"\\'],
}
"""Four elements of each datatype, its ends among them."""
INEXACT = ("INT64", "UINT64")
AS_FLOATS = {name: [1, 0, 0, 1] if name in INEXACT else data for name, data in ENDS.items()}
"""For a client to whom every number is a float of 64 bits."""
IN_JSON = {name: data for name, data in ENDS.items() if name != "FP16"}
"""For a client that sends FP16 as bytes only."""


def case(values: dict[str, list[Any]], **more: Any) -> dict[str, Any]:
    """Two rows with ``values`` by datatype."""
    inputs = [{"name": "weight", "datatype": "FP32", "shape": [2], "data": [0.5, 1.5]}]
    for name, data in values.items():
        inputs.append({"name": f"in_{name}", "datatype": name, "shape": [2, 2], "data": data})
    return {"inputs": inputs, "id": "Ω-1", **more}


def weights(shape: list[int], **more: Any) -> dict[str, Any]:
    """A request of nothing but as many weights as ``shape`` says."""
    count = 1
    for size in shape:
        count *= size
    entry = {"name": "weight", "datatype": "FP32", "shape": shape, "data": [1.0] * count}
    return {"inputs": [entry], "id": "2", **more}


def cases_of(client: str) -> list[dict[str, Any]]:
    subset = {"outputs": ["out_INT32", "double"]}
    if client == "triton":
        packing = [
            {"request_compression": name, "response_compression": other}
            for name, other in (("gzip", "deflate"), ("deflate", "gzip"))
        ]
        both = [{"binary": binary, **pack} for binary in (True, False) for pack in (*packing, {})]
        everything = [case(ENDS, **more) for more in both]
        everything.append(case(ENDS, version=VERSION, timeout=10**6))
    elif client == "kserve":
        everything = [case(IN_JSON), case(ENDS, binary=True)]
    else:
        everything = [case(AS_FLOATS), case(AS_FLOATS, version=VERSION)]
    partial = [case({"INT32": ENDS["INT32"]}, binary=binary, **subset) for binary in (True, False)]
    return [*everything, *partial, *refused_of(client), weights([0]), weights([CAP])]


def refused_of(client: str) -> list[dict[str, Any]]:
    unknown = [case({}, version="4")] if client != "kserve" else []
    return [*unknown, weights([1, 1]), weights([CAP + 1]), case({}, outputs=["click"])]


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """What each client printed."""
    with running() as url:
        return run_clients(url, MODEL, {name: cases_of(name) for name in CLIENTS})


def answered(case: dict[str, Any]) -> dict[str, Any]:
    """What the echo must say to ``case``, from the case alone."""
    given = {tensor["name"]: tensor for tensor in case["inputs"]}
    rows = given["weight"]["shape"][0]
    said = {"double": ("FP32", [rows], [x * 2 for x in given["weight"]["data"]])}
    for name in WIRE:
        nothing = ["" if name == "BYTES" else 0] * (2 * rows)
        data = given.get(f"in_{name}", {"data": nothing})["data"]
        said[f"out_{name}"] = (name, [rows, 2], data)
    asked = case.get("outputs") or said
    outputs = {
        name: dict(zip(("datatype", "shape", "data"), said[name], strict=True)) for name in asked
    }
    return {"id": case["id"], "model": MODEL, "outputs": outputs}


def typed(answer: dict[str, Any]) -> dict[str, Any]:
    """``answer`` as its datatypes mean it: JSON has as many digits as tell an FP32 from others."""
    for output in answer["outputs"].values():
        output["data"] = np.array(output["data"], dtype=WIRE[output["datatype"]]).tolist()
    return answer


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_understands_every_answer(client: str, results: dict[str, dict[str, Any]]) -> None:
    cases, refused = cases_of(client), refused_of(client)
    for given, answer in zip(cases, results[client]["answers"], strict=True):
        if given not in refused:
            assert typed(answer) == answered(given)
            assert list(answer["outputs"]) == list(answered(given)["outputs"])


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_reads_why_it_was_refused(client: str, results: dict[str, dict[str, Any]]) -> None:
    cases, refused = cases_of(client), refused_of(client)
    answers = [
        answer
        for given, answer in zip(cases, results[client]["answers"], strict=True)
        if given in refused
    ]
    expected = [
        (404, "no such model or route"),
        (400, "input 'weight': 2 dimensions, the model takes [-1]"),
        (413, "input 'weight': 1,001 rows, at most 1,000"),
        (400, "unknown output 'click'. Known: "),
    ][-len(refused) :]
    for answer, (status, words) in zip(answers, expected, strict=True):
        assert answer["status"] == status
        assert words in answer["error"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_finds_the_server_and_its_model(
    client: str, results: dict[str, dict[str, Any]]
) -> None:
    result = results[client]
    assert result["live"] is result["ready"] is result["model_ready"] is True
    if client == "kserve":
        return
    assert result["server"]["extensions"] == ["binary_tensor_data"]
    metadata = result["metadata"]
    assert (metadata["name"], metadata["versions"]) == (MODEL, [VERSION])
    assert metadata["platform"] == "test"
    assert metadata["properties"] == {"kind": "echo"}
    shown = [(tensor["name"], tensor["shape"]) for tensor in metadata["inputs"]]
    assert shown == [("weight", [-1])] + [(f"in_{name}", [-1, 2]) for name in WIRE]
    assert len(metadata["outputs"]) == len(ECHO.outputs)
