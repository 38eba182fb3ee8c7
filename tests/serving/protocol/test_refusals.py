"""What breaks the protocol or the metadata is refused, and the refusal says where."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from polyrank.serving.errors import MAX_MESSAGE, RequestError
from polyrank.serving.protocol import (
    ModelSpec,
    TensorSpec,
    dumps,
    error_answer,
    infer_answer,
    parse_request,
    valid_name,
)

SPEC = ModelSpec(
    name="m",
    platform="test",
    inputs=(
        TensorSpec("x", "FP32", ("rows", 2)),
        TensorSpec("n", "INT8", ("rows",), optional=True),
        TensorSpec("s", "BYTES", ("rows",), optional=True),
        TensorSpec("b", "BOOL", (-1,), optional=True),
        TensorSpec("u", "UINT64", (), optional=True),
        TensorSpec("d", "FP64", ("rows", -1, "length"), optional=True),
    ),
    outputs=(TensorSpec("y", "FP64", ("rows", -1)),),
)
X = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1.5, 2, 3, 4]}


def tensor(name: str, shape: Any, data: Any) -> dict[str, Any]:
    datatype = SPEC.input_by_name[name].datatype
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def x(**other: Any) -> dict[str, Any]:
    return {"inputs": [{**X, **other}]}


def beside(*others: Any) -> dict[str, Any]:
    return {"inputs": [X, *others]}


def refusal(body: bytes, length: str | None = None, **more: Any) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        parse_request(body, length, SPEC, **more)
    assert len(caught.value.message) <= MAX_MESSAGE
    assert caught.value.message.isprintable()
    return caught.value.status, caught.value.message


INPUT = "input 'x'"
JSON_REFUSALS: list[tuple[Any, str]] = [
    ([], "the request is an array, an object is wanted"),
    ("x", "the request is a string, an object is wanted"),
    ({}, "'inputs' is null, an array of objects is wanted"),
    ({"inputs": {}}, "'inputs' is an object, an array of objects is wanted"),
    ({"inputs": [1]}, "inputs[0] must be an object with a string 'name'"),
    ({"inputs": [X, {"name": 1}]}, "inputs[1] must be an object with a string 'name'"),
    ({"inputs": []}, "input 'x' is missing"),
    ({"inputs": [tensor("n", [1], [1])]}, "input 'x' is missing"),
    (beside(X), "input 'x' stands twice"),
    (beside({**X, "name": "z"}), "unknown input 'z'. Known: b, d, n, s, u, x."),
    (beside({**X, "name": "\n" * 10**4}), "unknown input '" + "\\n" * 64 + "...'. Known"),
    (x(datatype="FP64"), f"{INPUT}: 'datatype' must be FP32"),
    (x(datatype=None), f"{INPUT}: 'datatype' must be FP32"),
    (x(datatype=["FP32"]), f"{INPUT}: 'datatype' must be FP32"),
    (x(shape=None), f"{INPUT}: 'shape' must be an array of whole numbers"),
    (x(shape=[2.0, 2]), f"{INPUT}: 'shape' must be an array of whole numbers"),
    (x(shape=[True, 2]), f"{INPUT}: 'shape' must be an array of whole numbers"),
    (x(shape=["2", 2]), f"{INPUT}: 'shape' must be an array of whole numbers"),
    (x(shape=[4]), f"{INPUT}: 1 dimensions, the model takes [-1, 2]"),
    (x(shape=[]), f"{INPUT}: 0 dimensions, the model takes [-1, 2]"),
    (x(shape=[-2, 2]), f"{INPUT}: dimension 0 is -2, the model takes [-1, 2]"),
    (x(shape=[-1, 2]), f"{INPUT}: dimension 0 is -1, the model takes [-1, 2]"),
    (x(shape=[2, 0]), f"{INPUT}: dimension 1 is 0, the model takes [-1, 2]"),
    (x(shape=[2, -1]), f"{INPUT}: dimension 1 is -1, the model takes [-1, 2]"),
    (x(shape=[1, 4]), f"{INPUT}: dimension 1 is 4, the model takes [-1, 2]"),
    (x(shape=[2**63, 2]), f"{INPUT}: 'shape' has more than 2,147,483,648 elements"),
    (beside(tensor("d", [2, 2**40, 0], [])), "input 'd': 'shape' has more than 2,147,483,648"),
    (
        beside(tensor("d", [2, 0, 2], [])),
        "input 'd': dimension 1 is 0, the model takes [-1, -1, -1]",
    ),
    (x(shape=[3, 2]), f"{INPUT}: 4 elements; shape [3, 2] has 6"),
    (x(shape=[1, 2]), f"{INPUT}: 4 elements; shape [1, 2] has 2"),
    (x(shape=[0, 2]), f"{INPUT}: 4 elements; shape [0, 2] has 0"),
    (x(data=None), f"{INPUT} needs either 'data' or 'parameters.binary_data_size'"),
    (x(data=1.5), f"{INPUT}: 'data' is a number, an array is wanted"),
    (x(data={}), f"{INPUT}: 'data' is an object, an array is wanted"),
    (x(data="1.5"), f"{INPUT}: 'data' is a string, an array is wanted"),
    (x(data=[]), f"{INPUT}: 0 elements; shape [2, 2] has 4"),
    (x(data=[[1, 2], [3]]), f"{INPUT}: 1 elements at [1], shape [2, 2] wants 2"),
    (x(data=[[1, 2]]), f"{INPUT}: 1 elements at [], shape [2, 2] wants 2"),
    (x(data=[[1, 2], 3]), f"{INPUT}: a number at [1], an array is wanted"),
    (x(data=[[1, 2], [[3], 4]]), f"{INPUT}: an array at [1, 0], FP32 is wanted"),
    (x(data=[1, [2], 3, 4]), f"{INPUT}: an array at [0, 1], FP32 is wanted"),
    (x(data=[1, 2, "3", 4]), f"{INPUT}: a string at [1, 0], FP32 is wanted"),
    (x(data=[1, 2, 3, True]), f"{INPUT}: a boolean at [1, 1], FP32 is wanted"),
    (x(data=[None, 2, 3, 4]), f"{INPUT}: null at [0, 0], FP32 is wanted"),
    (x(data=[1, {}, 3, 4]), f"{INPUT}: an object at [0, 1], FP32 is wanted"),
    (x(data=[1, 2, 3, 3.5e38]), f"{INPUT}: not a finite FP32 at [1, 1]"),
    (beside(tensor("n", [3], [1, 2, 3])), "input 'n': 3 rows, inputs before it have 2"),
    (beside(tensor("n", [2], [1, 128])), "input 'n': beyond INT8 at [1]"),
    (beside(tensor("n", [2], [-129, 0])), "input 'n': beyond INT8 at [0]"),
    (beside(tensor("n", [2], [1, 0.5])), "input 'n': not a whole number at [1], INT8 is wanted"),
    (beside(tensor("u", [], [2.0**54])), "input 'u': not a whole number at [], UINT64 is wanted"),
    (beside(tensor("u", [], [-1])), "input 'u': beyond UINT64 at []"),
    (beside(tensor("n", [2], [True, 1])), "input 'n': a boolean at [0], INT8 is wanted"),
    (beside(tensor("s", [2], ["a", 1])), "input 's': a number at [1], BYTES is wanted"),
    (beside(tensor("s", [2], ["a", None])), "input 's': null at [1], BYTES is wanted"),
    (beside(tensor("b", [2], [True, "true"])), "input 'b': a string at [1], BOOL is wanted"),
    (beside(tensor("b", [2], [True, 2])), "input 'b': neither true nor false at [1]"),
    (x(parameters=[]), "'parameters' of input 'x' is not an object"),
    (x(parameters={"shared_memory_region": "r"}), f"{INPUT}: unknown parameter 'shared_memory_reg"),
    (x(parameters={"binary_data_size": 16}), f"{INPUT} needs either 'data' or 'parameters.binary"),
    (x(data=None, parameters={"binary_data_size": "16"}), f"{INPUT}: parameter 'binary_data_size'"),
    (x(data=None, parameters={"binary_data_size": 1.0}), "must be a whole number, got a number"),
    (x(data=None, parameters={"binary_data_size": True}), "must be a whole number, got a boolean"),
    (x(data=None, parameters={"binary_data_size": -1}), f"{INPUT}: 'binary_data_size' is below 0"),
    (
        x(data=None, parameters={"binary_data_size": 16}),
        "binary data: the inputs take 16 bytes, the body has 0",
    ),
    ({**x(), "id": 7}, "'id' must be a string of at most 128 characters"),
    ({**x(), "id": "7" * 129}, "'id' must be a string of at most 128 characters"),
    (
        {**x(), "parameters": {"binary_data_outputs": True}},
        "the request: unknown parameter 'binary_data_outputs'. Did you mean 'binary_data_output'?",
    ),
    ({**x(), "parameters": {"binary_data_output": 1}}, "must be true or false, got a number"),
    ({**x(), "parameters": {"timeout": "1"}}, "'timeout' must be a whole number, got a string"),
    ({**x(), "outputs": "y"}, "'outputs' is a string, an array of objects is wanted"),
    ({**x(), "outputs": ["y"]}, "outputs[0] must be an object with a string 'name'"),
    ({**x(), "outputs": [{"name": "x"}]}, "unknown output 'x'. Known: y."),
    ({**x(), "outputs": [{"name": "y"}, {"name": "y"}]}, "output 'y' stands twice"),
    (
        {**x(), "outputs": [{"name": "y", "parameters": {"classification": 1}}]},
        "output 'y': unknown parameter 'classification'",
    ),
]


def test_json_is_refused_and_told_where() -> None:
    for document, words in JSON_REFUSALS:
        status, message = refusal(dumps(document))
        assert status == 400, message
        assert words in message


def packed(
    name: str, shape: list[int], raw: bytes, *, tail: bytes | None = None, size: int | None = None
) -> tuple[bytes, str]:
    """A request of ``x`` in JSON and ``name`` as bytes."""
    entry = tensor(name, shape, None)
    entry["parameters"] = {"binary_data_size": len(raw) if size is None else size}
    head = dumps({"inputs": [entry] if name == "x" else [X, entry]})
    return head + (raw if tail is None else tail), str(len(head))


def text(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


FOUR = np.arange(4, dtype="<f4").tobytes()
NAN = np.array([0, 1, np.nan, 2], dtype="<f4").tobytes()
INF = np.array([0, -np.inf, 1, 2], dtype="<f4").tobytes()
BINARY_REFUSALS: list[tuple[tuple[bytes, str], str]] = [
    (packed("x", [2, 2], NAN), f"{INPUT}: not a finite FP32 at [1, 0]"),
    (packed("x", [2, 2], INF), f"{INPUT}: not a finite FP32 at [0, 1]"),
    (packed("x", [2, 2], FOUR[:12]), f"{INPUT}: 12 bytes; 4 elements of FP32 take 16"),
    (packed("x", [2, 2], FOUR * 2), f"{INPUT}: 32 bytes; 4 elements of FP32 take 16"),
    (packed("x", [2, 2], b""), f"{INPUT}: 0 bytes; 4 elements of FP32 take 16"),
    (packed("x", [2, 2], FOUR, tail=FOUR + b"!"), "the inputs take 16 bytes, the body has 17"),
    (packed("x", [2, 2], FOUR, tail=FOUR[:-1]), "the inputs take 16 bytes, the body has 15"),
    (packed("x", [2, 2], FOUR, size=2**62), "the inputs take 4,611,686,018,427,387,904 bytes"),
    (packed("b", [3], b"\x00\x01\x02"), "input 'b': neither 0 nor 1 at [2]"),
    (packed("n", [2], b"\x00"), "input 'n': 1 bytes; 2 elements of INT8 take 2"),
    (packed("s", [2], b"\x00" * 7), "input 's': 7 bytes are too few for 2 elements of BYTES"),
    (packed("s", [2], text(b"abcd") + b"\x00\x00"), "input 's': 2 bytes missing at [1]"),
    (packed("s", [2], text(b"abcd", b"ef")[:-1]), "input 's': 1 bytes missing at [1]"),
    (packed("s", [2], b"\xff" * 8), "input 's': 4,294,967,291 bytes missing at [0]"),
    (packed("s", [2], text(b"a", b"b") + b"xyz"), "input 's': 3 bytes left over"),
    (packed("s", [2], text(b"a", b"\xff")), "input 's': not UTF-8 at [1]"),
    (packed("s", [2], text(b"\xed\xa0\x80", b"")), "input 's': not UTF-8 at [0]"),
    ((packed("x", [2, 2], FOUR)[0], "10"), "the request is not JSON"),
    ((packed("x", [2, 2], FOUR)[0], "9" * 18), "Inference-Header-Content-Length says 999,999,99"),
    *(
        ((packed("x", [2, 2], FOUR)[0], length), "Inference-Header-Content-Length must be a number")
        for length in (
            "",
            "-1",
            "+1",
            "1.0",
            "1e1",
            "0x10",
            "1_0",
            "٣",
            "1,1",
            "9" * 20,
            "9" * 5000,
        )
    ),
    ((dumps(x()) + FOUR, str(len(dumps(x())))), "the inputs take 0 bytes, the body has 16"),
]


def test_bytes_are_refused_and_told_where() -> None:
    for sent, words in BINARY_REFUSALS:
        status, message = refusal(*sent)
        assert status == 400, message
        assert words in message


def test_the_same_requests_pass_where_nothing_is_wrong() -> None:
    for body, length in [
        packed("x", [2, 2], FOUR),
        packed("b", [3], b"\x00\x01\x01"),
        packed("s", [2], text(b"", "é\x00".encode())),
        packed("x", [0, 2], b""),
    ]:
        parse_request(body, length, SPEC)
        parse_request(body, f" {length}\t", SPEC)
    request = parse_request(dumps(beside(tensor("d", [2, 1, 0], [[[]], [[]]]))), None, SPEC)
    assert request.inputs["d"].shape == (2, 1, 0)
    assert request.sizes == {"rows": 2, "length": 0}


def test_too_many_rows_are_refused_before_an_array_is_made() -> None:
    sent = packed("x", [10_001, 2], np.ones(20_002, dtype="<f4").tobytes())
    tracemalloc.start()
    status, message = refusal(*sent, caps={"rows": 10_000})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (status, message) == (413, "input 'x': 10,001 rows, at most 10,000")
    assert peak < 80_000
    assert parse_request(*sent, SPEC, caps={"rows": 10_001}).sizes == {"rows": 10_001}


def test_an_answer_that_is_not_finite_is_our_error_as_bytes_too() -> None:
    scores = np.array([[0.5, 1.0], [np.inf, 0.0]])
    for binary in (True, False):
        more = {"parameters": {"binary_data_output": binary}}
        request = parse_request(dumps({**x(), **more}), None, SPEC)
        with pytest.raises(RequestError, match=r"output 'y' at \[1, 0\] is not a finite") as caught:
            infer_answer(SPEC, request, {"y": scores}, version="1")
        assert caught.value.status == 500


def test_an_answer_that_breaks_its_metadata_is_our_mistake() -> None:
    request = parse_request(dumps(x()), None, SPEC)
    wrong: list[Any] = [np.zeros((2, 1), np.float32), np.zeros(2), np.zeros((3, 1))]
    for scores in (*wrong, np.zeros((2, 1), object)):
        with pytest.raises(AssertionError, match="^y: "):
            infer_answer(SPEC, request, {"y": scores}, version="1")


def test_a_name_is_safe_in_a_path() -> None:
    for name in ("a", "A-Z_0.9", "-", "a" * 64, "a..b"):
        assert valid_name(name), name
    for name in ("", "a" * 65, ".", "..", ".a", "a/b", "a%2fb", "a b", "a\n", "é", "٣", "a\x00"):
        assert not valid_name(name), name


def test_a_specification_that_cannot_be_is_our_mistake() -> None:
    for broken in (("BF16", (1,)), ("FP32", (0,)), ("FP32", (-2,))):
        with pytest.raises(AssertionError):
            TensorSpec("x", *broken)
    one = TensorSpec("x", "FP32", (1,))
    for name, inputs, outputs in (("m", (one, one), ()), ("m", (), (one, one)), ("../m", (), ())):
        with pytest.raises(AssertionError):
            ModelSpec(name=name, platform="", inputs=inputs, outputs=outputs)


def test_an_error_is_an_object_with_one_text() -> None:
    answer = error_answer('no "x"\n' + "y" * 1000)
    assert answer.body.startswith(b'{"error":"no \\"x\\"\\nyyy')
    assert len(answer.body) < 540
    assert answer.headers == {"Content-Type": "application/json"}
