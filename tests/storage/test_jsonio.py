"""Strict JSON in and out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.errors import ArtefactError
from polyrank.storage import jsonio

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab\n\u00e9"), inner),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_what_was_written_is_read_again(value: jsonio.JsonValue) -> None:
    data = jsonio.dumps(value)
    assert jsonio.loads(data, where="x") == value
    assert json.loads(data) == value
    assert jsonio.dumps(jsonio.loads(data, where="x")) == data


def test_the_order_of_keys_does_not_change_the_bytes() -> None:
    assert jsonio.dumps({"b": 1, "a": 2}) == jsonio.dumps({"a": 2, "b": 1})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not strict JSON"),
        (b"{", "not strict JSON"),
        (b"[1,]", "not strict JSON"),
        (b"[1] x", "not strict JSON"),
        (b"{'a': 1}", "not strict JSON"),
        (b"NaN", "NaN is not a JSON number"),
        (b'{"a": [Infinity]}', "Infinity is not"),
        (b"-Infinity", "-Infinity is not"),
        (b"1e999", "beyond float64"),
        (b"[-1e400]", "beyond float64"),
        (b'{"a": 1, "a": 1}', "'a' appears twice"),
        (b'[{"a": {"b": 1, "b": 2}}]', "'b' appears twice"),
        (b'{"a": 1, "\\u0061": 2}', "'a' appears twice"),
        (b'"\\ud800"', "surrogates not allowed"),
        (b'{"\\udfff": 1}', "surrogates not allowed"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\xff"', "can't decode"),
        ('{"a": 1}'.encode("utf-16"), "can't decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 20_000, "integer string conversion"),
        (b'"a\nb"', "not strict JSON"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_its_file(text: bytes, reason: str) -> None:
    with pytest.raises(ArtefactError) as caught:
        jsonio.loads(text, where="card.json")
    assert caught.value.where == "card.json"
    assert reason in caught.value.message


class _Odd:
    pass


def _cycle() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        ({"metrics": {"auc": float("nan")}}, "$.metrics.auc", "nan is not finite"),
        ([1, (2.0, float("-inf"))], "$[1][1]", "-inf is not finite"),
        ({"a": {1: 2}}, "$.a", "key 1 is int"),
        ({"a": _Odd()}, "$.a", "a _Odd"),
        ({"a": {1, 2}}, "$.a", "a set"),
        ({"a": b"bytes"}, "$.a", "a bytes"),
        ({"a": "\ud800"}, "$", "surrogate"),
        (_cycle(), "$", "containing itself"),
    ],
)
def test_what_json_does_not_have_is_not_written(value: object, place: str, reason: str) -> None:
    with pytest.raises(ArtefactError) as caught:
        jsonio.dumps(value)
    assert caught.value.where == place
    assert reason in caught.value.message
