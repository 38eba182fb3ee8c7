"""A list of ids says what a list of objects with these ids says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.serving.errors import RequestError
from polyrank.serving.ranking import Ask, parse

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
