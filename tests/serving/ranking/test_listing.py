"""The candidates of an answer are the JSON that a dictionary each would be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.serving.errors import RequestError
from polyrank.serving.ranking.listing import listing

IDS = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=4) | st.lists(
    st.none() | st.integers(-9, 9) | st.text(st.characters(exclude_categories=["Cs"])), max_size=4
)
NAMES = st.lists(st.sampled_from(["click", 'a "b",', "é\\", ""]), unique=True, max_size=3)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=40)
@given(st.data())
def test_a_listing_is_the_json_of_its_dictionaries(data: st.DataObject) -> None:
    ids: list[Any] = data.draw(IDS)
    column = st.lists(NUMBERS, min_size=len(ids), max_size=len(ids)).map(np.array)
    groups = {
        field: {name: data.draw(column).astype(np.float64) for name in data.draw(NAMES)}
        for field in data.draw(st.sampled_from([("predictions",), ("predictions", "terms")]))
    }
    scores = data.draw(column).astype(np.float64)
    places = np.random.default_rng(0).permutation(len(ids)).astype(np.int64)
    wanted = [
        {"id": id_, "index": place, "score": score}
        | {
            field: {name: value_K.tolist()[rank] for name, value_K in named.items()}
            for field, named in groups.items()
        }
        for rank, (id_, place, score) in enumerate(
            zip(ids, places.tolist(), scores.tolist(), strict=True)
        )
    ]
    found = json.loads(listing(ids, places, scores, groups))
    assert repr(found) == repr(wanted)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("column", ["score", "predictions.click", "terms.click"])
def test_a_number_that_is_not_finite_is_our_error(column: str, number: float) -> None:
    fine, broken = np.array([0.5, 0.25]), np.array([0.5, number])
    columns = dict.fromkeys(("score", "predictions.click", "terms.click"), fine)
    score, click, term = (columns | {column: broken}).values()
    groups = {"predictions": {"click": click}, "terms": {"click": term}}
    with pytest.raises(RequestError) as caught:
        listing(["n", "null"], np.array([1, 0]), score, groups)
    told = f"the answer at candidates.{column}[1] is not a finite number"
    assert (caught.value.status, caught.value.message) == (500, told)
