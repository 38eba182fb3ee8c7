"""A list of ids says what a list of objects with these ids says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.serving.errors import RequestError
from polyrank.serving.ranking import Ask, parse
from polyrank.serving.ranking.ask import MAX_CELLS, MAX_VALUE_MODEL, MAX_VALUE_TEXT

IDS = st.none() | st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1)
ONE_KIND = st.lists(st.text(max_size=5)) | st.lists(st.integers(-(2**63), 2**63 - 1))


def asked(candidates: Any) -> Ask:
    return parse(json.dumps({"candidates": candidates}).encode())


@settings(max_examples=50, deadline=None)
@given(ids=ONE_KIND | st.lists(IDS))
def test_plain_ids_are_objects_without_features(ids: list[Any]) -> None:
    found = asked(ids)
    assert found == asked([{"id": each} for each in ids])
    assert found.items == ids


@pytest.mark.parametrize("wrong", [2**63, True, 1.5, [1]])
def test_what_is_no_id_is_refused_among_ids(wrong: Any) -> None:
    with pytest.raises(RequestError, match=r"candidates\[1\]"):
        asked([1, wrong, 2])


def _with_terms(number: int, **further: Any) -> bytes:
    terms = {f"t{place}": {"weight": 1.0} for place in range(number)}
    model = {"kind": "product", "terms": terms, **further}
    return json.dumps({"candidates": [1], "value_model": model}).encode()


def test_a_value_model_of_a_request_is_bounded() -> None:
    """Each of its terms is an array of the candidates' length, for whoever asks."""
    most = (MAX_VALUE_MODEL - 2) // 2
    assert len(parse(_with_terms(most)).value_model["terms"]) == most  # type: ignore[index]
    for body in (_with_terms(most + 1), _with_terms(1, note="x" * (MAX_VALUE_TEXT - 6))):
        with pytest.raises(
            RequestError, match="`value_model` must have at most 256 values"
        ) as told:
            parse(body)
        assert told.value.status == 400


def test_columns_that_few_candidates_bring_are_bounded() -> None:
    """Each column has a place for every candidate: 10,000 of 4 own columns each were 400,000,000
    places, out of a body of less than a megabyte."""
    number = int(MAX_CELLS**0.5)
    own = [{"id": place, "features": {f"n{place}": 1}} for place in range(number)]
    assert len(asked(own).item_features) == number
    with pytest.raises(RequestError, match="and 2,000,000 values are the most") as told:
        asked([*own, {"id": number, "features": {"more": 1}}])
    assert told.value.status == 413
