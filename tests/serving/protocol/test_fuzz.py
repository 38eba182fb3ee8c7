"""Damaged bodies: a value or a refusal, and strict JSON exactly where a slow reader finds it."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.serving.errors import RequestError
from polyrank.serving.protocol import WIRE, dumps, loads, parse_request
from tests.serving.protocol import reference
from tests.serving.protocol.tiny_server import ECHO

pytestmark = pytest.mark.no_cover
"""Tracing triples the time, and other tests reach every line."""

TOKENS = [
    *(b'"', b"\\", b":", b",", b"{", b"}", b"[", b"]", b"0", b"-", b".", b"e9", b" ", b"\n"),
    *(b"null", b"true", b"NaN", b"1e999", b"18446744073709551616", b'"a":1,', b"[[", b"\\u"),
    *(b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x00\x00\xc0\x7f", b"\xed\xa0\x80", b'"\\ud800"'),
]


def damaged(rng: random.Random, body: bytes) -> bytes:
    """``body`` with a byte changed, a token put in, or a part cut out, doubled or moved."""
    at, end = sorted((rng.randrange(len(body) + 1), rng.randrange(len(body) + 1)))
    end = min(end, at + rng.choice((1, 1, 8, 10**6)))
    part = rng.choice(
        (b"", rng.choice(TOKENS), rng.choice(TOKENS), rng.randbytes(1), body[at:end] * 2)
    )
    return body[:at] + part + body[rng.choice((at, end)) :]


def seeds() -> list[tuple[bytes, int | None]]:
    """Requests that are right; of those with bytes behind, how long their JSON is."""
    values: dict[str, Any] = {name: [1, 0, 1, 0] for name in WIRE}
    values |= {"BYTES": ["a:", "", '"é"', "\\"], "FP32": [0.5, -1.5, 2.0, 0.0]}
    tensors = [{"name": "weight", "datatype": "FP32", "shape": [2], "data": [0.5, 1.5]}]
    for name in ("BYTES", "FP32", "BOOL", "INT64"):
        tensors.append(
            {"name": f"in_{name}", "datatype": name, "shape": [2, 2], "data": values[name]}
        )
    outputs = [{"name": "double", "parameters": {"binary_data": True}}, {"name": "out_BYTES"}]
    found = []
    choices: list[set[str]] = [set(), {"in_BYTES", "in_BOOL"}, {str(t["name"]) for t in tensors}]
    for binary in choices:
        body, length = reference.request(tensors, binary, id="7", outputs=outputs)
        found.append((body, None if length is None else int(length)))
    return found


def is_read(body: bytes, length: str | None) -> bool:
    """Whether a request is read, and then as its model declares, or refused."""
    try:
        request = parse_request(body, length, ECHO)
    except RequestError as refusal:
        if refusal.status != 400:
            raise
        return False
    rows = request.sizes["rows"]
    for name, array in request.inputs.items():
        assert array.dtype == WIRE[ECHO.input_by_name[name].datatype]
        assert array.shape == ((rows,) if name == "weight" else (rows, 2))
    return True


def fuzz_requests(count: int, seed: int) -> tuple[int, int]:
    """How many damaged requests were read, and how many were refused."""
    rng = random.Random(seed)
    right = seeds()
    read = 0
    for _ in range(count):
        body, length = rng.choice(right)
        harmed = damaged(rng, body)
        if rng.random() < 0.3:
            harmed = damaged(rng, harmed)
        if length is not None:
            length += rng.choice((0, len(harmed) - len(body), rng.randrange(-9, 9)))
        read += is_read(harmed, None if length is None else str(length))
    return read, count - read


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.nightly)])
def test_a_damaged_request_is_read_or_refused(count: int) -> None:
    read, refused = fuzz_requests(count, seed=count)
    assert read > count / 100
    assert refused > count / 2


def strictly(body: bytes) -> Any:
    """JSON as the standard library reads it, less all that is not strict."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    def whole(digits: str) -> int:
        if not -(2**63) <= int(digits) < 2**64:
            raise ValueError("too long")
        return int(digits)

    def decimal(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise ValueError("not finite")
        return float(digits)

    def constant(name: str) -> float:
        raise ValueError(name)

    document = json.loads(
        body.decode("utf-8"),
        object_pairs_hook=unique,
        parse_int=whole,
        parse_float=decimal,
        parse_constant=constant,
    )
    json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


DOCUMENT = dumps(
    {
        "ids": ["item:1", "a\\:b", '":', "é猫"],
        "rows": [{"a": 0.1, "b": None, "é": -5}, {"a": 18446744073709551615, "b": True, "": {}}],
        "n": [[1.5, -1e-7], [1e22, 0]],
    }
)


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.nightly)])
def test_a_damaged_document_is_strict_json_exactly_where_a_slow_reader_says_so(count: int) -> None:
    rng = random.Random(count)
    agreed = 0
    for _ in range(count):
        body = damaged(rng, DOCUMENT)
        try:
            expected = strictly(body)
        except ValueError:
            with pytest.raises(RequestError):
                loads(body)
            continue
        assert repr(loads(body)) == repr(expected), body
        agreed += 1
    assert count / 20 < agreed < count * 0.95


ODD = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["weight", "FP32", "in_INT8", "double", "binary_data_size", ""])
    | st.text(max_size=3)
)
ODD_TREE = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ("name", "datatype", "shape", "data", "parameters", "id", "inputs", "outputs")


@settings(max_examples=80)
@given(st.data())
def test_a_request_with_an_odd_part_is_read_or_refused(data: st.DataObject) -> None:
    body, _ = seeds()[0]
    document = json.loads(body)
    at = data.draw(st.sampled_from([document, document["inputs"][1], document["outputs"][0]]))
    for key in data.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2)):
        at[key] = data.draw(ODD_TREE)
    length = data.draw(st.none() | st.text(max_size=4) | st.just(str(len(dumps(document)))))
    is_read(dumps(document), length)
