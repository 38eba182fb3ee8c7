from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.serving.errors import MAX_MESSAGE, RequestError
from polyrank.serving.protocol import dumps, loads
from polyrank.serving.protocol import strict_json as module

NOT_JSON = [
    b"",
    b" ",
    b"[1,]",
    b'{"a":1,}',
    b"[1 2]",
    b"{a:1}",
    b"{'a':1}",
    b"[1] x",
    b"[1][2]",
    b"01",
    b"+1",
    b".5",
    b"1.",
    b"0x10",
    b"nul",
    b"[NaN]",
    b"[Infinity]",
    b"[-Infinity]",
    b"[1e999]",
    b"[-1e999]",
    b"9" * 20_000,
    b"\xef\xbb\xbf[1]",
    "[1]".encode("utf-16"),
    "[1]".encode("utf-16-le"),
    "[1]".encode("utf-32"),
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\x41"',
    b'"a\nb"',
    b'"a\x00b"',
    b"[" * 100_000,
    b"[" * 1000 + b"]" * 1000,
    b'{"a":' * 100 + b"1" + b"}" * 100,
    b"[" * 33 + b"]" * 33,
    b"// a comment\n1",
]


def test_what_is_not_strict_json_is_refused() -> None:
    for body in NOT_JSON:
        with pytest.raises(RequestError) as caught:
            loads(body)
        assert caught.value.status == 400
        assert caught.value.message.startswith("the body"), body[:20]
        assert len(caught.value.message) <= MAX_MESSAGE


def test_an_integer_is_itself_or_refused() -> None:
    kept = [
        "18446744073709551615",
        "-9223372036854775808",
        "1e20",
        "-1e19",
        "18446744073709551616.0",
    ]
    lost = ["18446744073709551616", "-9223372036854775809", "1" + "0" * 300]
    for around in ("%s", "[1.5, %s]", '{"a": ["x", {"b": %s}]}', '["x", %s]'):
        for digits in (*kept, "9007199254740993"):
            body = (around % digits).encode()
            assert repr(loads(body)) == repr(json.loads(body))
        for digits in lost:
            with pytest.raises(
                RequestError, match=r"an integer of \d+ digits does not fit 64 bits"
            ):
                loads((around % digits).encode())


TWICE = [
    r'{"a": 1, "a": 2}',
    r'{"a":{"b":[{"c":1,"c":1}]}}',
    r'{"a": 1, "\u0061": 2}',
    r'{"a": ":", "a": 2}',
    r'{"a" : "b : c", "a" : "\":"}',
    r'{"a": "\\", "b": ":", "b": "\\\":"}',
    r'{"a": "\u003a", "a": 1, "b": ":"}',
    '{"a"\n\t\r :1,"a":2}',
    r'{"":1,"":2}',
    r'[{"a":1},{"a":1,"a":1}]',
    r'{"a": {"x":1,"y":2,"z":3}, "a": 1}',
]


def test_a_name_twice_is_refused_by_name() -> None:
    for body in TWICE:
        with pytest.raises(RequestError, match=r"an object has the name '.?' twice"):
            loads(body.encode())


@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_a_name_twice_is_found_wherever_blocks_end(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    test_a_name_twice_is_refused_by_name()
    for body in ('{"a": ": :", "b" : {"c":"\\":"}}', '[":", {" :" : ":"}]', '{"":{},":":[]}'):
        assert loads(body.encode()) == json.loads(body)


def test_a_name_twice_in_a_long_document_is_refused_without_its_name() -> None:
    body = b'{"a":1,"a":"' + b"x" * (1 << 20) + b'"}'
    with pytest.raises(RequestError, match="an object has a name twice"):
        loads(body)


def test_a_long_name_is_cut_and_kept_on_one_line() -> None:
    name = json.dumps("\n\x1b" + "x" * 10_000)
    with pytest.raises(RequestError) as caught:
        loads(f"{{{name}: 1, {name}: 2}}".encode())
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()


def test_more_values_than_allowed_are_refused_before_they_are_made() -> None:
    for body in (b"[" + b"{}," * 60 + b"{}]", b"[" + b"1," * 100 + b"1]", b"[[[" * 10):
        assert len(body) >= 30
        with pytest.raises(RequestError, match="more than 29 values") as caught:
            loads(body, max_values=29)
        assert caught.value.status == 413
    assert len(loads(b"[" + b"1," * 28 + b"1]", max_values=29)) == 29


LETTERS = st.text(alphabet=st.sampled_from('a:" \\\n{[,é'), max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | LETTERS
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LETTERS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80)
@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]), st.sampled_from([":", " : ", ": "]))
def test_strict_json_is_read_as_the_standard_library_reads_it(
    document: Any, ascii_only: bool, indent: int | None, colon: str
) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent, separators=(",", colon))
    assert repr(loads(body.encode())) == repr(json.loads(body))
    assert repr(loads(dumps(document))) == repr(document)


def has_twice(value: Any) -> bool:
    if isinstance(value, tuple):
        names = [name for name, _ in value[1]]
        return len(set(names)) < len(names) or any(has_twice(inner) for _, inner in value[1])
    return isinstance(value, list) and any(map(has_twice, value))


@settings(max_examples=100)
@given(st.lists(st.tuples(LETTERS, SCALARS | st.dictionaries(LETTERS, SCALARS)), max_size=5))
def test_a_document_is_refused_exactly_where_a_name_stands_twice(
    pairs: list[tuple[str, Any]],
) -> None:
    inner = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs)
    body = f'[{{"k":{{{inner}}}}},":"]'
    if has_twice(json.loads(body, object_pairs_hook=lambda pairs: ("object", pairs))):
        with pytest.raises(RequestError, match="twice"):
            loads(body.encode())
    else:
        assert loads(body.encode()) == json.loads(body)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_an_answer_that_is_not_finite_is_our_error(number: float) -> None:
    for document, place in [
        ({"a": [0.5, number]}, "a[1]"),
        ({"a": {"b": (None, {"c": number})}}, "a.b[1].c"),
        ({"a": np.array([[1, 2], [3, number]], dtype=np.float32)}, "a[1][1]"),
        ([np.float32(number)], "[0]"),
        ({"a": np.float64(number), "b": None}, "a"),
        (number, "its top"),
    ]:
        with pytest.raises(RequestError) as caught:
            dumps(document)
        assert caught.value.status == 500
        assert caught.value.message == f"the answer at {place} is not a finite number"


def test_null_and_the_word_null_are_answered() -> None:
    document = {"a": None, "null": ["null", 1.5, np.float32(0.1), np.arange(2)], "b": True}
    assert dumps(document) == b'{"a":null,"null":["null",1.5,0.1,[0,1]],"b":true}'
    assert dumps(np.array([0.5, -0.0])) == b"[0.5,-0.0]"


def test_what_json_does_not_know_is_our_mistake() -> None:
    for document in ({1: 2}, {"a": {1}}, {"a": 2**64}, np.array(1.0), object()):
        with pytest.raises(TypeError):
            dumps(document)


def test_a_number_reads_back_as_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    for bits, floating in (
        (np.uint32, np.float32),
        (np.uint64, np.float64),
        (np.uint16, np.float16),
    ):
        drawn = rng.integers(0, np.iinfo(bits).max, size=20_000, dtype=bits, endpoint=True)
        numbers = drawn.view(floating)
        numbers = numbers[np.isfinite(numbers)]
        back = np.array(loads(dumps(numbers)), dtype=np.float64).astype(floating)
        np.testing.assert_array_equal(back.view(bits), numbers.view(bits))


@pytest.mark.nightly
def test_reading_strictly_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 candidates of 50 features: within three times of orjson alone, on a shared machine."""
    from time import process_time

    body = dumps({"x": np.random.default_rng(0).random((10_000, 50))})

    def best(read: Any) -> float:
        times = []
        for _ in range(7):
            start = process_time()
            read(body)
            times.append(process_time() - start)
        return min(times)

    assert best(loads) < 3 * best(orjson.loads)
    assert module.MAX_VALUES > 500_000
