"""Every datatype goes through bytes and through JSON and comes out as it was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.serving.protocol import (
    HEADER_LENGTH,
    WIRE,
    ModelSpec,
    TensorSpec,
    infer_answer,
    parse_request,
)
from tests.serving.protocol import reference


def elements(datatype: str) -> st.SearchStrategy[Any]:
    dtype = WIRE[datatype]
    if dtype.kind == "f":
        width: Any = dtype.itemsize * 8
        return st.floats(width=width, allow_nan=False, allow_infinity=False)
    if dtype.kind in "iu":
        return st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return st.booleans() if dtype.kind == "b" else st.text(max_size=5)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[ModelSpec, list[dict[str, Any]], set[str]]:
    """A model, the tensors of a request to it, and those of them that go as bytes."""
    rows = draw(st.integers(0, 3))
    specs, tensors, binary = [], [], set()
    for place in range(draw(st.integers(1, 4))):
        datatype, inner = (
            draw(st.sampled_from(sorted(WIRE))),
            draw(st.sampled_from([(), (2,), (-1, 2)])),
        )
        shape = [rows, *(draw(st.integers(1, 3)) if size == -1 else size for size in inner)]
        count = math.prod(shape)
        data = draw(st.lists(elements(datatype), min_size=count, max_size=count))
        name = f"t{place}"
        specs.append(TensorSpec(name, datatype, ("rows", *inner)))
        tensors.append({"name": name, "datatype": datatype, "shape": shape, "data": data})
        if draw(st.booleans()):
            binary.add(name)
    spec = ModelSpec(name="m", platform="test", inputs=tuple(specs), outputs=tuple(specs))
    return spec, draw(st.permutations(tensors)), binary


def same(left: list[Any], right: list[Any]) -> bool:
    """Equal in value and in sign, whether numbers are written with a point or not."""
    signs = [
        math.copysign(1, x) == math.copysign(1, y)
        for x, y in zip(left, right, strict=True)
        if isinstance(x, float)
    ]
    return left == right and all(signs)


@settings(max_examples=80)
@given(exchanges(), st.booleans(), st.data())
def test_what_is_sent_is_what_is_read_and_what_is_answered(
    exchange: tuple[ModelSpec, list[dict[str, Any]], set[str]], nest: bool, data: st.DataObject
) -> None:
    spec, tensors, binary = exchange
    sent = [
        {**t, "data": reference.nested(t["data"], t["shape"])}
        if nest and t["name"] not in binary
        else t
        for t in tensors
    ]
    names = [t["name"] for t in tensors]
    asked = data.draw(st.lists(st.sampled_from(names), unique=True))
    as_bytes = {name for name in names if data.draw(st.booleans())}
    outputs = [{"name": n, "parameters": {"binary_data": n in as_bytes}} for n in asked]
    body, length = reference.request(sent, binary, outputs=outputs, id="7", model_name="ignored")

    request = parse_request(body, length, spec)
    for tensor in tensors:
        array = request.inputs[tensor["name"]]
        assert list(array.shape) == tensor["shape"]
        assert array.dtype == WIRE[tensor["datatype"]]
        assert array.dtype.isnative
        assert array.flags.writeable
        assert array.flags.aligned
        assert same(array.ravel().tolist(), tensor["data"])

    answer = infer_answer(spec, request, request.inputs, version="1")
    read = reference.answer(answer.body, answer.headers.get(HEADER_LENGTH))
    assert (read["id"], read["model_name"], read["model_version"]) == ("7", "m", "1")
    assert [output["name"] for output in read["outputs"]] == (
        asked or [s.name for s in spec.inputs]
    )
    assert (HEADER_LENGTH in answer.headers) == bool(as_bytes & set(asked))
    by_name = {t["name"]: t for t in tensors}
    for output in read["outputs"]:
        tensor = by_name[output["name"]]
        assert (output["datatype"], output["shape"]) == (tensor["datatype"], tensor["shape"])
        dtype = WIRE[output["datatype"]]
        assert same(np.array(output["data"], dtype=dtype).tolist(), tensor["data"])


ONE = ModelSpec(
    name="m",
    platform="test",
    inputs=tuple(TensorSpec(f"x_{n}", n, ("rows",), optional=True) for n in WIRE),
    outputs=(TensorSpec("y", "FP32", ("rows",)), TensorSpec("z", "BYTES", (-1,))),
)


def one(datatype: str, *data: Any) -> Any:
    tensor = {"name": f"x_{datatype}", "datatype": datatype, "shape": [len(data)], "data": data}
    body, _ = reference.request([{**tensor, "data": list(data)}], set())
    return parse_request(body, None, ONE).inputs[f"x_{datatype}"].tolist()


def test_numbers_of_clients_that_know_one_kind_only() -> None:
    assert one("FP32", 1, 2**24 + 1, -0.0) == [1.0, 2.0**24, 0.0]
    assert one("INT64", 1.0, -(2.0**53), 2**63 - 1) == [1, -(2**53), 2**63 - 1]
    assert one("BOOL", 1, 0.0, True) == [True, False, True]
    assert one("FP32", 1e-60, 2.0**-149) == [0.0, 2.0**-149]


def test_a_request_says_what_it_wants_answered() -> None:
    def wanted(**more: Any) -> list[tuple[str, bool]]:
        body, _ = reference.request([], set(), **more)
        return [(want.name, want.binary) for want in parse_request(body, None, ONE).outputs]

    everything = {"parameters": {"binary_data_output": True}}
    no, yes = {"binary_data": False}, {"binary_data": True}
    assert wanted() == [("y", False), ("z", False)]
    assert wanted(outputs=None, parameters=None) == [("y", False), ("z", False)]
    assert wanted(outputs=[], **everything) == [("y", True), ("z", True)]
    assert wanted(outputs=[{"name": "z", "parameters": no}], **everything) == [("z", False)]
    assert wanted(outputs=[{"name": "z"}, {"name": "y"}], **everything) == [
        ("z", True),
        ("y", True),
    ]
    assert wanted(outputs=[{"name": "y", "parameters": yes}, {"name": "z"}]) == [
        ("y", True),
        ("z", False),
    ]


def test_parameters_are_handed_on_where_they_are_known() -> None:
    given = {"timeout": 5, "profile": "feed", "share": 1, "binary_data_output": False}
    body, _ = reference.request([], set(), parameters=given)
    request = parse_request(body, None, ONE, parameters={"profile": str, "share": float})
    assert request.parameters == given
    assert request.id is None
    assert request.sizes == {}


@pytest.mark.parametrize("binary", [True, False])
def test_an_answer_takes_text_as_it_comes_and_any_layout(binary: bool) -> None:
    body, _ = reference.request([], set(), parameters={"binary_data_output": binary})
    request = parse_request(body, None, ONE)
    outputs = {
        "y": np.arange(6, dtype=np.float32)[::2],
        "z": np.array(["é", "é".encode()], dtype=object),
    }
    answer = infer_answer(ONE, request, outputs, version="2")
    read = reference.answer(answer.body, answer.headers.get(HEADER_LENGTH))
    assert "id" not in read
    assert [output["data"] for output in read["outputs"]] == [[0.0, 2.0, 4.0], ["é", "é"]]
